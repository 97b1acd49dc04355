"""A study leaves whole or not at all, the same each time, and can be read by who never saw busi-kd."""

import csv
import hashlib
import io
import json
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes
from store_things import ORIGIN, SUMMARY, Card, Clock, picture, recorder, snapshot

from device import RESEARCH_NOTICE
from device.bundle import load_bundle
from device.capture import Frame
from device.errors import UserError
from device.judge import Judge
from device.over_time import OverTime
from device.phantom import make_phantom
from device.runtime import open_bundle
from device.shipped import default_bundle
from device.store import AUDIT, database
from device.store.audit import decode, entries
from device.store.bounds import Limits
from device.store.export_dicom import CLOCK_UNKNOWN, export_dicom
from device.store.export_zip import export_zip
from device.store.recorder import Recorder
from device.store.store import Store

PIXELS = [picture(1), picture(2, 61, 83), picture(3, 60, 80, colour=True)]


@pytest.fixture
def store(tmp_path: Path):
    """A store with one ended study: two frames, a sweep with a picture and one without, and another study."""
    with recorder(tmp_path / "s", clock=Clock()) as kept:
        kept.begin_study("left")
        kept.shown(snapshot("malignant"))
        kept.save_frame(PIXELS[0], snapshot("malignant"), True)
        kept.save_frame(PIXELS[1], snapshot("abstain"), False)
        kept.tell("sweep begun")
        kept.save_sweep(kept.now(), SUMMARY, PIXELS[2], snapshot("benign"), True)
        kept.tell("sweep begun")
        kept.save_sweep(kept.now(), SUMMARY)
        kept.begin_study("other")
        kept.save_frame(picture(9), snapshot(), True)
    opened = Store(tmp_path / "s", clock=Clock())
    yield opened
    opened.close()


def _full(*_: object, **__: object) -> None:
    raise OSError(28, "full")


def _first(store: Store) -> database.Study:
    return database.studies(store.connection)[0]


def test_the_zip_holds_all_of_the_study_and_its_hashes(store: Store, tmp_path: Path) -> None:
    study, path = _first(store), tmp_path / "study.zip"
    export_zip(store, study, path)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        found = {name: archive.read(name) for name in archive.namelist()}
    sums = dict(line.split("  ")[::-1] for line in found.pop("SHA256SUMS").decode().splitlines())
    assert sums == {name: hashlib.sha256(data).hexdigest() for name, data in found.items()}
    data = json.loads(found["study.json"])
    assert data["notice"].startswith(RESEARCH_NOTICE)
    assert found["README.txt"].decode().startswith(RESEARCH_NOTICE)
    about = data["study"]
    assert (about["id"], about["label"], about["bundle"]) == (study.id, "left", ORIGIN.bundle)
    assert [item["kind"] for item in data["items"]] == ["frame", "frame", "sweep", "sweep"]
    assert data["items"] == [vars(item) for item in database.items(store.connection, study.id)]
    for item, pixels in zip(data["items"], PIXELS):
        png = found[f"pictures/{Path(item['file']).name}"]
        assert hashlib.sha256(png).hexdigest() == item["sha256"]
        assert np.array_equal(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED), pixels)
    rows = list(csv.DictReader(io.StringIO(found["verdicts.csv"].decode())))
    assert [row["shown"] for row in rows] == ["malignant", "abstain", "benign", ""]
    assert (rows[0]["shown_p_malignant"], rows[1]["shown_p_malignant"], rows[0]["z_normal"]) == ("0.625", "", "")
    assert rows[3]["sustained_malignant"] == "0.375"
    lines = found["audit.jsonl"].splitlines()
    told = [decode(line) for line in lines]
    assert [entry["what"] for entry in told] == [
        *("study begun", "shown", "saved", "saved"),
        *("sweep begun", "saved", "sweep begun", "saved", "study ended"),
    ]
    head = {"entry": told[-1]["n"], "sha256": hashlib.sha256(lines[-1]).hexdigest()}
    assert data["audit"] == {"head": head, "entries": 9, "whole": True}


def test_the_same_study_gives_the_same_bytes(store: Store, tmp_path: Path) -> None:
    study = _first(store)
    for name in ("a", "b"):
        export_zip(store, study, tmp_path / f"{name}.zip")
        export_dicom(store, study, tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["README.txt", "SC000001.dcm", "SC000002.dcm", "SC000003.dcm", "SR000001.dcm"]
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)
    exported = [entry for _, entry in entries(store.folder / AUDIT) if entry["what"] == "exported"]
    assert [entry["how"] for entry in exported] == ["zip", "dicom"] * 2
    assert exported[0]["sha256"] == hashlib.sha256((tmp_path / "a.zip").read_bytes()).hexdigest()
    assert _first(store).exported is not None


def test_the_images_are_secondary_captures_of_nobody(store: Store, tmp_path: Path) -> None:
    study = _first(store)
    export_dicom(store, study, tmp_path / "d")
    images = [pydicom.dcmread(tmp_path / "d" / f"SC00000{n}.dcm") for n in (1, 2, 3)]
    for image, pixels in zip(images, PIXELS):
        grey = pixels.ndim == 2
        assert np.array_equal(image.pixel_array, pixels if grey else pixels[..., ::-1])
        assert image.PhotometricInterpretation == ("MONOCHROME2" if grey else "RGB")
        assert image.SOPClassUID == pydicom.uid.SecondaryCaptureImageStorage
        assert (image.Modality, image.ConversionType, image.ImageType[0]) == ("US", "DV", "DERIVED")
        assert image.ContentQualification == "RESEARCH"
        assert RESEARCH_NOTICE in image.ImageComments
        assert image.SeriesDescription.startswith("Research use only")
        assert (image.PatientName, image.PatientBirthDate, image.PatientSex) == ("Anonymous^", "", "")
        assert (image.StudyDate, image.StudyTime[:6]) == ("20261122", "090002")
        assert CLOCK_UNKNOWN not in image.ImageComments
        assert "left" not in str(image.to_json())  # the technician's words stay on the device and in the ZIP
        assert image.SOPInstanceUID.startswith("2.25.")
        assert image.SOPInstanceUID.is_valid
    assert [image.BurnedInAnnotation for image in images] == ["NO", "YES", "NO"]
    assert [image.PatientIdentityRemoved for image in images] == ["YES", "NO", "YES"]
    assert len({image.SOPInstanceUID for image in images}) == 3
    assert len({(image.StudyInstanceUID, image.SeriesInstanceUID) for image in images}) == 1


def test_the_report_is_tid_1500_unverified_and_by_a_device(store: Store, tmp_path: Path) -> None:
    study = _first(store)
    export_dicom(store, study, tmp_path / "d")
    report = highdicom.sr.srread(tmp_path / "d" / "SR000001.dcm")
    assert isinstance(report, highdicom.sr.ComprehensiveSR)
    assert (report.VerificationFlag, report.CompletionFlag, report.PreliminaryFlag) == (
        "UNVERIFIED",
        "PARTIAL",
        "PRELIMINARY",
    )
    assert (report.ContentQualification, report.SeriesDescription[:17]) == ("RESEARCH", "Research use only")
    content = report.content
    assert isinstance(content, highdicom.sr.MeasurementReport)
    assert [observer.observer_type for observer in content.get_observer_contexts()] == [codes.DCM.Device]
    groups = content.get_image_measurement_groups()
    assert [group.tracking_identifier for group in groups] == ["frame 1", "frame 2", "sweep 3", "sweep 4"]
    measured = {m.name.meaning: m.value for m in groups[0].get_measurements()}
    assert measured["Calibrated probability of malignant, over time"] == 0.625
    assert measured["Calibrated probability of benign, of the frame alone"] == 0.5
    said = {q.name.meaning: q.value.meaning for q in groups[1].get_qualitative_evaluations()}
    assert said["Verdict over time, as shown"] == "abstain: blank"
    assert said["Intended use"] == "Research use only, never a diagnosis"
    assert not any("over time" in m.name.meaning for m in groups[1].get_measurements())  # unknown is not there
    sweep = {m.name.meaning: m.value for m in groups[3].get_measurements()}
    assert sweep["Highest probability of malignant held for a second"] == 0.375
    assert (sweep["Frames judged in the sweep"], sweep["Frames abstained from"]) == (34, 4)
    image = pydicom.dcmread(tmp_path / "d" / "SC000001.dcm")
    assert groups[0].source_images[0].referenced_sop_instance_uid == image.SOPInstanceUID
    assert groups[3].source_images == []
    text = report.to_json()
    assert ORIGIN.bundle in text
    last = next(line for line, entry in entries(store.folder / AUDIT) if entry["what"] == "study ended")
    assert hashlib.sha256(last).hexdigest() in text


@pytest.mark.parametrize("synchronised", [False, None])
def test_a_clock_that_may_be_wrong_gives_no_dates(tmp_path: Path, synchronised: bool | None) -> None:
    origin = replace(ORIGIN, synthetic=True)
    with Recorder(tmp_path / "s", origin, Limits(), Clock(synchronised), Card(10**10), lambda _: None) as kept:
        kept.save_frame(picture(), snapshot(), True)
    store = Store(tmp_path / "s")
    export_dicom(store, _first(store), tmp_path / "d")
    store.close()
    image = pydicom.dcmread(tmp_path / "d" / "SC000001.dcm")
    assert (image.StudyDate, image.ContentDate, image.ConversionType) == ("", "", "SYN")
    assert CLOCK_UNKNOWN in image.ImageComments
    (group,) = highdicom.sr.srread(tmp_path / "d" / "SR000001.dcm").content.get_image_measurement_groups()
    said = {q.name.meaning: q.value.meaning for q in group.get_qualitative_evaluations()}
    assert said["Clock of the device"] == ("clock not set" if synchronised is False else "clock unknown")
    assert said["Synthetic"] == "shows nobody, for demonstration only"


def test_damage_is_named_the_rest_leaves_and_the_study_does_not_count_as_exported(store: Store, tmp_path: Path) -> None:
    study = _first(store)
    item = database.items(store.connection, study.id)[0]
    path = store.pictures / item.file
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    leaving = export_zip(store, study, tmp_path / "a.zip")
    assert [damage.item.id for damage in leaving.damaged] == [item.id]
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert not any(item.id in name for name in archive.namelist())
        assert json.loads(archive.read("study.json"))["damaged"][0]["item"] == item.id
        assert str(tmp_path) not in archive.read("study.json").decode()
    export_dicom(store, study, tmp_path / "d")
    assert not (tmp_path / "d" / "SC000001.dcm").exists()
    assert _first(store).exported is None


def test_nothing_is_overwritten_and_nothing_half_stays(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, there = _first(store), tmp_path / "there"
    there.write_text("mine")
    for export in (export_zip, export_dicom):
        with pytest.raises(UserError, match="exists already"):
            export(store, study, there)
    assert there.read_text() == "mine"
    before = sorted(path.name for path in tmp_path.iterdir())
    monkeypatch.setattr(zipfile.ZipFile, "open", _full)
    monkeypatch.setattr(pydicom.Dataset, "save_as", _full)
    for export, name in ((export_zip, "a.zip"), (export_dicom, "d")):
        with pytest.raises(OSError, match="full"):
            export(store, study, tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert _first(store).exported is None


def test_without_pydicom_the_way_to_it_is_said(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(UserError, match=r"pip install 'busi-kd\[dicom\]'"):
        export_dicom(store, _first(store), tmp_path / "d")
    assert not (tmp_path / "d").exists()
    export_zip(store, _first(store), tmp_path / "a.zip")


def test_a_study_without_a_picture_is_no_dicom(tmp_path: Path) -> None:
    with recorder(tmp_path / "s") as kept:
        kept.save_sweep(kept.now(), SUMMARY)
    store = Store(tmp_path / "s")
    with pytest.raises(UserError, match="has no picture, and DICOM needs one; export it as a ZIP"):
        export_dicom(store, _first(store), tmp_path / "d")
    store.close()
    assert not (tmp_path / "d").exists()


def test_an_open_study_is_not_exported(tmp_path: Path) -> None:
    with recorder(tmp_path / "s") as kept:
        kept.save_frame(picture(), snapshot(), True)
        store = Store(tmp_path / "s")
        with pytest.raises(UserError, match="still open in the daemon"):
            export_zip(store, _first(store), tmp_path / "a.zip")
        store.close()


def test_a_frame_that_the_shipped_model_judged(tmp_path: Path) -> None:
    bundle = load_bundle(default_bundle())
    judge = Judge(open_bundle(bundle), bundle.meta, OverTime(), None)
    pixels = make_phantom("malignant", 3).image
    seen = judge.judge(Frame(pixels, 1, 10.0, "phantom"), 10.0, 10.0)
    origin = replace(ORIGIN, model=bundle.meta.name, bundle=bundle.id, classes=bundle.meta.classes)
    with Recorder(tmp_path / "s", origin, disk_usage=Card(10**10), say=lambda _: None) as kept:
        item = kept.save_frame(pixels, seen, True)
    assert item.logits == [float(z) for z in seen.logits]
    store = Store(tmp_path / "s")
    export_dicom(store, _first(store), tmp_path / "d")
    store.close()
    assert np.array_equal(pydicom.dcmread(tmp_path / "d" / "SC000001.dcm").pixel_array, pixels)
