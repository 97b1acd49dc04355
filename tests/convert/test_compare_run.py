"""A small study of phantoms, trained, made into files, asked and timed by the command."""

import json
import shutil
from pathlib import Path

import pytest
from small_external import write_small_external
from small_study import HEAD, small_study

import device.child
from device.main import main
from train.data.busi import read_dataset
from train.evaluation.models import open_model
from train.external.adapters import read_external
from train.external.overlap import copies_in
from train.external.table import judge

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
            assert (line["elsewhere"], line["board"]) == ({}, None)
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


def elsewhere_in(page: Path) -> str:
    """The one section about other hospitals' pictures: the next one goes by times, which are measured anew."""
    return page.read_text().split("## On other hospitals' pictures")[1].split("\n## ")[0]


def test_rows_are_asked_about_other_hospitals_pictures_once(
    compared: tuple[Path, list[str]], phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, command = compared
    root = write_small_external(tmp_path / "external")
    command = [*command, "--external", str(root)]
    assert main(command) == 0
    sets = read_external(root)
    (run,) = (folder / "out/runs/plain").glob("0-0-*")
    copies = copies_in([sets[2]], read_dataset(phantoms))
    by_hand = {row.part.name: row for row in judge([open_model(run)], sets, copies, repeats=20).rows}
    told = json.loads((folder / "files" / "compare.json").read_text())
    network, float32, int8, *_ = (line["elsewhere"] for line in told["lines"])
    for name, one in network.items():
        for metric, figure in one["figures"].items():
            wanted = by_hand[name].figures[metric]
            assert (figure["value"], figure["low"], figure["high"]) == (wanted.value, wanted.low, wanted.high)
    assert set(network) == {"BUS-CoT_43", "BUS-CoT_43, sure classes"}
    assert float32 == network, "the same function"
    assert set(int8) == set(network)
    kept = folder / "files/files/plain/0-0/external.json"
    said = json.loads(kept.read_text())["answers"]
    assert set(said) == {"network", "float32", "int8-full"}
    assert {tuple(sets) for sets in said.values()} == {("BUS-CoT_43", "STU-Hospital")}

    other = folder / "files/files/slower/0-0/external.json"
    other.unlink()  # as after a kill
    before, page = kept.stat().st_mtime_ns, folder / "files" / "README.md"
    told_before = elsewhere_in(page)
    assert main(command) == 0
    assert kept.stat().st_mtime_ns == before
    assert other.is_file()
    assert elsewhere_in(page) == told_before


def test_another_variant_is_made_beside_those_that_are_there(compared: tuple[Path, list[str]]) -> None:
    folder, command = compared
    made = folder / "files/files/plain/0-0"
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in made.glob("*.tflite")}
    answers = json.loads((made / "answers.json").read_text())
    assert set(before) == {"float32.tflite", "int8-full.tflite"}
    assert main([*command, "--rows", "plain", "--variants", "float32,int8-dynamic"]) == 0
    after = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in made.glob("*.tflite")}
    assert set(after) == {*before, "int8-dynamic.tflite"}
    assert {name: after[name] for name in before} == before
    more = json.loads((made / "answers.json").read_text())
    assert {name: more["test"][name] for name in answers["test"]} == answers["test"]
    assert list(more["test"]["int8-dynamic"]) == list(answers["test"]["float32"])
    told = json.loads((folder / "files" / "compare.json").read_text())
    assert [line["name"] for line in told["lines"]] == ["plain", "plain, float32", "plain, int8-dynamic"]
    assert main(command) == 0, "the files are as the tests below expect them"


def test_a_benchmark_of_its_files_is_joined_and_another_is_told(
    compared: tuple[Path, list[str]], bundle_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, command = compared
    own, result = folder / "files" / "board", tmp_path / "own.json"
    assert sorted(path.name for path in own.iterdir()) == [
        f"{row}-{variant}.tflite" for row in ("plain", "slower") for variant in ("float32", "int8-full")
    ]
    bench = ["device", "bench", "--runs", "3", "--rounds", "1"]
    some = [str(own / "plain-int8-full.tflite"), str(own / "slower-float32.tflite")]
    assert main([*bench, *some, "--result", str(result)]) == 0
    assert main([*command, "--bench", str(result)]) == 0
    rows = json.loads(result.read_text())["rows"]
    told = {line["name"]: line["board"] for line in json.loads((folder / "files/compare.json").read_text())["lines"]}
    assert {name for name, board in told.items() if board} == {"plain, int8-full", "slower, float32"}
    for row, name in zip(rows, ("plain, int8-full", "slower, float32"), strict=True):
        assert told[name]["p50"] == row["interpreter_ms"]["p50"]
        assert told[name]["memory_mb"] == row["peak_memory_mb"]
    assert main([*bench, str(bundle_dir / "float32"), "--result", str(result)]) == 0
    capsys.readouterr()
    assert main([*command, "--bench", str(result)]) == 2
    assert f"{result}: has none of this comparison's files; copy {own} to the board" in capsys.readouterr().err
    assert main([*command, "--bench", str(tmp_path / "none.json")]) == 2
    assert "none.json: this result cannot be read" in capsys.readouterr().err


def test_crops_alone_have_whole_pictures_behind_them(compared: tuple[Path, list[str]], tmp_path: Path) -> None:
    _, command = compared
    with pytest.raises(SystemExit):
        main([*command, "--external", str(tmp_path), "--whole", str(tmp_path)])


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
