"""The models that ship with busi-kd: one bundle folder each below `device/models`, package data of `device`.

The benchmark and `busi-kd device show` take the default one when they are given none, and so does the daemon where none
is installed (device/installed.py).
"""

from pathlib import Path
from typing import TYPE_CHECKING

from device import RESEARCH_NOTICE
from device.errors import UserError

if TYPE_CHECKING:
    from device.bundle import Bundle, Estimate

DEFAULT = "busi-two-heads"  # of those that ship, the one that says where the lesion is, too
FOLDER = Path(__file__).resolve().parent / "models"


def shipped() -> list[Path]:
    """The bundle folders that ship with this copy, by name; unchecked, and none in a source tree without models."""
    if not FOLDER.is_dir():
        return []
    return sorted(path for path in FOLDER.iterdir() if path.is_dir() and not path.name.startswith("."))


def default_bundle() -> Path:
    """The bundle folder that is used when none is given: DEFAULT, else the first by name.

    Raises UserError when none ships."""
    folders = shipped()
    if not folders:
        raise UserError(
            f"{FOLDER}: no model ships with this copy of busi-kd; give a bundle folder (`device run` takes it as "
            "--bundle DIR)."
        )
    return next((folder for folder in folders if folder.name == DEFAULT), folders[0])


def describe(bundle: "Bundle") -> str:
    """One line: name, variant, size (kB = 1000 bytes), data, main figure with its 95 % interval, what its outlines are
    worth if it has any, cautions, notice."""
    meta, size = bundle.meta, bundle.model_path.stat().st_size / 1000
    data = f"{meta.training.data_name}{' (synthetic)' * meta.synthetic}"
    pictures = meta.training.split.get("pictures", {}).get("test")
    where = "" if pictures is None else f" on {pictures} test pictures"
    mask = meta.mask
    dice = "" if mask is None else f", outlines with a Dice of {_percent(mask.dice)}"
    figure = f"balanced accuracy {_percent(meta.metrics.get('balanced_accuracy'))}{dice}{where}."
    said = [f"{meta.name}: {meta.variant}, {size:.0f} kB, trained on {data}, {figure}", *meta.cautions, RESEARCH_NOTICE]
    return " ".join(said)


def _percent(estimate: "Estimate | None") -> str:
    if estimate is None or estimate.value is None:
        return "unknown"
    if estimate.low is None or estimate.high is None:
        return f"{100 * estimate.value:.1f} % [interval unknown]"
    return f"{100 * estimate.value:.1f} % [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"
