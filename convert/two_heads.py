"""A run of `busi-kd train segment` whose network has two heads, as a student run that can be converted."""

import json
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from device import schema
from device.errors import UserError
from train import runs
from train.data.busi import CLASSES, DataSet, Picture
from train.recipe import ConvertRecipe, Recipe
from train.segmentation.networks.make import MOBILENET
from train.segmentation.networks.two_heads import Heads, TwoHeads
from train.segmentation.runs import KIND, SegMeta, SegRun
from train.segmentation.runs import load_run as load_segmenter


class ClassOutput(nn.Module):
    """A network with two heads that answers as a classifier does: luma (N, 1, H, W) 0..255 -> (N, classes) logits.
    both: the whole network, whose Heads hold the mask too."""

    def __init__(self, both: TwoHeads) -> None:
        super().__init__()
        self.both = both

    def forward(self, luma: Tensor) -> Tensor:
        answer: Heads = self.both(luma)
        return answer.classes


@dataclass(frozen=True)
class TwoHeadsRun(runs.Run):
    """A student run whose network is a ClassOutput. segmentation: what its own meta.json holds."""

    segmentation: SegMeta


def load(folder: Path, data: DataSet) -> runs.Run:
    """A finished student's run, or a TwoHeadsRun of a segmentation run with two heads. data: what it was trained on,
    whose pictures' view a segmentation run does not note; that they are the same is checked with the split.

    Raises UserError: not finished, a teacher, a network that only outlines, altered weights.
    """
    if _kind(folder) != KIND:
        return runs.load_run(folder, "student")
    run = load_segmenter(folder)
    if not isinstance(run.network, TwoHeads):
        raise UserError(
            f"{folder}: its network, {run.meta.recipe.network.name!r}, {_why_not(run)}; convert a student, or a run of "
            "the network 'two-heads'."
        )
    return _as_student(run, data)


def _why_not(run: SegRun) -> str:
    if run.meta.recipe.network.transformer is not None:
        return "has a transformer beside it and is a teacher"
    return "outlines and names no class"


def trained(run: runs.Run) -> runs.RunMeta | SegMeta:
    """What the run's own meta.json holds."""
    return run.segmentation if isinstance(run, TwoHeadsRun) else run.meta


def recipe_of(run: runs.Run, convert: ConvertRecipe) -> dict:
    """The recipe of the training and of the conversion as plain data, for the bundle."""
    if isinstance(run, TwoHeadsRun):
        return schema.dump(run.segmentation.recipe) | {"convert": schema.dump(convert)}
    return schema.dump(run.meta.recipe) | {"convert": schema.dump(convert)}


def trained_on(meta: SegMeta, train: tuple[Picture, ...]) -> str:
    """Whose outlines the mask head has learnt, in words. train: the training part, of which not all have one."""
    learnt = meta.recipe.outlined
    count, classes = sum(p.label in learnt and (bool(p.masks) or p.label == "normal") for p in train), ", ".join(learnt)
    teachers = f", and what {len(meta.teachers)} outlining teacher(s) say" if meta.teachers else ""
    return f"outlines of {meta.data_name}, {classes}, of {count} training pictures{teachers}"


def _kind(folder: Path) -> str | None:
    try:
        said = json.loads((Path(folder) / runs.META).read_bytes())
    except (OSError, ValueError):  # who loads the run says what is wrong with it
        return None
    return said.get("kind") if isinstance(said, dict) else None


def _as_student(run: SegRun, data: DataSet) -> TwoHeadsRun:
    meta = run.meta
    own, backbone = meta.recipe, meta.recipe.network.backbone or MOBILENET
    recipe = Recipe(own.name, own.seed, own.preprocess, own.split, own.augment)
    about = runs.RunMeta(
        kind="student",
        classes=CLASSES,
        recipe=recipe,
        data_name=meta.data_name,
        data_fingerprint=meta.data_fingerprint,
        synthetic=meta.synthetic,
        view=data.view,
        split=meta.split,
        initial_weights=(f"{backbone.name}: {backbone.weights}",),
        teacher_sha256=next(iter(meta.teachers.values()), None),
        soft_targets_sha256=meta.soft_targets_sha256,
        parameters=meta.parameters,
        mebibytes=meta.mebibytes,
        validation=meta.validation,
        seconds=meta.seconds,
        hardware=meta.hardware,
        versions=meta.versions,
        weights_sha256=meta.weights_sha256,
    )
    return TwoHeadsRun(run.folder, about, ClassOutput(run.network).eval(), meta)
