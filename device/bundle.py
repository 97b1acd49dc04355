"""The model bundle: the contract between host and Pi, a folder with `model.tflite`, `bundle.json`, `bundle.sig`.

`bundle.json` says all that is needed to use the model and to believe its figures. What is unknown, altered or of
another schema refuses to load, each with its own sentence.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from device import RESEARCH_NOTICE, files, schema, signing
from device.bundle_parts import Estimate, MaskOutput, Tensor
from device.errors import UserError
from device.familiar import Familiar
from device.preprocess import Preprocess

SCHEMA_VERSION = 1
MODEL_FILE = "model.tflite"
META_FILE = "bundle.json"
TASK = "breast-ultrasound-classification"

Variant = Literal["float32", "float16", "int8-dynamic", "int8-full"]
VARIANTS: tuple[Variant, ...] = ("float32", "float16", "int8-dynamic", "int8-full")


@dataclass(frozen=True)
class OperatingPoint:
    """Where `malignant` begins: calibrated P(malignant) >= threshold, unless the system abstains.

    The threshold is fixed at `target_sensitivity` on out-of-fold answers of the same recipe, or on the validation part
    with this very file's outputs; `derived_on` says which. sensitivity and specificity (malignant vs. the rest) are
    what the threshold alone reaches there; what the verdicts reach, abstention included, stands in the metrics.
    """

    malignant_threshold: float
    target_sensitivity: float
    sensitivity: float
    specificity: float
    derived_on: str

    def __post_init__(self) -> None:
        for name in ("malignant_threshold", "target_sensitivity", "sensitivity", "specificity"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"the key {name!r} must lie in 0..1, not {getattr(self, name)}.")


@dataclass(frozen=True)
class Abstain:
    """When the system cannot say: the largest calibrated probability is below `min_confidence` (0..1)."""

    min_confidence: float
    coverage: float
    derived_on: str

    def __post_init__(self) -> None:
        for name in ("min_confidence", "coverage"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"the key {name!r} must lie in 0..1, not {getattr(self, name)}.")


@dataclass(frozen=True)
class Training:
    """Where the weights come from: data, split, recipe, initial weights, calibration pictures.

    view: what the training's pictures show, `whole` scans or a `lesion-crop` each.
    """

    data_name: str
    data_fingerprint: str
    view: Literal["whole", "lesion-crop"]
    split: dict[str, Any]
    recipe: dict[str, Any]
    weights: str
    student_sha256: str
    calibration: dict[str, Any]


@dataclass(frozen=True)
class FileEntry:
    """Size in bytes and SHA-256 of one file of the bundle."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Answers:
    """What the model answers to the phantom frames that every busi-kd stores (device/selftest.py), as it was made.

    frames: which frames, their fingerprint. interpreter: of whose answers these are. outputs: for each frame the output
    tensor's own whole numbers, in the order of the classes: of a model with an 8-bit output alone.
    """

    frames: str
    interpreter: str
    outputs: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Meta:
    """The content of bundle.json; an unknown key refuses to load."""

    schema_version: int
    task: Literal["breast-ultrasound-classification"]
    name: str
    variant: Variant
    intended_use: str
    synthetic: bool
    classes: tuple[str, ...]
    input: Tensor
    output: Tensor
    preprocess: Preprocess
    temperature: float
    operating_point: OperatingPoint
    abstain: Abstain
    training: Training
    metrics: dict[str, Estimate]
    parity: dict[str, float | None]
    versions: dict[str, str]
    created: str
    files: dict[str, FileEntry]
    familiar: Familiar | None = None  # None: not known, and no frame is refused for being unlike the training
    answers: Answers | None = None  # None: not recorded, and the model is only tried
    mask: MaskOutput | None = None  # None: the model says what a lesion is, and not where

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"the key 'temperature' must be above 0, not {self.temperature}.")
        if len(set(self.classes)) != len(self.classes) or not {"benign", "malignant"} <= set(self.classes):
            raise ValueError(f"the key 'classes' must hold benign and malignant, each once, not {self.classes}.")
        wanted = (1, self.preprocess.height, self.preprocess.width, 1)
        if self.input.shape != wanted:
            raise ValueError(f"input.shape {self.input.shape} does not fit preprocess, which gives {wanted}.")
        if self.output.shape != (1, len(self.classes)):
            raise ValueError(f"output.shape {self.output.shape} does not fit {len(self.classes)} classes.")
        if self.answers is not None and any(len(row) != len(self.classes) for row in self.answers.outputs):
            raise ValueError(f"answers.outputs must have {len(self.classes)} numbers for each frame.")
        if self.mask is not None and any(
            places > pixels for places, pixels in zip(self.mask.output.shape[1:3], wanted[1:3])
        ):
            raise ValueError(f"mask.output.shape {self.mask.output.shape} is finer than preprocess, {wanted}.")

    @property
    def cautions(self) -> tuple[str, ...]:
        """What whoever reads this model's figures or verdicts must know about its training; mostly nothing."""
        split, said = self.training.split, []
        if split.get("leaks"):
            said.append(
                f"LEAKY SPLIT: trained and tested under the protocol {split.get('protocol')!r}, with copies of test "
                "pictures in training; its figures do not say how well patients are read."
            )
        elif split.get("groups") == "one per picture" and not self.synthetic:
            said.append("COPIES UNKNOWN: test pictures may have near-copies in training; its figures may be too good.")
        if self.training.view == "lesion-crop":
            said.append("LESION CROPS: this model was trained on lesions cut out, not on whole pictures.")
        return tuple(said)


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle: its folder and checked metadata. `id` is short and changes with any byte of it.

    signed_by: the trusted key that signed it; None when no signature was asked for.
    """

    folder: Path
    meta: Meta
    id: str
    signed_by: str | None = None

    @property
    def model_path(self) -> Path:
        """The TFLite file."""
        return self.folder / MODEL_FILE


def load_bundle(folder: Path, trusted_keys: Sequence[Path] | None = None) -> Bundle:
    """Read and check a bundle folder; with folders of trusted keys, its signature before anything else.

    Without them no signature is asked for: for a maker's own bundles. What gives verdicts goes through device/trust.py.
    Raises signing.NotTrusted: not signed by a trusted key; and UserError: folder or file missing or unreadable, JSON
    broken, other schema version, unknown or missing key, size or hash of a file differs. Tensor shapes are compared
    with the TFLite file when `device.runtime` opens it.
    """
    folder = Path(folder)
    path = folder / META_FILE
    try:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; give the folder of a model bundle.")
        if not path.is_file():
            raise UserError(f"{folder}: no {META_FILE} there; give the folder of a model bundle.")
        written = path.read_bytes()
        signed_by = None if trusted_keys is None else signing.check(written, folder, trusted_keys)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions.") from error
    matching = "convert the model again with the matching busi-kd"
    meta = schema.parse(Meta, written, path, SCHEMA_VERSION, "copy the bundle again", matching)
    if MODEL_FILE not in meta.files:
        raise UserError(f"{path}: no hash for {MODEL_FILE}; convert the model again.")
    for name, entry in meta.files.items():
        if name in ("", ".", "..") or set(name) & set("/\\\0"):
            raise UserError(f"{path}: the file name {name!r} leaves the bundle; do not use this bundle.")
        _check_file(folder / name, entry)
    return Bundle(folder, meta, hashlib.sha256(written).hexdigest()[:12], signed_by)


def _check_file(path: Path, entry: FileEntry) -> None:
    try:
        if not path.is_file():
            raise UserError(f"{path}: missing, although the bundle lists it; copy the bundle again.")
        found = file_entry(path)
    except OSError as error:  # permission, a failing card, a name too long
        raise UserError(f"{path}: cannot be read ({error.strerror}); copy the bundle again.") from error
    if found.bytes != entry.bytes:
        raise UserError(
            f"{path}: wrong hash and size, {found.bytes} bytes where the bundle was made with {entry.bytes}; "
            "copy it again."
        )
    if found.sha256 != entry.sha256:
        raise UserError(f"{path}: wrong hash, the file is not the one the bundle was made with; copy it again.")


def sign_bundle(folder: Path, private_key: Path) -> None:
    """Sign a bundle that loads. Raises UserError when it does not, or when the key is none (see device/signing.py)."""
    load_bundle(folder)
    signing.sign((Path(folder) / META_FILE).read_bytes(), Path(folder), private_key)


def file_entry(path: Path) -> FileEntry:
    """Size and hash of a file as it stands."""
    return FileEntry(path.stat().st_size, files.sha256_file(path))


def write_bundle(folder: Path, model: Path, meta: Meta) -> Bundle:
    """Write a bundle aside and put it in `folder`'s place as a whole, then load it back as the device would.

    `meta.files` is replaced by the entry of `model`, an existing TFLite file, which is copied.
    """
    import shutil

    folder = Path(folder)
    with files.folder_beside(folder) as aside:
        shutil.copyfile(model, aside / MODEL_FILE)
        meta = replace(meta, files={MODEL_FILE: file_entry(aside / MODEL_FILE)})
        files.write_json(aside / META_FILE, content(meta))
        load_bundle(aside)  # what cannot be read back must not appear under the final name
        files.replace_folder(aside, folder)
    return load_bundle(folder)


def content(meta: Meta) -> dict[str, Any]:
    """What bundle.json holds, as plain data. The key `mask` is left out where there is none, so that a busi-kd that
    knows no masks reads the bundle of a classifier as it always did."""
    data = schema.dump(meta)
    if meta.mask is None:
        del data["mask"]
    return data


def intended_use(synthetic: bool) -> str:
    """The sentence every bundle carries."""
    return RESEARCH_NOTICE + (" Trained on synthetic phantoms: for demonstration only." if synthetic else "")
