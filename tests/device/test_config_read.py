"""The configuration file as it is read: every mistake is one sentence with its line, and nothing crashes the reader."""

import os
import random
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device.config import read
from device.config.options import merged
from device.config.read import examine, parse
from device.config.settings import KEYS, Settings
from device.errors import UserError
from device.main import main
from device.over_time import OverTime

BUSY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure

NAME = Path("/etc/busi-kd/config.toml")


def problems(text: str) -> list[str]:
    """What is told of a text, without the name of its file."""
    told = parse(text, NAME).problems
    assert all(sentence.startswith(f"{NAME}, line ") and "\n" not in sentence for sentence in told)
    return [sentence.removeprefix(f"{NAME}, ") for sentence in told]


def refused(text: str) -> str:
    with pytest.raises(UserError) as error:
        parse(text, NAME)
    return str(error.value)


def test_values_come_in_the_unit_they_are_held_in() -> None:
    text = """\
[source]
kind = "folder"
path = "/srv/scans of May"
fps = "29.97 fps"
loop = true
[judgement]
half_life = "250 ms"
gap = "0.05 min"
hysteresis_logits = 1
[recorder]
max_size = "2 GB"
max_age = "30 days"
[governor]
battery_low = "25 %"
soft_limit = "78.5 °C"
"""
    now = merged(parse(text, NAME))
    settings = now.settings
    assert (settings.source.kind, settings.source.path) == ("folder", Path("/srv/scans of May"))
    assert (settings.source.fps, settings.source.loop) == (29.97, True)
    assert settings.judgement.over_time() == OverTime(half_life_s=0.25, gap_s=3.0, hysteresis=1.0)
    assert (settings.recorder.max_size_bytes, settings.recorder.max_age_s) == (2_000_000_000, 2_592_000.0)
    assert (settings.governor.battery_low_percent, settings.governor.soft_limit_c) == (25.0, 78.5)
    assert now.origins["source.fps"] == f"{NAME}, line 4"
    assert now.origins["judgement.gap"] == f"{NAME}, line 8"
    assert now.origins["log.verdicts"] == "default"


def test_an_empty_file_and_a_missing_one_are_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert merged(parse("", NAME)).settings == Settings()
    monkeypatch.setattr(read, "FILE", tmp_path / "absent.toml")
    assert examine(None) is None
    assert merged(None).settings == Settings()
    assert Settings().judgement.over_time() == OverTime()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "[source]\nfps = 30",
            "line 2: source.fps is 30, which has no unit: write it in fps, such as '30 fps', or 'auto'.",
        ),
        (
            "[judgement]\n\ngap = 2.5",
            "line 3: judgement.gap is 2.5, which has no unit: write it in s, ms, min, h, days",
        ),
        (
            '[judgement]\ngap = "500 MB"',
            "line 2: judgement.gap is '500 MB', which is a size, where a duration is wanted",
        ),
        ('[governor]\nmargin = "9 F"', "line 2: governor.margin is '9 F', which has the unknown unit 'F'"),
        (
            '[source]\nfps = "0.2 fps"',
            "line 2: source.fps is '0.2 fps', which lies outside 1 fps to 240 fps, or 0 fps:",
        ),
        (
            '[governor]\nsoft_limit = "300 C"',
            "line 2: governor.soft_limit is '300 C', which lies outside 40 C to 110 C.",
        ),
        ("[governor]\nmargin = '0 C'", "line 2: governor.margin is '0 C', which lies outside 0.1 C to 60 C."),
        ("[judgement]\ngap = true", "line 2: judgement.gap is True, which is no duration: write one in quotes"),
        ("[judgement]\ngap = inf", "line 2: judgement.gap is inf, which has no unit"),
        ("[judgement]\ngap = ['2 s']", "line 2: judgement.gap is ['2 s'], which is no duration"),
        ("[judgement]\nhysteresis_logits = nan", "line 2: judgement.hysteresis_logits is nan, which is not a number."),
        ("[judgement]\nhysteresis_logits = '1'", "line 2: judgement.hysteresis_logits is '1', which is not a number."),
        ("[model]\nthreads = 1.0", "line 2: model.threads is 1.0, which is not a whole number."),
        ("[model]\nthreads = true", "line 2: model.threads is True, which is not a whole number."),
        ("[model]\nthreads = 0", "line 2: model.threads is 0, which lies outside 1 to 64."),
        ("[model]\nallow_unsigned = 1", "line 2: model.allow_unsigned is 1, which is not true or false."),
        ("[model]\nbundle = 1", "line 2: model.bundle is 1, which is not a path in quotes, or 'installed'."),
        ('[model]\nbundle = ""', "line 2: model.bundle is '', which names no file"),
        ('[model]\nbundle = "a\\u0000"', "line 2: model.bundle is 'a\\x00', which names no file"),
        ('[model]\nbundle = "~/b"', "line 2: model.bundle is '~/b', which begins with ~"),
        (
            '[source]\nkind = "v4l"',
            "line 2: source.kind is 'v4l', which is not 'phantom', 'folder', 'video', 'session', 'v4l2' or 'pica",
        ),
        ("[source]\nkind = 1", "line 2: source.kind is 1, which is not 'phantom'"),
        ('[source]\nsize = "1280*720"', "line 2: source.size is '1280*720', which is not WIDTHxHEIGHT"),
        ('[region]\nfixed = "10x10"', "line 2: region.fixed is '10x10', which is not WIDTHxHEIGHT+X+Y@"),
        ('[region]\nfixed = "9x9+1+1@9x9"', "line 2: region.fixed is '9x9+1+1@9x9', which does not lie within"),
        (
            "[source]\nfsp = 1",
            "line 2: unknown key 'fsp' in [source] (did you mean 'fps'?); remove it or correct its name.",
        ),
        (
            "[source]\nhalf_life = '1 s'",
            "line 2: the key 'half_life' is none of [source]; it belongs below the line [judg",
        ),
        ("\nfps = '1 fps'", "line 2: the key 'fps' stands outside of a section; put it below the line [source]."),
        ("nonsense = 1", "line 1: unknown key 'nonsense' outside of a section"),
        (
            "[jugdement]\n",
            "line 1: unknown section [jugdement] (did you mean 'judgement'?); remove it or correct its name.",
        ),
        ("source = 'phantom'", "line 1: source is 'phantom', but it is a section: write [source] in a line."),
        ("\n[[source]]\n", "line 2: source is [{}], but it is a section: write [source] in a line."),
        ("[source.kind]\nx = 1", "line 1: source.kind is {'x': 1}, which is not 'phantom'"),
        ("a.b.c = 1", "line 1: unknown section [a]"),
        ("model = { threads = 0 }", "line 1: model.threads is 0, which lies outside 1 to 64."),
    ],
)
def test_what_is_wrong_with_a_key_is_told_with_its_line(text: str, told: str) -> None:
    (sentence,) = problems(text)
    assert sentence.startswith(told)
    assert sentence.endswith((".", "?"))


def test_all_mistakes_are_told_in_the_order_of_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "c.toml"
    file.write_text("x = 1\n[source]\nfps = 3\nkind = 'phantom'\n[model]\nthreads = 'two'\n[judgment]\n")
    assert [sentence.partition(":")[0] for sentence in examine(file).problems] == [
        f"{file}, line {line}" for line in (1, 3, 6, 7)
    ]
    with pytest.raises(
        UserError, match=r"line 1: unknown key 'x'.* 3 more: busi-kd device config check .* lists them\."
    ):
        read.read(file)
    assert main(["device", "config", "check", str(file)]) == 3
    out, err = capsys.readouterr()
    assert [line.split(": ")[0] for line in out.splitlines()] == [f"{file}, line {line}" for line in (1, 3, 6, 7)]
    assert err == f"busi-kd: {file}: 4 to be corrected.\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[source\n", ", line 1: is no TOML ("),
        (
            "[source]\n\nfps = 30 fps\n",
            ", line 3: is no TOML (Expected newline or end of document after a statement in",
        ),
        ("[source]\nkind = v4l2\n", ", line 2: is no TOML (Invalid value in column 8)"),
        ("[source]\n[model]\n[source]\n", ", line 3: is no TOML (Cannot declare ('source',) twice in column 8)"),
        ("[source]\nfps = '1 fps'\nfps = '2 fps'", ", line 3: is no TOML (Cannot overwrite a value"),
        ("[source]\nkind =", ", line 2: is no TOML (Invalid value at the end of the file)"),
        ("[source]\nkind = '''x", ", line 2: is no TOML ("),
        ("x = " + "[" * 5000, ": is nested too deep to be read"),
        ("x = " + "{a=" * 5000, ": is nested too deep to be read"),
        ("x = " + "1" * 5000, ": is no TOML ("),
        ("x = 2021-02-30", ", line 1: is no TOML (Invalid date"),
    ],
)
def test_what_is_no_toml_is_told_with_its_line_too(text: str, told: str) -> None:
    sentence = refused(text)
    assert sentence.startswith(f"{NAME}{told}")
    assert "\n" not in sentence


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"# one\n# Stra\xdfe\n")
    big = tmp_path / "big.toml"
    big.write_bytes(b"#" * (read.MAX_BYTES + 1))
    pipe = tmp_path / "pipe.toml"
    os.mkfifo(pipe)  # nobody writes: reading it would never end
    for path, why in (
        (tmp_path / "absent.toml", "no such configuration file"),
        (tmp_path, "is a folder"),
        (pipe, "is no ordinary file"),
        (latin, "latin.toml, line 2: is not written in UTF-8"),
        (big, "is larger than 1000000 bytes"),
        (Path("/proc/self/mem"), "cannot be read (Input/output error)"),  # an ordinary file to stat, for root too
        (latin / "c.toml", "cannot be read (Not a directory)"),
        (tmp_path / ("n" * 300), "cannot be read (File name too long)"),
        (Path("a\0b"), "is no name of a file"),
    ):
        with pytest.raises(UserError) as error:
            read.read(path)
        assert why in str(error.value)


def test_what_windows_editors_add_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_bytes(b'\xef\xbb\xbf[source]\r\nfps = "5 fps"\r\nloop = 1\r\n')
    found = examine(file)
    assert found.values == {"source.fps": 5.0}
    assert found.lines == {"source.fps": 2}
    assert found.problems[0].startswith(f"{file}, line 3: ")


BASE = """\
[model]
bundle = "installed"
threads = 2  # of four
[source]
kind = "folder"
path = '/srv/a b'
fps = "30 fps"
[judgement]
half_life = "500 ms"
hysteresis_logits = 0.4
[region]
mode = "fixed"
fixed = "640x480+0+0@640x480"
[recorder]
max_size = "2 GB"
max_age = \"\"\"30 days\"\"\"
"""


def test_ten_thousand_spoiled_files_give_settings_or_a_sentence(tmp_path: Path) -> None:
    """Bytes changed, cut, doubled and exchanged at random."""
    dice, file = random.Random(7), tmp_path / "spoiled.toml"
    bits = [*b"[]{}\"'=#.,\n\\-0159eE_ \t\0\x7f\xff\xc3", *b"msGBfps%CkMi"]
    pieces = [line.encode() for line in BASE.splitlines(keepends=True)] + [
        b'"""',
        b"'''",
        b"[[x]]\n",
        b"{a=[1,",
        b"inf",
    ]
    outcomes = {"settings": 0, "problems": 0, "refused": 0}
    for _ in range(10_000):
        data = bytearray(BASE.encode())
        for _ in range(dice.randint(1, 3)):
            at, how = dice.randrange(len(data) + 1), dice.choice((0, 0, 0, 1, 2, 3))
            if how == 0:
                data[at : at + dice.randint(0, 3)] = bytes([dice.choice(bits)])
            elif how == 1:
                del data[at : at + dice.randint(1, 40)]
            elif how == 2:
                data[at:at] = dice.choice(pieces)
            else:
                data[at:at] = data[dice.randrange(len(data) + 1) :][: dice.randint(1, 30)]
        try:
            found = parse(data.decode(), file)
            settings = merged(found).settings
            assert isinstance(settings, Settings)
            outcomes["problems" if found.problems else "settings"] += 1
        except UnicodeDecodeError:  # only these by way of the disk, which takes most of the time
            file.write_bytes(data)
            with pytest.raises(UserError, match="is not written in UTF-8"):
                examine(file)
            outcomes["refused"] += 1
        except UserError as error:
            outcomes["refused"] += str(file) in str(error)
    assert sum(outcomes.values()) == 10_000  # each refusal names the file
    assert min(outcomes.values()) > 100, outcomes


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@BUSY
@given(st.sampled_from(sorted(KEYS)), anything)
def test_any_value_of_any_key_is_taken_or_told(dotted: str, raw: object) -> None:
    spec = KEYS[dotted].spec
    try:
        value = spec.read(raw)
    except ValueError as error:
        said = str(error)
    else:
        said = "taken"
        assert spec.read(tomllib.loads(f"v = {spec.write(value)}")["v"]) == value
    assert said
