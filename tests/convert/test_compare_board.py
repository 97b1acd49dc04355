"""Figures of a board, joined to a comparison's files by what the benchmark's result says of them."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from made_up_study import made_up

from convert.boards import sent
from convert.compare.board import OnBoard, joined
from convert.compare.made import Made
from convert.compare.page import About, markdown, write
from convert.compare.table import lines
from device.bench_report import ROW_FIELDS
from device.errors import UserError

FOLDER = Path("out/board")
DIGESTS = {("wide", "float32"): {"a" * 64, "b" * 64}, ("wide", "int8-full"): {"c" * 64}}
METRIC = "balanced_accuracy"


def a_row(digest: str | None, threads: int = 1, error: str | None = None, p50: float = 2.5) -> dict[str, Any]:
    """As the benchmark writes one: of a file that warms the board by 6, 5 and 4 degrees in three rounds."""
    row = {"folder": "x.tflite", "threads": threads, "model_sha256": digest, "error": error}
    if error is not None:
        return row | dict.fromkeys(ROW_FIELDS)
    heats = [(50.0, 56.0), (55.0, 60.0), (59.0, 63.0)]
    return row | {
        **dict.fromkeys(ROW_FIELDS),
        "name": "x.tflite",
        "interpreter_ms": {"p50": p50, "p95": p50 + 0.25},
        "path_ms": {"p50": p50 + 1, "p95": p50 + 2},
        "fps": 40.0,
        "process_cpu_percent": 98.0,
        "other_cpu_percent": 31.0,
        "peak_memory_mb": 61.25,
        "temperature_c": {"before": 50.0, "after": 63.0, "max": 64.0},
        "clock_mhz": {"before": 1800.0, "after": 1800.0, "min": 1800.0},
        "valid": True,
        "rounds": [{"temperature_c": {"before": before, "after": after}} for before, after in heats],
    }


def a_result(path: Path, *rows: dict[str, Any]) -> sent.Sent:
    """The result file of a Raspberry Pi, written and read."""
    machine = {"model": "Raspberry Pi 4 | Model B", "architecture": "aarch64", "cores": 4, "governor": "ondemand"}
    machine |= {"memory_mb": 3792.0, "kernel": "6.12", "os": "Debian", "python": "3.11.2", "cooling": None}
    said = {"schema_version": 1, "created": "2026-11-20T10:00:00+00:00", "software": {"busi-kd": "0.1.0"}}
    path.write_text(json.dumps(said | {"machine": machine, "rows": list(rows)}))
    return sent.read(path)


def test_a_file_is_found_by_its_digest_with_the_fewest_threads(tmp_path: Path) -> None:
    path = tmp_path / "pi.json"
    result = a_result(path, a_row("b" * 64, 4, p50=1.0), a_row("b" * 64), a_row("d" * 64))
    found, failed = joined(path, result, DIGESTS, FOLDER)
    # 98 % of a core at 40 pictures a second are 24.5 ms of it a picture.
    golden = OnBoard(1, 2.5, 2.75, 3.5, 40.0, 98.0, 24.5, 61.25, 5.0, False)
    assert (found, failed) == ({("wide", "float32"): golden}, {})


def test_what_a_board_does_not_tell_is_unknown(tmp_path: Path) -> None:
    none = {"temperature_c": {"before": None, "after": None, "max": None}}
    row = a_row("c" * 64) | {
        "process_cpu_percent": None,
        "peak_memory_mb": None,
        "valid": None,
        "rounds": [none],
        **none,
    }
    found, _ = joined(tmp_path / "x", a_result(tmp_path / "x", row), DIGESTS, FOLDER)
    assert found["wide", "int8-full"] == OnBoard(1, 2.5, 2.75, 3.5, 40.0, None, None, None, None, None)


def test_a_file_that_failed_on_the_board_says_why(tmp_path: Path) -> None:
    path = tmp_path / "pi.json"
    result = a_result(path, a_row("a" * 64, error="x.tflite: cannot\nopen this model"), a_row("b" * 64, 2))
    assert joined(path, result, DIGESTS, FOLDER)[0]["wide", "float32"].threads == 2, "another training's will do"
    _, failed = joined(path, a_result(path, a_row("c" * 64, error="cannot\nopen")), DIGESTS, FOLDER)
    assert failed == {("wide", "int8-full"): f"on the board of {path}: cannot open"}


@pytest.mark.parametrize(
    ("digest", "words"), [("d" * 64, "has none of this comparison's files"), (None, "by an older busi-kd")]
)
def test_a_result_of_other_files_is_one_sentence(tmp_path: Path, digest: str | None, words: str) -> None:
    path = tmp_path / "pi.json"
    with pytest.raises(UserError, match=r"pi\.json: .*" + words) as caught:
        joined(path, a_result(path, a_row(digest), a_row(digest, error="died")), DIGESTS, FOLDER)
    assert "copy out/board to the board, run busi-kd device bench board --result FILE there" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_page_and_the_table_have_them_beside_what_is_unknown(tmp_path: Path) -> None:
    study, pictures, results = made_up(tmp_path, '[[row]]\nname = "wide"\n', {"wide": 1.4})
    kilobytes = {"float32": 8.0, "int8-full": 4.0}
    made = {
        key: Made("", {}, (96, 64), 1000, 2_000_000, kilobytes, {"float32": one.test, "int8-full": one.test}, {})
        for key, one in results.items()
    }
    path = tmp_path / "pi.json"
    result = a_result(path, a_row("a" * 64))
    found, _ = joined(path, result, DIGESTS, FOLDER)
    table = lines(study, pictures, results, made, tuple(kilobytes), {}, {}, {}, repeats=10, boards=found)
    about = About("again", "a test", board=result)
    page = markdown(study, pictures, table, METRIC, about)
    assert "## On a board: Raspberry Pi 4 \\| Model B" in page
    assert "Debian, governor ondemand, cooling: unknown; measured 2026-11-20" in page
    assert "| wide | float32 | 1 | 2.500 | 2.750 | 3.500 | 40.0 | 98 | 24.500 | 61.2 | +5.0 | no |" in page
    assert "| wide | int8-full |" + " unknown |" * 10 in page
    assert "Other programs took up to 31 % of a core meanwhile." in page
    write(tmp_path / "page", study, pictures, table, METRIC, about)
    network, float32, int8 = csv.DictReader((tmp_path / "page/compare.csv").read_text().splitlines())
    assert (float32["board"], float32["board_governor"]) == ("Raspberry Pi 4 | Model B", "ondemand")
    golden = ("2.5", "2.75", "40.0", "98.0", "24.5", "61.25", "5.0", "False")
    names = "p50 p95 fps cpu_percent cpu_ms memory_mb warmer_c held_back"
    assert tuple(float32[f"board_{name}"] for name in names.split()) == golden
    assert {other[key] for other in (network, int8) for key in other if key.startswith("board")} == {""}
    told = json.loads((tmp_path / "page/compare.json").read_text())
    assert told["board"]["model"] == "Raspberry Pi 4 | Model B"
    assert [line["board"] and line["board"]["cpu_ms"] for line in told["lines"]] == [None, 24.5, None]
    assert "external" not in told
