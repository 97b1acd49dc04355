"""The benchmark's result files: a real one is shown, a stranger's text harms nothing, other files are refused."""

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convert.boards import page, run, sent
from device.errors import UserError
from device.shipped import DEFAULT, default_bundle

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the benchmark of the shipped bundle and of a folder with a broken file writes."""
    folder = tmp_path_factory.mktemp("boards")
    broken = folder / "own models" / "broken"
    broken.mkdir(parents=True)
    (broken / "bundle.json").write_text("{")
    command = [sys.executable, ROOT / "device/bench.py", default_bundle(), broken, "--runs", "3", "--rounds", "1"]
    command += ["--cooling", "fan | <b>big</b>", "--result", folder / "board.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr  # of the broken one
    return folder


def report(real: Path) -> dict[str, Any]:
    return json.loads((real / "board.json").read_text())


def test_a_result_names_no_path(real: Path) -> None:
    text = (real / "board.json").read_text()
    assert str(real) not in text
    assert str(ROOT) not in text
    assert [row["folder"] for row in report(real)["rows"]] == [DEFAULT, "broken"]
    assert report(real)["rows"][1]["error"].startswith("broken/bundle.json: ")


def test_the_page_has_the_board_its_figures_and_what_others_published(real: Path) -> None:
    assert run.main([str(real)]) == 0
    text, said = (real / "README.md").read_text(), report(real)
    row = said["rows"][0]
    assert f"| {row['interpreter_ms']['p50']:,.2f} | {row['path_ms']['p50']:,.2f} |" in text
    assert f"| {DEFAULT} int8-full | {row['bundle_id']} | 1 | 1,944 |" in text
    assert "cooling: fan \\| &lt;b&gt;big&lt;/b&gt;." in text
    assert "| ? ? | ? | 1 | broken/bundle.json: " in text
    assert "61.46" in text
    assert "Research use only" in text
    assert "No result of a Raspberry Pi has been sent in yet" in text
    tables = [
        line for line in text.splitlines() if line.startswith("| ") and "Pi 4" not in line and "paper" not in line
    ]
    assert {line.replace("\\|", "").count("|") for line in tables[:3]} == {len(page.COLUMNS) + 1}


def test_a_pi_is_a_board_of_its_own_and_its_heat_is_told(real: Path) -> None:
    said = report(real)
    said["machine"]["model"] = "Raspberry Pi 4 Model B Rev 1.4"
    row = said["rows"][0]
    row |= {"valid": False, "temperature_c": {"before": 51.0, "after": 81.0, "max": 82.4}, "other_cpu_percent": 80.0}
    heats = [(51.0, 64.5), (62.0, 75.0), (None, 80.0), (73.0, 81.0)]  # a sensor that was not there at once
    row["rounds"] = [{"temperature_c": {"before": before, "after": after}} for before, after in heats]
    (real / "pi").mkdir()
    for name in ("a.json", "b.json"):
        (real / "pi" / name).write_text(json.dumps(said))
    text = page.markdown(sent.read_all(real / "pi"), "again")
    assert text.count("## Raspberry Pi 4 Model B Rev 1.4") == 1
    assert text.count("| 51, 82 | ? | **yes** |") == 2
    assert "Other programs took up to 80 % of a core meanwhile." in text
    assert "No result of a Raspberry Pi" not in text
    measured, broken = sent.read(real / "pi" / "a.json").rows
    assert (measured.warmer_c, broken.warmer_c) == (13.0, None)  # the median of 13.5, 13 and 8
    assert measured.model_p95 == row["interpreter_ms"]["p95"]
    assert measured.model_sha256 == row["model_sha256"]


def test_a_result_of_before_the_digest_still_reads(real: Path, tmp_path: Path) -> None:
    said = report(real)
    for row in said["rows"]:
        del row["model_sha256"]
    (tmp_path / "old.json").write_text(json.dumps(said))
    assert sent.read(tmp_path / "old.json").rows[0].model_sha256 is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema_version": 2}, "version 2, and 1 is read"),
        ({"kind": "pipeline"}, "measured with --pipeline"),
        ({"rows": []}, "no version or no rows"),
        ({"created": "yesterday"}, "not a result of"),
        ({"created": "2026-11-22T10:00:00"}, "no zone"),
        ({"machine": {"model": 4}}, "'model' must be a text"),
    ],
)
def test_other_files_are_refused(change: dict[str, Any], words: str, real: Path, tmp_path: Path) -> None:
    file = tmp_path / "other.json"
    file.write_text(json.dumps(report(real) | change))
    with pytest.raises(UserError, match=r"other\.json: .*" + words):
        sent.read(file)


def test_what_is_no_report_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    for data in (b"", b"[]", b"\xff", b"[" * 100_000, b"7", b'{"schema_version": 1}'):
        file.write_bytes(data)
        with pytest.raises(UserError, match=r"x\.json: "):
            sent.read(file)
    with pytest.raises(UserError, match="cannot be read"):
        sent.read(tmp_path / "none.json")
    with pytest.raises(UserError, match="no result file"):
        sent.read_all(tmp_path / "nowhere")
    file.write_bytes(b" " * (sent.MAX_BYTES + 1))
    with pytest.raises(UserError, match="larger than"):
        sent.read(file)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@given(data=st.data())
def test_any_value_anywhere_is_refused_or_shown_in_one_line(data: st.DataObject, real: Path) -> None:
    """A table stays a table whatever a stranger's file says in one of its places."""
    said = copy.deepcopy(report(real))
    places = [said, said["machine"], said["software"], said["rows"][0], said["rows"][0]["path_ms"]]
    place = data.draw(st.sampled_from(places))
    key = data.draw(st.sampled_from(sorted(place)))
    place[key] = data.draw(ANYTHING)
    file = real / "changed.json"
    file.write_text(json.dumps(said))
    try:
        text, refused = page.markdown([sent.read(file)], "again"), ""
    except UserError as error:
        text, refused = "", str(error)
    finally:
        file.unlink()
    assert "\n" not in refused
    rows = [line for line in text.splitlines() if "int8-full" in line or "broken" in line]
    assert all(line.startswith("|") and line.endswith("|") for line in rows)
    assert refused or text.count("\n## ") == 3
