"""A record says again what the daemon said: real runs, altered records, and records that are none."""

import re
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from listening import read_rows

from device.bundle import Bundle, load_bundle
from device.errors import UserError
from device.main import main
from device.over_time import OverTime
from device.record import Row, Run, columns, open_record, read_record
from device.scene import SceneLimits

CLASSES = ("benign", "malignant", "normal")


@pytest.fixture(scope="module")
def bundle(bundle_dir: Path) -> Bundle:
    return load_bundle(bundle_dir / "int8-full")


@pytest.fixture(scope="module")
def record(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs over a clip: a sweep, a frozen picture, and two more pictures; as fast as it goes."""
    folder = tmp_path_factory.mktemp("record")
    writer = cv2.VideoWriter(str(folder / "clip.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 30, (96, 72))
    rng = np.random.default_rng(3)
    for luma in [*range(100, 190, 2), *[190] * 20, *[40] * 6, *[216] * 6, *[84] * 6, *range(120, 216, 12)]:
        writer.write(np.clip(rng.normal(luma, 6, (72, 96, 3)), 0, 255).astype(np.uint8))
    writer.release()
    path = folder / "verdicts.csv"
    for _ in range(2):
        command = ["device", "run", "--allow-unsigned", "--bundle", str(bundle.folder), "--source", "video"]
        assert main([*command, "--path", str(folder / "clip.avi"), "--fps", "0", "--verdicts", str(path)]) == 0
    return path


def replay(bundle: Bundle, path: Path, *options: str) -> int:
    return main(["device", "replay", str(path), "--allow-unsigned", "--bundle", str(bundle.folder), *options])


def test_the_same_comes_out(bundle: Bundle, record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = read_rows(record)[1]
    assert {row["shown"] for row in rows} == {"benign", "malignant", "normal", "abstain"}
    assert any(row["shown"] != row["verdict"] for row in rows), "or this would not be about time"
    assert replay(bundle, record) == 0
    said = capsys.readouterr().out.splitlines()
    assert "Research use only" in said[0]
    assert [line.split(":")[0] for line in said[1:]] == ["line 1", f"line {3 + len(rows) // 2}"]
    counts = dict(pair.split("=") for pair in said[1].partition(": ")[2].split())
    half = rows[: len(rows) // 2]
    assert int(counts["frames"]) == len(half)
    for label in (*CLASSES, "abstain"):
        assert int(counts[label]) == sum(row["shown"] == label for row in half)
    assert int(counts["changes"]) == sum(a["shown"] != b["shown"] for a, b in pairwise(half))


@pytest.mark.parametrize("column", ["verdict", "shown"])
def test_one_altered_verdict_is_found(
    bundle: Bundle, record: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], column: str
) -> None:
    lines = record.read_text().splitlines()
    place = columns(CLASSES).index(column)
    cells = lines[30].split(",")
    cells[place] = "normal" if cells[place] != "normal" else "benign"
    lines[30] = ",".join(cells)
    (tmp_path / "v.csv").write_text("\n".join([*lines, ""]))
    assert replay(bundle, tmp_path / "v.csv") == 3
    assert "1 verdicts come out otherwise than recorded, the first in line 31." in capsys.readouterr().err


def test_other_settings_say_what_would_have_been_shown(
    bundle: Bundle, record: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def changes(*options: str) -> int:
        assert replay(bundle, record, *options) == 0
        return int(re.search(r"changes=(\d+)", capsys.readouterr().out)[1])

    assert changes("--half-life", "0", "--hysteresis", "0") >= changes("--half-life", "5")
    assert replay(bundle, record, "--half-life", "-1") == 2
    assert "must be 0 or more" in capsys.readouterr().err


def test_runs_of_another_bundle_are_left_out(
    bundle: Bundle, bundle_dir: Path, record: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = load_bundle(bundle_dir / "float32")
    assert replay(other, record) == 2
    said = capsys.readouterr()
    assert said.out.count(f"of another bundle, tiny {bundle.id}; left out.") == 2
    assert f"holds no run of the bundle tiny ({other.id})" in said.err


def test_a_row_that_a_power_cut_left_unfinished_is_left_out(bundle: Bundle, record: Path, tmp_path: Path) -> None:
    whole = record.read_text()
    second = whole.index("\n# ") + 1
    rows = sum(isinstance(item, Row) for item in read_record(record, CLASSES))
    for cut in (whole[:-40], whole[: second - 30] + "\n" + whole[second:]):
        (tmp_path / "v.csv").write_text(cut)
        assert sum(isinstance(item, Row) for item in read_record(tmp_path / "v.csv", CLASSES)) == rows - 1
        assert replay(bundle, tmp_path / "v.csv") == 0


def test_the_settings_come_back_as_they_were(bundle: Bundle, tmp_path: Path) -> None:
    how = OverTime(0.1 + 0.2, 1 / 3, 0.7, SceneLimits(17.25, 1 / 7, 0.9))
    file = open_record(tmp_path / "v.csv", bundle, None, how)
    file.add(
        [0, 'a,"b"\n', 1.5, "benign", None, 0.9, 0.05, 0.05, None, 0.0, "ok", None, 2.0, -1.0, 1e-7, "benign", None]
    )
    file.close()
    run, row = read_record(tmp_path / "v.csv", CLASSES)
    assert isinstance(run, Run)
    assert run.how == how
    assert run.what["id"] == bundle.id
    assert (row.captured, row.change.difference, row.change.drift) == (1.5, None, 0.0)
    assert row.logits.tolist() == [2.0, -1.0, np.float32(1e-7)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"", "is no record with the columns"),
        (b"a,b\n1,2\n", "is no record with the columns"),
        (b"# half_life_s=0.5\n", "line 1: does not say how frames were joined ('scene_new')"),
        (b"# it's\n", "line 1: does not say how frames were joined (No closing quotation)"),
    ],
)
def test_what_is_no_record_is_named(tmp_path: Path, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / "v.csv").write_bytes(content)
    with pytest.raises(UserError) as caught:
        list(read_record(tmp_path / "v.csv", CLASSES))
    assert f"{tmp_path / 'v.csv'}" in str(caught.value)
    assert words in str(caught.value)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_record_is_read_or_refused(record: Path, tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(record.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        piece = data.draw(st.binary(max_size=6) | st.sampled_from([b"\n", b'"', b",", b"#", b"nan", b"\0", b"1e999"]))
        content[at : at + data.draw(st.integers(0, 8))] = piece
    path, said = tmp_path / "v.csv", None
    path.write_bytes(content)
    try:
        items = list(read_record(path, CLASSES))
    except UserError as error:
        items, said = [], str(error)
    assert said is None or str(path) in said
    assert all(isinstance(item, Run | Row) for item in items)
