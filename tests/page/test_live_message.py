"""Parsers that hear strangers: whatever comes is a message, a command, a verb, or a refusal; never anything else."""

import io
import json
import stat
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from device.admin.message import VERBS, Asked
from device.admin.message import parse as parse_verb
from device.admin.unpack import MOST_FILES, unpack
from device.errors import UserError
from device.live.commands import WHAT, Command
from device.live.commands import parse as parse_command
from device.live.message import ASKED_BYTES, HEAD, Malformed, Message, Reader, encode

plain = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
plain = plain | st.text(max_size=20)
values = st.recursive(plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))
objects = st.dictionaries(st.text(max_size=8), values, max_size=4)


@given(st.lists(st.tuples(objects, st.binary(max_size=50)), max_size=4), st.lists(st.integers(1, 40), min_size=1))
def test_messages_come_out_as_they_went_in_however_they_are_cut(sent: list, cuts: list[int]) -> None:
    data = b"".join(encode(said, len(payload)) + payload for said, payload in sent)
    reader, heard = Reader(1 << 16, 50), []
    for number in range(len(data)):
        cut = cuts[number % len(cuts)]
        heard += reader.feed(data[:cut])
        data = data[cut:]
    heard += reader.feed(data)
    assert heard == [Message(said, payload) for said, payload in sent]


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_any_bytes_are_a_message_or_malformed_and_little_is_held(parts: list[bytes]) -> None:
    reader = Reader(100)
    for part in parts:
        try:
            for message in reader.feed(part):
                assert isinstance(message.said, dict)
        except Malformed:
            return
        assert len(reader._held) < 100 + HEAD.size + 200


@pytest.mark.parametrize("head", [(ASKED_BYTES + 1, 0), (2, 1), (2**32 - 1, 2**32 - 1)])
def test_what_is_longer_than_a_request_is_refused_before_it_is_there(head: tuple[int, int]) -> None:
    with pytest.raises(Malformed, match="longer"):
        list(Reader(ASKED_BYTES).feed(HEAD.pack(*head)))


@pytest.mark.parametrize("text", [b"[]", b"1", b"{", b"\xff", b"[" * 2000, b"null"])
def test_what_is_no_json_object_is_refused(text: bytes) -> None:
    with pytest.raises(Malformed):
        list(Reader(ASKED_BYTES).feed(HEAD.pack(len(text), 0) + text))


asked = st.fixed_dictionaries(
    {"ask": st.just("command"), "do": st.sampled_from([*WHAT, "rm", "", "Hold"]) | values},
    optional={"held": values, "label": values, "more": values},
)


@given(asked)
def test_a_command_is_one_of_the_closed_list_or_malformed(said: dict) -> None:
    try:
        command = parse_command(said)
    except Malformed:
        return
    assert command.what in WHAT
    assert said.keys() <= {"ask", "do", "held", "label"}
    assert isinstance(command.value, bool) == (command.what == "hold")


def test_the_commands_that_there_are() -> None:
    assert parse_command({"ask": "command", "do": "hold", "held": True}) == Command("hold", True)
    assert parse_command({"ask": "command", "do": "save", "label": "left"}) == Command("save", "left")
    assert parse_command({"ask": "command", "do": "save"}) == Command("save")
    for wrong in (
        {"do": "hold"},
        {"do": "hold", "held": 1},
        {"do": "save", "label": "a\nb"},
        {"do": "mark", "label": "a"},
    ):
        with pytest.raises(Malformed):
            parse_command(wrong | {"ask": "command"})
    with pytest.raises(Malformed):
        parse_command({"do": "save", "label": "x" * 65})


@given(st.binary(max_size=60) | asked.map(lambda said: json.dumps(said).encode()))
def test_the_helper_knows_its_verbs_and_no_more(data: bytes) -> None:
    try:
        found = parse_verb(data)
    except UserError:
        return
    assert found.verb in VERBS


@given(st.sampled_from([*VERBS, "exec"]), st.dictionaries(st.sampled_from(["unix", "path", "verb"]), values))
def test_a_verb_takes_what_it_takes_and_nothing_else(verb: str, more: dict) -> None:
    said = {"verb": verb, **{name: value for name, value in more.items() if name != "verb"}}
    try:
        found = parse_verb(json.dumps(said).encode())
    except UserError:
        return
    assert set(said) == {"verb"} | VERBS[verb]
    assert (found.unix is not None) == (verb == "clock")


def test_a_clock_is_set_to_a_sensible_time() -> None:
    assert parse_verb(b'{"verb": "clock", "unix": 1795332055}') == Asked("clock", 1795332055.0)
    for wrong in ("0", "1e300", "-1", "true", '"1795332055"', "null", "NaN", "Infinity", "[]"):
        with pytest.raises(UserError):
            parse_verb(f'{{"verb": "clock", "unix": {wrong}}}'.encode())


def packed(files: dict[str, bytes], mode: int = 0) -> io.BytesIO:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr, entry.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    data.seek(0)
    return data


def test_a_bundle_is_unpacked_from_the_top_or_from_its_folder(tmp_path: Path) -> None:
    for folder, names in (("a", ("bundle.json", "model.tflite")), ("b", ("tiny/bundle.json", "tiny/model.tflite"))):
        (tmp_path / folder).mkdir()
        unpack(packed(dict.fromkeys(names, b"x"), 0o100644), tmp_path / folder)
        assert sorted(file.name for file in (tmp_path / folder).iterdir()) == ["bundle.json", "model.tflite"]


@pytest.mark.parametrize(
    ("files", "mode"),
    [
        *(({"../bundle.json": b""}, 0), ({"/bundle.json": b""}, 0), ({"a/b/bundle.json": b""}, 0)),
        *(
            ({"bundle.json": b"", "..": b""}, 0),
            ({".hidden": b"", "bundle.json": b""}, 0),
            ({"a\\bundle.json": b""}, 0),
        ),
        *(({"bundle.json": b"", "BUNDLE.json": b""}, 0), ({"model.tflite": b""}, 0), ({}, 0)),
        *(({"bundle.json": b"/etc/passwd"}, stat.S_IFLNK), ({"a/bundle.json": b"", "b/model.tflite": b""}, 0)),
        ({f"f{n}": b"" for n in range(MOST_FILES)} | {"bundle.json": b""}, 0),
        ({"bundle.json": b"", "model.tflite": bytes(65_000_000)}, 0),
    ],
)
def test_what_is_no_bundle_leaves_nothing_outside_its_folder(tmp_path: Path, files: dict, mode: int) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(UserError):
        unpack(packed(files, mode), tmp_path / "in")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert sum(path.stat().st_size for path in (tmp_path / "in").iterdir()) <= 64_000_000


WHOLE = packed({"bundle.json": b"{}" * 50, "model.tflite": bytes(range(256))}).getvalue()


@example([(WHOLE.rindex(b"bundle.json"), 0)], 0)  # a file whose name in the list is empty
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=6), st.integers(0, len(WHOLE)))
def test_a_damaged_zip_is_a_sentence_or_a_bundle(tmp_path_factory, changes: list[tuple[int, int]], end: int) -> None:
    data = bytearray(WHOLE)
    for at, value in changes:
        data[at] = value
    folder = tmp_path_factory.mktemp("zip")
    for content in (bytes(data), bytes(data[:end])):
        into = folder / str(len(list(folder.iterdir())))
        into.mkdir()
        with suppress(UserError):
            unpack(io.BytesIO(content), into)
            assert (into / "bundle.json").is_file()
