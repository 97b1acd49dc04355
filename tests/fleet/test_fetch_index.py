"""The index: whatever it holds is read or refused; numbers never go back; a roll-out only grows."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device import RESEARCH_NOTICE, __version__, schema
from device.errors import Refused, UserError
from device.fleet import index
from device.fleet.index import Entry, Index, Seen, in_rollout
from device.signing import signature_of

ENTRY = Entry("0" * 12, "tiny", "float32", "2026-01-01T00:00:00+00:00", "bundles/a.tar", 10, "0" * 64, "0.1")
INDEX = Index(1, index.KIND, RESEARCH_NOTICE, 7, "2026-01-02T00:00:00+00:00", 100, ENTRY)
SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


def read(data: object, key: Path) -> Index:
    written = data if isinstance(data, bytes) else json.dumps(data).encode()
    return index.read(written, signature_of(written, key), "index.json", (key.parent,))


def test_what_is_written_is_read_back(maker_key: Path) -> None:
    assert read(schema.dump(INDEX), maker_key) == INDEX


@pytest.mark.parametrize(
    ("where", "name", "value", "said"),
    [
        ("", "schema_version", 2, "schema version 2, but this software reads version 1"),
        ("", "kind", "bundle", "the key 'kind' must be one of 'busi-kd-models'"),
        ("", "sequence", 0, "the key 'sequence' must lie in"),
        ("", "percent", 101, "the key 'percent' must lie in 0..100, not 101"),
        ("", "more", 1, "unknown key 'more'"),
        ("bundle", "path", "../x.tar", "the key 'path' must name a file below the index"),
        ("bundle", "path", "/x.tar", "the key 'path' must name a file below the index"),
        ("bundle", "path", "https://evil/x.tar", "the key 'path' must name a file below the index"),
        ("bundle", "path", "a//b", "the key 'path' must name a file below the index"),
        ("bundle", "path", ".fetch/b", "the key 'path' must name a file below the index"),
        ("bundle", "path", "a?b", "the key 'path' must name a file below the index"),
        ("bundle", "bytes", 0, "the key 'bytes' must lie in 1..200000000"),
        ("bundle", "bytes", 10**12, "the key 'bytes' must lie in 1..200000000"),
        ("bundle", "sha256", "0" * 63, "the key 'sha256' must match"),
        ("bundle", "id", "../../../..", "the key 'id' must match"),
        ("bundle", "created", "2026-01-01T00:00:00", "has no offset from UTC"),
        ("bundle", "created", "yesterday", "Invalid isoformat string"),
        ("bundle", "minimum_version", "new", "the key 'minimum_version' must be numbers"),
    ],
)
def test_each_wrong_value_is_told(where: str, name: str, value: object, said: str, maker_key: Path) -> None:
    data = schema.dump(INDEX)
    (data["bundle"] if where else data)[name] = value
    with pytest.raises(UserError) as error:
        read(data, maker_key)
    assert said in str(error.value)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@SLOW
@given(st.sampled_from([*schema.dump(INDEX), *(f"bundle.{name}" for name in schema.dump(ENTRY))]), anything)
def test_any_value_of_any_key_is_taken_or_told(maker_key: Path, name: str, value: object) -> None:
    data = schema.dump(INDEX)
    table, _, key = name.rpartition(".")
    (data[table] if table else data)[key] = value
    try:
        made = read(data, maker_key)
    except UserError:
        return
    assert schema.dump(made) == data


@pytest.mark.parametrize(("data", "said"), [([], "instead of a table of keys; publish it again"), (b"{", "as JSON")])
def test_what_is_no_table_is_told(data: object, said: str, maker_key: Path) -> None:
    with pytest.raises(UserError, match=said):
        read(data, maker_key)


@SLOW
@given(st.binary(max_size=60))
def test_no_bytes_stop_it(maker_key: Path, data: bytes) -> None:
    with pytest.raises(UserError):
        read(data, maker_key)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["https://a/", "https://b/"]), st.integers(1, 6)), max_size=20))
def test_numbers_of_an_address_never_go_back(tmp_path_factory: pytest.TempPathFactory, asked: list) -> None:
    file, highest = tmp_path_factory.mktemp("seen") / "seen.json", {}
    for address, number in asked:
        written = str(number).encode()
        if number >= highest.get(address, 0):
            Seen(file).take(address, written, replace(INDEX, sequence=number))
            highest[address] = number
            with pytest.raises(Refused, match="another"):
                Seen(file).take(address, b"of the same number", replace(INDEX, sequence=number))
        else:
            with pytest.raises(Refused, match="somebody plays an old one again"):
                Seen(file).take(address, written, replace(INDEX, sequence=number))


def test_what_is_kept_of_addresses_is_bounded(tmp_path: Path) -> None:
    for number in range(3 * index.MAX_ADDRESSES):
        Seen(tmp_path / "seen.json").take(f"https://{number}/", b"", INDEX)
    assert len(json.loads((tmp_path / "seen.json").read_text())) == index.MAX_ADDRESSES
    with pytest.raises(Refused):
        Seen(tmp_path / "seen.json").take("https://47/", b"", replace(INDEX, sequence=6))


@settings(deadline=None)
@given(st.text("0123456789abcdef", min_size=16, max_size=16), st.integers(0, 100), st.integers(0, 100))
def test_who_is_in_stays_in_when_the_roll_out_grows(unit: str, one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert in_rollout(unit, ENTRY, low) <= in_rollout(unit, ENTRY, high)
    assert not in_rollout(unit, ENTRY, 0)
    assert in_rollout(unit, ENTRY, 100)


def test_a_roll_out_takes_its_share_and_others_first_for_another_bundle() -> None:
    units = [f"{number:016x}" for number in range(2000)]
    other = replace(ENTRY, id="1" * 12)
    first, second = ({unit for unit in units if in_rollout(unit, entry, 25)} for entry in (ENTRY, other))
    spread = math.sqrt(2000 * 0.25 * 0.75)
    assert abs(len(first) - 500) < 5 * spread
    assert abs(len(first & second) - 125) < 5 * spread


@pytest.mark.parametrize(
    ("minimum", "enough"),
    [("0", True), ("0.1", True), ("0.1.0", True), ("0.1.1", False), ("0.2", False), ("10", False)],
)
def test_versions_are_numbers(minimum: str, enough: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "__version__", "0.1.0")
    assert index.new_enough(replace(ENTRY, minimum_version=minimum)) is enough
    monkeypatch.setattr(index, "__version__", "0.10rc1")
    assert index.new_enough(replace(ENTRY, minimum_version="0.9"))
    assert index.new_enough(replace(ENTRY, minimum_version=__version__.partition("r")[0]))
