"""Outlines on pictures of other hospitals: each network that outlines, on every set of whole pictures with masks."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from device.bundle import META_FILE, Bundle, Estimate, load_bundle
from device.errors import UserError
from device.outline import lesion
from device.preprocess import prepare, read_picture
from device.runtime import open_bundle
from train.external.adapters import ExternalPicture, ExternalSet
from train.external.overlap import Copy
from train.options import leak_sentence
from train.segmentation.figures import measure
from train.segmentation.scores import Score, score

VIEW = "whole"  # in a lesion crop the lesion is nearly the picture


@dataclass(frozen=True)
class Outliner:
    """A run folder or a bundle that outlines. warning: what must be said beside its figures, or None.

    outlines: pictures -> (H, W) bool of each at the picture's own size, in their order.
    """

    path: Path
    title: str
    data_fingerprint: str
    synthetic: bool
    warning: str | None
    outlines: Callable[[Sequence[ExternalPicture]], Iterable[np.ndarray]]
    view = VIEW  # of every one


@dataclass(frozen=True)
class OutlinerRow:
    """Networks of one title on one set. runs: of each network, every picture's score. figures: the mean over the
    networks, with 95 % interval over the set's lesions. masks: what the first network outlined, (H, W) bool each."""

    title: str
    networks: int
    set: str
    synthetic: bool
    pictures: tuple[ExternalPicture, ...]
    runs: tuple[tuple[Score, ...], ...]
    figures: dict[str, Estimate]
    masks: tuple[np.ndarray, ...]


def open_outliner(path: Path) -> Outliner:
    """Open a segmentation run or a bundle with a mask. Raises UserError when it is neither, or damaged."""
    path = Path(path)
    return _of_bundle(path) if (path / META_FILE).is_file() else _of_run(path)


def _of_run(path: Path) -> Outliner:
    from train.segmentation.outlines import outlines
    from train.segmentation.runs import load_run

    run = load_run(path)
    meta = run.meta

    def found(pictures: Sequence[ExternalPicture]) -> Iterator[np.ndarray]:
        return (outline for _, outline, _ in outlines(run.network, pictures, meta.recipe.preprocess))

    return Outliner(path, meta.recipe.name, meta.data_fingerprint, meta.synthetic, _warning(meta.split), found)


def _of_bundle(path: Path) -> Outliner:
    bundle = load_bundle(path)
    meta, about = bundle.meta, bundle.meta.training
    if meta.mask is None:
        raise UserError(f"{path}: this bundle says what a lesion is, not where; give one with a mask.")
    if about.view != VIEW:
        raise UserError(f"{path}: was trained on pictures of the view {about.view!r}; whole pictures are judged here.")
    title = f"{meta.name} {meta.variant}"
    return Outliner(
        path, title, about.data_fingerprint, meta.synthetic, _warning(about.split), lambda p: _on_device(bundle, p)
    )


def _on_device(bundle: Bundle, pictures: Sequence[ExternalPicture]) -> Iterator[np.ndarray]:
    model, meta = open_bundle(bundle), bundle.meta
    for picture in pictures:
        frame = read_picture(picture.path)
        model.raw(prepare(frame, meta.preprocess))
        yield lesion(model.raw_mask(), meta.mask.cut, frame.shape[:2], meta.preprocess)


def _warning(split: dict) -> str | None:
    return leak_sentence(split) if split.get("leaks") else None


def truth(picture: ExternalPicture) -> np.ndarray:
    """The drawn outline (H, W) bool at the picture's size, all masks merged.

    A mask that is its picture's enlarged (STU) is brought back by area; grey edges, which such an enlargement leaves,
    belong to the lesion from half of white on.
    """
    height, width = read_picture(picture.path).shape[:2]
    merged = np.zeros((height, width), bool)
    for path in picture.masks:
        mask = read_picture(path)
        mask = mask if mask.ndim == 2 else mask.max(axis=2)
        if mask.shape != (height, width):
            mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA)
        merged |= mask >= 128
    return merged


def judge_outlines(
    models: Sequence[Outliner], sets: Sequence[ExternalSet], copies: Sequence[Copy] | None = None, repeats: int = 1000
) -> tuple[OutlinerRow, ...]:
    """A row for each title and set of whole pictures; several networks of a title (folds, seeds) are averaged.

    copies: external pictures that the training's data set holds too, which are left out. Raises UserError: the same
    model twice, no set of whole pictures, nothing left to judge, or a picture that does not decode.
    """
    if len({model.path.resolve() for model in models}) < len(models):
        raise UserError("the same model is given twice; its figures would count double.")
    left_out = {(copy.set, copy.name) for copy in copies or ()}
    parts = {one.name: tuple(p for p in one.pictures if (one.name, p.name) not in left_out) for one in whole_sets(sets)}
    if not any(parts.values()):
        raise UserError("every external picture is a copy of a training picture; nothing is left to judge.")
    rows = []
    for name, pictures in parts.items():
        if not pictures:
            continue
        truths = [truth(picture) for picture in pictures]
        groups = np.array([picture.group for picture in pictures])
        for title in dict.fromkeys(model.title for model in models):
            same = [model for model in models if model.title == title]
            masks = [tuple(model.outlines(pictures)) for model in same]
            runs = tuple(tuple(map(score, one, truths)) for one in masks)
            synthetic = any(model.synthetic for model in same)
            figures = measure(runs, groups, repeats)
            rows.append(OutlinerRow(title, len(same), name, synthetic, pictures, runs, figures, masks[0]))
    return tuple(rows)


def whole_sets(sets: Sequence[ExternalSet]) -> tuple[ExternalSet, ...]:
    """Those of whole pictures. Raises UserError when there is none."""
    found = tuple(one for one in sets if one.view == VIEW)
    if not found:
        names = ", ".join(one.name for one in sets)
        raise UserError(
            f"{names}: hold lesion crops; outlines are judged on whole pictures (STU-Hospital, BUS-CoT_43)."
        )
    return found
