"""When an outline is said of a frame, and when not: never beside a verdict that names no lesion."""

import time
from pathlib import Path

import numpy as np
import pytest
from tiny_bundle import lesion_picture

from device.bundle import load_bundle
from device.capture import Frame
from device.judge import Judge, Snapshot
from device.outline import Outline
from device.over_time import OverTime
from device.quality import OK
from device.runtime import open_bundle

BOX = (0.25, 0.125, 0.5, 0.5)
SPECK = (0.5, 0.5, 0.6, 0.6)


def judge_of(folder: Path, assess_s: float | None = None, unchanged_s: float = 1.0) -> Judge:
    bundle = load_bundle(folder)
    return Judge(open_bundle(bundle), bundle.meta, OverTime(), assess_s, unchanged_s)


def seen(judge: Judge, pixels: np.ndarray, number: int = 0, at: float = 0.0) -> Snapshot:
    return judge.judge(Frame(pixels, number, at, "frame"), at, time.monotonic())


def sides(outline: Outline) -> tuple[float, float, float, float]:
    x, y = np.array(outline[0]).T
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())


@pytest.mark.parametrize("variant", ["float32", "int8-full"])
@pytest.mark.parametrize("label", ["benign", "malignant"])
@pytest.mark.parametrize("size", [(64, 64), (120, 200), (300, 160)])
def test_a_lesion_that_is_named_is_outlined_where_it_is(
    mask_bundle_dir: Path, variant: str, label: str, size: tuple[int, int]
) -> None:
    found = seen(judge_of(mask_bundle_dir / variant), lesion_picture(label, BOX, size))
    assert found.belief.verdict.label == label
    assert len(found.outline) == 1
    assert sides(found.outline) == pytest.approx(BOX, abs=3 / 64)  # three quarters of a cell of the mask


def test_grey_and_colour_are_outlined_alike(mask_bundle_dir: Path) -> None:
    grey = lesion_picture("benign", BOX)
    colour = np.repeat(grey[:, :, None], 3, axis=2)
    one, other = (seen(judge_of(mask_bundle_dir / "float32"), pixels).outline for pixels in (grey, colour))
    assert one == other


def test_beside_normal_and_cannot_say_there_is_none(mask_bundle_dir: Path) -> None:
    normal = lesion_picture("normal", SPECK)
    unsure = np.clip(normal.astype(int) + 44, 0, 255).astype(np.uint8)
    for pixels, label in ((normal, "normal"), (unsure, "abstain")):
        judge = judge_of(mask_bundle_dir / "int8-full")
        found = seen(judge, pixels)
        bundle = load_bundle(mask_bundle_dir / "int8-full")
        assert (judge._model.raw_mask() > bundle.meta.mask.cut).any(), "the model itself outlines the speck"
        assert (found.belief.verdict.label, found.outline) == (label, None)


def test_a_frame_that_is_not_judged_is_not_outlined(mask_bundle_dir: Path) -> None:
    white = np.full((64, 64), 250, np.uint8)
    found = seen(judge_of(mask_bundle_dir / "int8-full", assess_s=0.0), white)
    assert found.quality.state != OK
    assert found.outline is None


def test_a_lesion_without_any_outline_is_told_from_one_that_is_not_asked_about(
    mask_bundle_dir: Path, bundle_dir: Path
) -> None:
    grey = np.full((64, 64), 128, np.uint8)
    assert seen(judge_of(mask_bundle_dir / "int8-full"), grey).outline == ()
    assert seen(judge_of(bundle_dir / "int8-full"), grey).outline is None


def test_an_unchanged_picture_keeps_its_outline_and_a_changed_one_gets_its_own(mask_bundle_dir: Path) -> None:
    judge = judge_of(mask_bundle_dir / "int8-full")
    first = seen(judge, lesion_picture("benign", BOX), 0, 0.0)
    again = seen(judge, lesion_picture("benign", BOX), 1, 0.1)
    assert again.unchanged
    assert again.outline == first.outline
    moved = (0.5, 0.5, 0.75, 0.875)
    other = seen(judge, lesion_picture("benign", moved), 2, 0.2)
    assert not other.unchanged
    assert sides(other.outline) == pytest.approx(moved, abs=3 / 64)
