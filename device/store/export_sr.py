"""The structured report of a study: PS3.16 TID 1500 through highdicom, partial, unverified, observed by a device."""

from typing import TYPE_CHECKING, Any

from device import RESEARCH_NOTICE
from device.store.database import Item, Study
from device.store.leaving import Leaving

if TYPE_CHECKING:
    from highdicom.sr import CodedConcept, Measurement, MeasurementsAndQualitativeEvaluations, QualitativeEvaluation
    from pydicom import Dataset

SCHEME = "99BUSIKD"  # private codes: those of a diagnosis would say more than a research classifier can
SERIES = "Research use only, not a diagnosis: busi-kd"  # 64 characters at most
_MEANING = 64  # characters that a code's meaning can have


def report(leaving: Leaving, images: dict[str, "Dataset"], uids: dict[str, str], when: tuple[str, str]) -> "Dataset":
    """The report, a Comprehensive SR.

    A measurement group per item: the verdict that was shown and that of the frame alone as coded evaluations,
    calibrated probabilities 0..1 as measurements without a unit. images: a study's images by item id, at least one,
    without their pixels. uids: of the `series`, the `document` and the `observer`, and of each item by its id. when:
    date and time, which a report must have.
    """
    from highdicom import sr
    from highdicom.coding_schemes import CodingSchemeIdentificationItem
    from pydicom.sr.codedict import codes

    study = leaving.study
    observer = sr.DeviceObserverIdentifyingAttributes(
        uid=uids["observer"], name="busi-kd", manufacturer_name="busi-kd", model_name=f"busi-kd {study.software}"
    )
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(
            observer_device_context=sr.ObserverContext(codes.DCM.Device, observer)
        ),
        procedure_reported=sr.CodedConcept("47079000", "SCT", "Ultrasonography of breast"),
        imaging_measurements=[_group(leaving, item, images.get(item.id), uids[item.id]) for item in leaving.items],
        title=codes.DCM.ImagingMeasurementReport,
    )
    scheme = CodingSchemeIdentificationItem(designator=SCHEME, name="busi-kd", responsible_organization="busi-kd")
    document = sr.ComprehensiveSR(
        evidence=list(images.values()),
        content=content[0],
        series_instance_uid=uids["series"],
        series_number=2,
        sop_instance_uid=uids["document"],
        instance_number=1,
        manufacturer="busi-kd",
        manufacturer_model_name="busi-kd",
        software_versions=study.software,
        is_complete=False,
        is_final=False,
        is_verified=False,
        content_qualification="RESEARCH",
        coding_schemes=[scheme],
        series_description=SERIES,
        content_date=when[0],
        content_time=when[1],
    )
    # highdicom puts the time of the call there, but the same study is to give the same bytes.
    document.InstanceCreationDate, document.InstanceCreationTime = when
    document.ContentDate, document.ContentTime = when
    for equipment in document.get("ContributingEquipmentSequence", []):
        equipment.pop("ContributionDateTime", None)
    document.CompletionFlagDescription = "Research use only, not a diagnosis; unverified"
    document.TimezoneOffsetFromUTC = "+0000"
    return document


def _group(
    leaving: Leaving, item: Item, image: "Dataset | None", tracked: str
) -> "MeasurementsAndQualitativeEvaluations":
    from highdicom import sr

    study = leaving.study
    sources = None
    if image is not None:
        sources = [sr.SourceImageForMeasurementGroup(image.SOPClassUID, image.SOPInstanceUID)]
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=tracked, identifier=f"{item.kind} {item.number}"),
        algorithm_id=sr.AlgorithmIdentification(study.model, study.bundle, _parameters(leaving)),
        finding_sites=[sr.FindingSite(sr.CodedConcept("76752008", "SCT", "Breast"))],
        measurements=_measurements(item) or None,
        qualitative_evaluations=_evaluations(study, item),
        source_images=sources,
    )


def _parameters(leaving: Leaving) -> list[str]:
    """What stands beside the algorithm's name and version in each group: the notice, and how to find the log."""
    said = [RESEARCH_NOTICE, f"busi-kd {leaving.study.software}"]
    if leaving.head is not None:
        said.append(f"audit log entry {leaving.head[0]}, SHA-256 {leaving.head[1]}")
    return said


def _code(value: str, meaning: str) -> "CodedConcept":
    from highdicom.sr import CodedConcept

    return CodedConcept(value[:16], SCHEME, meaning[:_MEANING])  # 16 characters are all that a code can have


def _evaluations(study: Study, item: Item) -> list["QualitativeEvaluation"]:
    from highdicom.sr import QualitativeEvaluation

    found = [("use", "Intended use", "research", "Research use only, never a diagnosis")]
    for code, name, label, reason in (
        ("shown", "Verdict over time, as shown", item.shown, item.shown_reason),
        ("frame", "Verdict of the frame alone", item.verdict, item.reason),
    ):
        if label is not None:
            found.append((code, name, label, f"{label}: {reason}" if reason else label))
    if item.quality is not None:
        found.append(("quality", "Quality of the frame", item.quality.replace(" ", "-"), item.quality))
    known = {True: "set", False: "not set", None: "unknown"}[item.clock_synchronised]
    found.append(("clock", "Clock of the device", known.replace(" ", "-"), f"clock {known}"))
    if study.synthetic:
        found.append(("synthetic", "Synthetic", "yes", "shows nobody, for demonstration only"))
    return [QualitativeEvaluation(_code(code, name), _code(value, meaning)) for code, name, value, meaning in found]


def _measurements(item: Item) -> list["Measurement"]:
    from highdicom.sr import CodedConcept, Measurement
    from pydicom.sr.codedict import codes

    found: list[tuple[str, str, Any, Any]] = []
    for code, of, probabilities in (
        ("ps", "over time", item.shown_probabilities),
        ("pf", "of the frame alone", item.probabilities),
    ):
        for name, p in (probabilities or {}).items():
            found.append((f"{code}-{name}", f"Calibrated probability of {name}, {of}", p, codes.UCUM.NoUnits))
    if item.sweep is not None:
        second = CodedConcept("s", "UCUM", "second")
        frames = item.sweep["frames"]
        found.append(("sweep-s", "Duration of the sweep", item.sweep["seconds"], second))
        found.append(("sweep-frames", "Frames judged in the sweep", sum(frames.values()), codes.UCUM.NoUnits))
        found.append(("sweep-abstained", "Frames abstained from", frames.get("abstain", 0), codes.UCUM.NoUnits))
        if (sustained := item.sweep["sustained_malignant"]) is not None:
            name = "Highest probability of malignant held for a second"
            found.append(("sweep-sustained", name, sustained, codes.UCUM.NoUnits))
    return [Measurement(_code(code, name), round(float(value), 6), unit) for code, name, value, unit in found]
