"""`busi-kd device studies`: what it prints, and its exit status."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from store_things import ORIGIN, SUMMARY, Card, Clock, picture, recorder, snapshot

from device import RESEARCH_NOTICE
from device.main import main
from device.store import AUDIT
from device.store.audit import log_files
from device.store.bounds import Limits
from device.store.recorder import Recorder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with one ended study of a frame and a sweep."""
    with recorder(tmp_path / "s") as kept:
        kept.begin_study("left")
        kept.save_frame(picture(), snapshot(), True)
        kept.tell("sweep begun")
        kept.save_sweep(kept.now(), SUMMARY)
    return tmp_path / "s"


def _run(folder: Path, action: str, *arguments: object) -> int:
    return main(["device", "studies", action, *map(str, arguments), "--store", str(folder)])


def _id(folder: Path, capsys: pytest.CaptureFixture) -> str:
    assert _run(folder, "list") == 0
    return capsys.readouterr().out.splitlines()[1].split()[0]


def test_list_and_show(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert _run(folder, "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == RESEARCH_NOTICE
    assert "2 items, 0.0 MB, ended, not exported, model busi-test 0123456789ab  left" in lines[1]
    assert lines[2].startswith("1 studies")
    study = lines[1].split()[0]
    assert _run(folder, "show", study[:4]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["notice"], shown["study"]["id"], len(shown["items"])) == (RESEARCH_NOTICE, study, 2)


def test_a_study_of_phantoms_says_so_in_the_list(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with Recorder(tmp_path / "s", replace(ORIGIN, synthetic=True), Limits(), Clock(), Card(10**10), print) as kept:
        kept.save_frame(picture(), snapshot(), True)
    capsys.readouterr()
    assert _run(tmp_path / "s", "list") == 0
    assert "not exported, SYNTHETIC: shows nobody, model busi-test" in capsys.readouterr().out.splitlines()[1]


def test_export_then_delete(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    study = _id(folder, capsys)
    assert _run(folder, "export", study, "--zip", tmp_path / "a.zip") == 0
    assert RESEARCH_NOTICE in capsys.readouterr().out
    assert _run(folder, "export", study, "--dicom", tmp_path / "d") == 0
    assert sorted(os.listdir(tmp_path / "d")) == ["README.txt", "SC000001.dcm", "SR000001.dcm"]
    capsys.readouterr()
    assert _run(folder, "delete", study) == 0
    assert capsys.readouterr().out == f"deleted: study {study}\n"
    assert os.listdir(folder / "pictures") == []
    assert _run(folder, "verify") == 0
    assert "0 pictures" in capsys.readouterr().out


def test_verify_names_what_is_wrong_and_ends_with_3(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert _run(folder, "verify") == 0
    assert capsys.readouterr().out == "1 pictures and 7 audit entries looked at; faults: 0.\n"
    (path,) = (folder / "pictures").rglob("*.png")
    path.unlink()
    log = log_files(folder / AUDIT)[0]
    log.write_bytes(log.read_bytes().replace(b"malignant", b"benign---"))
    assert _run(folder, "verify") == 3
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        f"{path}: is missing.",
        f"audit log: {log.name}, line 3: was altered, or is no entry.",
        "1 pictures and 2 audit entries looked at; faults: 2.",
    ]
    assert f"not as it was saved: {path}: is missing." in said.err


def test_a_noted_head_tells_a_log_that_was_cut_or_written_anew(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert _run(folder, "head") == 0
    head = capsys.readouterr().out.strip()
    assert head.startswith("7:")
    assert _run(folder, "verify", "--head", head) == 0
    assert _run(folder, "verify", "--head", "7:" + "0" * 64) == 3
    assert "the log was rewritten" in capsys.readouterr().out
    assert _run(folder, "verify", "--head", "8") == 2
    log = log_files(folder / AUDIT)[0]
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-1]))
    assert _run(folder, "verify", "--head", head) == 3
    assert "its end was removed" in capsys.readouterr().out


def test_an_end_cut_off_is_noticed_without_a_note(folder: Path, capsys: pytest.CaptureFixture) -> None:
    log = log_files(folder / AUDIT)[0]
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:3]))
    assert _run(folder, "verify") == 3
    assert "the log ends with entry 3, but entry 7 was written once" in capsys.readouterr().out


def test_what_is_damaged_leaves_with_status_3(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    study = _id(folder, capsys)
    (path,) = (folder / "pictures").rglob("*.png")
    path.write_bytes(path.read_bytes()[:-4])
    assert _run(folder, "export", study, "--zip", tmp_path / "a.zip") == 3
    assert "without the damaged pictures" in capsys.readouterr().err
    assert (tmp_path / "a.zip").exists()


@pytest.mark.parametrize("study", ["nothing", ""])
def test_an_unknown_study_is_a_mendable_error(folder: Path, study: str, capsys: pytest.CaptureFixture) -> None:
    assert _run(folder, "show", study) == 2
    assert "no such study" in capsys.readouterr().err


def test_a_folder_without_studies_stays_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        assert _run(folder, "list") == 2
        assert "no studies are saved there" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_open_study_is_neither_deleted_nor_exported(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with recorder(tmp_path / "s") as kept:
        kept.save_frame(picture(), snapshot(), True)
        study = kept.study.id
        assert _run(tmp_path / "s", "delete", study) == 2
        assert _run(tmp_path / "s", "export", study, "--zip", tmp_path / "a.zip") == 2
        assert _run(tmp_path / "s", "list") == 0
        assert ", open, not exported" in capsys.readouterr().out
        kept._open.close()  # as a kill
    assert _run(tmp_path / "s", "delete", study) == 0
    assert "which was not exported" in capsys.readouterr().out
