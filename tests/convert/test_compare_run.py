"""A small study of phantoms, trained, made into files, asked and timed by the command."""

import json
import shutil
from pathlib import Path

import pytest
from small_study import HEAD, small_study

import device.child
from device.main import main

pytestmark = pytest.mark.slow
ONE_FOLD = HEAD.replace("[0, 3]", "[0]").replace("[3]", "[0]")


@pytest.fixture(scope="module")
def compared(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A trained study that was compared, and the command."""
    folder = tmp_path_factory.mktemp("compare") / "small"
    assert main([*small_study(folder, phantoms, head=ONE_FOLD), "--workers", "0", "--keep-runs"]) == 0
    paths = ["--results", folder / "out", "--data", phantoms, "--out", folder / "files"]
    command = ["convert", "compare", *map(str, (folder / "study.toml", *paths)), "--repeats", "20"]
    assert main(command) == 0
    return folder, command


def test_every_file_is_there_asked_and_timed(compared: tuple[Path, list[str]]) -> None:
    folder, _ = compared
    told = json.loads((folder / "files" / "compare.json").read_text())
    assert [line["name"] for line in told["lines"]] == [
        f"{row}{form}" for row in ("plain", "slower") for form in ("", ", float32", ", int8-full")
    ]
    for line in told["lines"]:
        assert (line["trainings"], line["why"]) == (line["planned"], None)
        assert line["parameters"] > 0 < line["multiply_adds"]
        if line["variant"]:
            assert line["time"]["p50"] > 0
            assert line["load"]["cpu_ms"] > 0
            assert 0 < line["load"]["own_mb"] < line["load"]["memory_mb"]
            answers = json.loads((folder / "files/files" / line["row"] / "0-0" / "answers.json").read_text())
            result = json.loads((folder / "out/results" / line["row"] / "0-0.json").read_text())
            assert list(answers["test"][line["variant"]]) == list(result["test"])
            if line["variant"] == "float32":
                for name, logits in result["test"].items():
                    assert answers["test"]["float32"][name] == pytest.approx(logits, abs=0.01)
    page = (folder / "files" / "README.md").read_text()
    assert "All pictures are SYNTHETIC phantoms." in page
    assert "busi-kd convert compare" in page
    assert "## What each file takes of the machine" in page


def test_a_file_whose_measurement_dies_stays_a_row_with_its_reason(
    compared: tuple[Path, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, command = compared
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'out of memory' >&2\nexit 7\n")
    python.chmod(0o755)
    monkeypatch.setattr(device.child.sys, "executable", str(python))
    assert main(command) == 1
    told = json.loads((folder / "files" / "compare.json").read_text())
    for line in told["lines"]:
        if line["variant"]:
            assert line["why"].endswith("the measuring process died (status 7): out of memory")
            assert (line["load"], line["trainings"]) == (None, line["planned"])
            assert line["time"]["p50"] > 0
    assert "out of memory" in (folder / "files" / "README.md").read_text()


def test_what_is_made_stays_and_what_is_gone_is_told(
    compared: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, command = compared
    kept = folder / "files/files/plain/0-0/answers.json"
    before = kept.stat().st_mtime_ns
    (gone,) = (folder / "out/runs/slower").glob("0-0-*")
    shutil.rmtree(gone)
    assert main(command) == 1
    assert kept.stat().st_mtime_ns == before
    page = (folder / "files" / "README.md").read_text()
    assert "its network was not kept; train it anew with busi-kd train grid --keep-runs." in page
    assert "**plain, " in page  # only a row with all its trainings is recommended


def test_what_was_never_trained_is_one_sentence(
    compared: tuple[Path, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, command = compared
    capsys.readouterr()
    assert main([*command[:4], str(tmp_path), *command[5:]]) == 2
    assert "no study was trained there" in capsys.readouterr().err
