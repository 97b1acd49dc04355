"""A study as DICOM: a Secondary Capture image per picture and one structured report (TID 1500) over them.

DICOM PS3.3 A.8.1 (Secondary Capture Image IOD), A.35.3 (Comprehensive SR), PS3.16 TID 1500 (Measurement Report). Marked
for research use and unverified; no patient is named. pydicom and highdicom are needed here alone.
"""

import uuid
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from device import RESEARCH_NOTICE, files
from device.errors import UserError
from device.store import pictures
from device.store.database import Item, Study
from device.store.export_sr import SERIES, report
from device.store.leaving import UNVERIFIED, Leaving, gather
from device.store.store import Store

if TYPE_CHECKING:
    from pydicom import Dataset

CLOCK_UNKNOWN = "The clock of the device was not known to be set: dates and times may be wrong."


def export_dicom(store: Store, study: Study, folder: Path, mark: bool = True) -> Leaving:
    """Write the images and the report into a new folder, whole or not at all; note in the store that it was exported,
    unless the caller sees to that (mark false).

    Damaged pictures are left out and named in what is returned; the study then does not count as exported. Raises
    UserError when `folder` exists, the study is open or has no whole picture, or pydicom or highdicom is missing.
    """
    try:
        import highdicom  # noqa: F401
        import pydicom  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"DICOM export needs {error.name}, which is not installed; run: pip install 'busi-kd[dicom]'"
        ) from error
    if folder.exists():
        raise UserError(f"{folder}: exists already; give the name of a new folder.")
    leaving = gather(store, study)
    images: dict[str, Dataset] = {}
    with files.folder_beside(folder) as aside:
        for item in leaving.items:
            pixels = pictures.load(store.pictures, item)
            if pixels is None:
                continue
            image = secondary_capture(leaving, item, pixels)
            image.save_as(aside / f"SC{item.number:06d}.dcm", enforce_file_format=True)
            del image.PixelData  # the report needs the rest, and many pictures would fill the memory
            images[item.id] = image
        if not images:
            raise UserError(f"study {study.id}: has no picture, and DICOM needs one; export it as a ZIP.")
        uids = {item.id: uid(study, f"item {item.id}") for item in leaving.items}
        uids |= {"series": uid(study, "report series"), "document": uid(study, "report")}
        uids |= {"observer": f"2.25.{uuid.UUID(store.id).int}"}
        document = report(leaving, images, uids, date_and_time(leaving.items[-1].saved))
        document.save_as(aside / "SR000001.dcm", enforce_file_format=True)
        (aside / "README.txt").write_text(f"{RESEARCH_NOTICE}\n{UNVERIFIED}\n", encoding="utf-8")
        files.replace_folder(aside, folder)
    if mark and not leaving.damaged:
        store.mark_exported(study, "dicom", None)
    return leaving


def uid(study: Study, what: str = "") -> str:
    """A UID under 2.25 (PS3.5 B.2) that follows from the study's id: the same study gives the same UIDs."""
    number = uuid.UUID(study.id)
    return f"2.25.{(uuid.uuid5(number, what) if what else number).int}"


def secondary_capture(leaving: Leaving, item: Item, pixels: np.ndarray) -> "Dataset":
    """The image of an item. pixels: (H, W) grey or (H, W, 3) BGR uint8."""
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    study, image = leaving.study, Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    image.file_meta.MediaStorageSOPInstanceUID = uid(study, f"image {item.id}")
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SpecificCharacterSet = "ISO_IR 192"
    image.SOPClassUID, image.SOPInstanceUID = SecondaryCaptureImageStorage, uid(study, f"image {item.id}")
    _patient_and_study(image, study, cropped=item.cropped is True)
    image.ContentQualification = "RESEARCH"
    image.Modality, image.SeriesInstanceUID, image.SeriesNumber = "US", uid(study, "images"), 1
    image.SeriesDescription, image.BodyPartExamined, image.Laterality = SERIES, "BREAST", ""
    image.Manufacturer, image.ManufacturerModelName = "busi-kd", "busi-kd"
    image.SoftwareVersions = [study.software, f"bundle {study.bundle}"]
    image.ConversionType = "SYN" if study.synthetic else "DV"  # synthetic, or digitised video
    image.SecondaryCaptureDeviceManufacturer = "busi-kd"
    image.InstanceNumber, image.PatientOrientation = item.number, ""
    image.ImageType = ["DERIVED", "SECONDARY"]
    image.ContentDate, image.ContentTime = _date_and_time(item.saved, item.clock_synchronised)
    image.DerivationDescription = (
        "Frame of the ultrasound machine's video output, "
        + ("cut to its region of interest" if item.cropped else "not known to be cut to its region of interest")
        + ("; one channel." if item.channels == 1 else "; colours as captured.")
    )
    image.BurnedInAnnotation = "NO" if item.cropped is True else "YES"
    image.RecognizableVisualFeatures = "NO"
    image.ImageComments = " ".join(_comments(leaving, item))
    _pixels(image, pixels)
    return image


def _patient_and_study(image: "Dataset", study: Study, cropped: bool) -> None:
    image.PatientName, image.PatientID = "Anonymous^", f"busi-kd-{study.id[:8]}"
    image.PatientBirthDate = image.PatientSex = ""
    image.PatientIdentityRemoved = "YES" if cropped else "NO"  # an uncropped screen may show a name
    if cropped:
        image.DeidentificationMethod = "busi-kd: region of interest only, no patient data recorded"
    image.StudyInstanceUID, image.StudyID = uid(study), study.id[:8]
    image.StudyDate, image.StudyTime = _date_and_time(study.begun, study.clock_synchronised)
    image.AccessionNumber = image.ReferringPhysicianName = ""
    image.StudyDescription = "busi-kd research recording"
    image.TimezoneOffsetFromUTC = "+0000"


def _date_and_time(at: str, synchronised: bool | None) -> tuple[str, str]:
    """DA and TM in UTC; empty, which is unknown, unless the clock is known to have been set."""
    return date_and_time(at) if synchronised is True else ("", "")


def date_and_time(at: str) -> tuple[str, str]:
    """ISO in UTC -> DICOM's DA and TM."""
    moment = datetime.fromisoformat(at)
    return moment.strftime("%Y%m%d"), moment.strftime("%H%M%S.%f")


def _comments(leaving: Leaving, item: Item) -> list[str]:
    study = leaving.study
    said = [RESEARCH_NOTICE, UNVERIFIED]
    if item.shown is not None:
        reason = f" ({item.shown_reason})" if item.shown_reason else ""
        said.append(f"Verdict shown: {item.shown}{reason}.")
    said.append(f"Model {study.model}, bundle {study.bundle}, busi-kd {study.software}.")
    said.append(f"PNG SHA-256 {item.sha256}.")
    if leaving.head is not None:
        said.append(f"Audit log entry {leaving.head[0]}, SHA-256 {leaving.head[1]}.")
    if study.synthetic:
        said.append("SYNTHETIC: shows nobody.")
    return said if item.clock_synchronised is True else [*said, CLOCK_UNKNOWN]


def _pixels(image: "Dataset", pixels: np.ndarray) -> None:
    grey = pixels.ndim == 2
    image.SamplesPerPixel, image.PhotometricInterpretation = (1, "MONOCHROME2") if grey else (3, "RGB")
    if not grey:
        image.PlanarConfiguration = 0
    image.Rows, image.Columns = pixels.shape[:2]
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 8, 8, 7, 0
    data = (pixels if grey else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)).tobytes()
    image.PixelData = data + b"\0" * (len(data) % 2)
