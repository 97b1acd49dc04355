"""The two trainings: the teacher on labels, the student on labels and the frozen teacher."""

from pathlib import Path

from train import torchvision_shim  # noqa: F401  before lightning

# isort: split
import lightning as L
import torch
from torch import Tensor, nn

from device import schema
from device.errors import UserError
from train import fit, runs
from train.data.busi import DataSet, load_lumas
from train.data.splits import Split
from train.data.torch_data import LumaSet, targets_of
from train.losses import DistillationLoss
from train.networks.backbone import mebibytes
from train.recipe import Fit, Recipe


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
) -> runs.Run:
    """Train the student; the frozen teacher sees the same augmented picture. Without teacher: labels alone.

    Raises UserError when the teacher was trained on another split or other data: it may know test pictures.
    """
    if teacher is not None:
        _check_teacher(teacher, data, split, recipe)
    return _train("student", data, recipe, split, weights_dir, out, recipe.student.fit, teacher)


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
) -> runs.Run:
    identity = {
        "kind": kind,
        "recipe": {key: value for key, value in schema.dump(recipe).items() if key != "convert"},
        "data": data.fingerprint,
        "split": split.fingerprint,
        "teacher": teacher.meta.weights_sha256 if teacher else None,
    }
    if runs.finished(out, identity):
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
    # The test part too: a broken picture found after the training could only be mended into another data set.
    train_lumas, val_lumas, _ = (load_lumas(split.part(part), recipe.preprocess) for part in ("train", "val", "test"))
    L.seed_everything(recipe.seed, workers=True, verbose=False)
    network = runs.make_network(kind, recipe, weights_dir)
    runs.claim(out, identity, split, data)
    train_targets, val_targets = targets_of(split.train), targets_of(split.val)
    weights = fit.class_weights(train_targets, how)
    criterion = _labels_only(weights) if teacher is None else _with_teacher(teacher, recipe, weights)
    figures = fit.run(
        network,
        criterion,
        how,
        recipe.seed,
        LumaSet(train_lumas, train_targets, recipe.augment, recipe.seed),
        LumaSet(val_lumas, val_targets),
        out,
    )
    return runs.finish(
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
            "parameters": sum(p.numel() for p in network.parameters()),
            "mebibytes": mebibytes(network),
            "validation": figures,
            "seconds": figures.pop("seconds"),
            "hardware": runs.hardware(),
            "versions": runs.versions(),
        },
    )


def _labels_only(weights: Tensor | None) -> fit.Criterion:
    base = nn.CrossEntropyLoss(weight=weights)
    return lambda luma, logits, target: base(logits.float(), target)


def _with_teacher(teacher: runs.Run, recipe: Recipe, weights: Tensor | None) -> fit.Criterion:
    loss = DistillationLoss(recipe.distill.alpha, recipe.distill.temperature, weights)
    network = teacher.network.requires_grad_(False).eval()
    # As it was trained: in bfloat16 the teacher answers in half the time on a CPU.
    half = teacher.meta.recipe.teacher.fit.precision == "bf16-mixed"

    def criterion(luma: Tensor, logits: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad(), torch.autocast(luma.device.type, torch.bfloat16, enabled=half):
            soft = network.to(luma.device)(luma).float()
        return loss(logits.float(), target, soft)

    return criterion
