"""The two trainings: the teacher on labels, the student on labels and a teacher's answers, living or cached."""

from contextlib import nullcontext
from pathlib import Path
from typing import Protocol

from train import torchvision_shim  # noqa: F401  before lightning

# isort: split
import lightning as L
import numpy as np
import torch
from torch import Tensor, nn

from device import schema
from device.errors import UserError
from train import fit, runs
from train.data.busi import DataSet, load_lumas
from train.data.extra import load_masks, phantom_arrays
from train.data.splits import Split
from train.data.torch_data import Answers as CachedAnswers
from train.data.torch_data import LumaSet, targets_of
from train.networks.backbone import mebibytes
from train.objectives.classes import Answers, Labels
from train.objectives.features import Features
from train.objectives.masks import Masks
from train.recipe import Fit, Recipe
from train.warmup import unlabelled, warm_up


class SoftTargets(Protocol):
    """Cached answers of teachers that saw none of these pictures' groups (train/soft makes them).

    logits: (N, V, K) float32 for the split's N training pictures and V numbered views drawn from `seed`.
    """

    logits: np.ndarray
    seed: int
    sha256: str


def train_teacher(data: DataSet, recipe: Recipe, split: Split, weights_dir: Path | None, out: Path) -> runs.Run:
    """Train the hybrid teacher on the split's training part; `out` becomes a run folder. Goes on after a kill."""
    return _train("teacher", data, recipe, split, weights_dir, out, recipe.teacher.fit, None)


def distill(
    data: DataSet,
    recipe: Recipe,
    split: Split,
    weights_dir: Path | None,
    teacher: runs.Run | None,
    out: Path,
    soft: SoftTargets | None = None,
) -> runs.Run:
    """Train the student on labels and a teacher: a living one, frozen, which sees the same augmented pictures, or
    cached answers. With neither: on labels alone.

    Raises UserError when the teacher was trained on another split or other data: it may know test pictures; when both
    a teacher and cached answers are given, or features are to be distilled without a living teacher.
    """
    if teacher is not None and soft is not None:
        raise UserError(f"{teacher.folder}: a teacher and cached soft targets were given; leave one of the two away.")
    if teacher is not None:
        _check_teacher(teacher, data, split, recipe)
    if teacher is None and recipe.distill.features:
        raise UserError(
            f"the recipe {recipe.name!r} distils features, for which cached answers do not do; give --teacher, or set "
            "distill.features to 0."
        )
    return _train("student", data, recipe, split, weights_dir, out, recipe.student.fit, teacher, soft)


def _check_teacher(teacher: runs.Run, data: DataSet, split: Split, recipe: Recipe) -> None:
    # A split is one of names; other pictures may bear the same names.
    if (teacher.meta.split["fingerprint"], teacher.meta.data_fingerprint) != (split.fingerprint, data.fingerprint):
        raise UserError(
            f"{teacher.folder}: this teacher was trained on another split or data set, so it may know the test "
            "pictures; train a teacher on this split."
        )
    if teacher.meta.recipe.preprocess != recipe.preprocess:
        raise UserError(f"{teacher.folder}: this teacher sees another input size than the recipe; train it again.")


def _train(
    kind: str,
    data: DataSet,
    recipe: Recipe,
    split: Split,
    weights_dir: Path | None,
    out: Path,
    how: Fit,
    teacher: runs.Run | None,
    soft: SoftTargets | None = None,
) -> runs.Run:
    identity = {
        "kind": kind,
        "recipe": {key: value for key, value in schema.dump(recipe).items() if key != "convert"},
        "data": data.fingerprint,
        "split": split.fingerprint,
        "teacher": teacher.meta.weights_sha256 if teacher else None,
        "soft_targets": soft.sha256 if soft else None,
    }
    first = fit.processes()[1] == 0
    # The others must not look into the folder while the first claims it; a finished run all of them see alike.
    if (first or (out / runs.META).is_file()) and runs.finished(out, identity, Recipe):
        done = runs.load_run(out, kind)
        if done.meta.split != split.describe():
            raise UserError(
                f"{out}: holds this run, but judged by other groups of near-copies; choose another --out, or give the "
                "groups of the training."
            )
        print(f"{out}: finished already; nothing to do.")
        return done
    if len(split.train) < how.batch:
        raise UserError(
            f"{len(split.train)} training pictures do not fill one batch of {how.batch}; lower the recipe's batch."
        )
    fit.share(how.batch)
    # The test part too: a broken picture found after the training could only be mended into another data set.
    _, val_lumas = (load_lumas(split.part(part), recipe.preprocess) for part in ("test", "val"))
    shown = _training_arrays(kind, recipe, split, soft)
    L.seed_everything(recipe.seed, workers=True, verbose=False)
    network = runs.make_network(kind, recipe, weights_dir)
    criterion = _criterion(kind, recipe, how, network, fit.class_weights(shown.targets, how), teacher, soft)
    with runs.claimed(out, identity, split, data) if first else nullcontext():
        if kind == "student" and recipe.student.warmup.epochs:
            pictures = load_lumas(unlabelled(split), recipe.preprocess)
            phantoms = shown.lumas[len(split.train) :]  # where the recipe has some
            lumas = np.concatenate([pictures, phantoms])
            warm_up(network, recipe.student.warmup, lumas, recipe.augment, recipe.seed, out)
        figures = fit.run(
            network,
            criterion,
            how,
            recipe.seed,
            shown,
            LumaSet(val_lumas, targets_of(split.val)),
            out,
            recipe.student.int8_epochs if kind == "student" else 0,
            recipe.student.sparse if kind == "student" else 0.0,
        )
        if not first:  # the first process writes what all have trained
            return runs.Run(out, fit.told(None), network)
        done = runs.finish(
            out,
            network,
            {
                "kind": kind,
                "classes": fit.CLASSES,
                "recipe": recipe,
                "data_name": data.name,
                "data_fingerprint": data.fingerprint,
                "synthetic": data.synthetic,
                "view": data.view,
                "split": split.describe(),
                "initial_weights": runs.initial_weights(kind, recipe),
                "teacher_sha256": teacher.meta.weights_sha256 if teacher else None,
                "soft_targets_sha256": soft.sha256 if soft else None,
                "parameters": sum(p.numel() for p in network.parameters()),
                "mebibytes": mebibytes(network),
                "validation": figures,
                "seconds": figures.pop("seconds"),
                "hardware": _hardware(),
                "versions": runs.versions(),
            },
        )
        fit.told(done.meta)
        return done


def _hardware() -> str:
    world = fit.processes()[0]
    return runs.hardware() + (f", {world} processes" if world > 1 else "")


def _training_arrays(kind: str, recipe: Recipe, split: Split, soft: SoftTargets | None) -> LumaSet:
    """The training part as the network will see it, phantoms and masks included where the recipe wants them."""
    lumas, targets = load_lumas(split.train, recipe.preprocess), targets_of(split.train)
    masks = known = answers = None
    if kind == "student":
        if recipe.student.masks.weight:
            masks, known = load_masks(split.train, recipe.preprocess)
        if recipe.student.phantoms:
            extra = phantom_arrays(recipe.student.phantoms, recipe.seed, recipe.preprocess)
            lumas, targets = np.concatenate([lumas, extra.lumas]), np.concatenate([targets, extra.targets])
            if masks is not None:
                masks = np.concatenate([masks, extra.masks])
                known = np.concatenate([known, np.ones(len(extra.targets), bool)])
        if soft is not None:
            answers = _answers(recipe, split, soft, len(targets) - len(split.train))
    return LumaSet(lumas, targets, recipe.augment, recipe.seed, masks, known, answers)


def _answers(recipe: Recipe, split: Split, soft: SoftTargets, phantoms: int) -> CachedAnswers:
    unanswered = np.full((phantoms, *soft.logits.shape[1:]), np.nan, np.float32)
    return CachedAnswers(
        names=tuple(p.name for p in split.train) + tuple(f"phantom {i}" for i in range(phantoms)),
        logits=np.concatenate([soft.logits, unanswered]),
        seed=soft.seed,
        by_view=recipe.distill.targets == "view",
    )


class Criterion(nn.Module):
    """All terms of a training's loss, by name."""

    def __init__(self, terms: list[nn.Module]) -> None:
        super().__init__()
        self.terms = nn.ModuleList(terms)

    def forward(self, batch: fit.Batch, logits: Tensor) -> dict[str, Tensor]:
        return {name: value for term in self.terms for name, value in term(batch, logits).items()}


def _criterion(
    kind: str,
    recipe: Recipe,
    how: Fit,
    network: nn.Module,
    weights: Tensor | None,
    teacher: runs.Run | None,
    soft: SoftTargets | None,
) -> Criterion:
    size = (recipe.preprocess.height, recipe.preprocess.width)
    distill = recipe.distill
    taught = teacher is not None or soft is not None
    terms: list[nn.Module] = [Labels(distill.alpha if taught else 1.0, weights, how.smoothing)]
    if taught:
        living = None if teacher is None else _living(teacher)
        terms.append(Answers(1 - distill.alpha, distill.temperature, living, distill.wrong))
    if kind == "student" and distill.features:
        terms.append(Features(distill.features, distill.feature_pairs, network, teacher.network, size))
    if kind == "student" and recipe.student.masks.weight:
        terms.append(Masks(recipe.student.masks, network, size))
    return Criterion(terms)


def _living(teacher: runs.Run):
    """luma -> logits of the frozen teacher. A function, so that its weights enter no checkpoint of the student."""
    network = teacher.network.requires_grad_(False).eval()
    # As it was trained: in bfloat16 the teacher answers in half the time on a CPU.
    half = teacher.meta.recipe.teacher.fit.precision == "bf16-mixed"

    @torch.no_grad()
    def answer(luma: Tensor) -> Tensor:
        with torch.autocast(luma.device.type, torch.bfloat16, enabled=half):
            return network.to(luma.device)(luma).float()

    return answer
