"""One segmentation training on the project's loop: checkpoints, resume after a kill, CSV log."""

from pathlib import Path
from typing import Any

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
from train.data.torch_data import Answers
from train.networks.backbone import mebibytes
from train.networks.cost import cost
from train.segmentation.criterion import Batch, make_criterion
from train.segmentation.data import outlined, training_set, validation_set
from train.segmentation.networks.make import heads, make
from train.segmentation.networks.two_heads import Heads
from train.segmentation.recipe import SegRecipe
from train.segmentation.runs import KIND, SegRun, finish, load_run
from train.training import SoftTargets


class Segmenting(fit.Fitting):
    """A network that outlines. `val_loss` is the criterion's `validation`; the learning rate may follow a plateau."""

    def answer(self, network: nn.Module, luma: Tensor) -> Heads:
        return heads(network(luma))

    def validation_step(self, batch: Batch, _: int) -> None:
        loss = self.criterion.validation(batch, self.answer(self.kept(), batch["luma"]))
        self.log("val_loss", loss, prog_bar=True, sync_dist=True, batch_size=len(batch["luma"]))

    def configure_optimizers(self):
        how, found = self.fit_recipe, super().configure_optimizers()
        if how.optimizer == "adam":
            # In place of AdamW, with the same groups: weight decay is part of the gradient, as torch's Adam has it.
            weights = [weight for group in found["optimizer"].param_groups for weight in group["params"]]
            adam = torch.optim.Adam(weights, lr=how.lr, weight_decay=how.weight_decay)
            schedule = found["lr_scheduler"]["scheduler"]
            schedule = torch.optim.lr_scheduler.LambdaLR(adam, schedule.lr_lambdas[0])
            found = {"optimizer": adam, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
        if how.schedule != "plateau":
            return found
        self._plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            found["optimizer"], factor=how.factor, patience=how.patience
        )
        if getattr(self, "_kept_plateau", None):
            self._plateau.load_state_dict(self._kept_plateau)
        return found["optimizer"]

    # By hand, because Lightning steps a plateau only after the epoch's checkpoint was written: a resumed run would
    # have missed one step.
    def on_train_epoch_end(self) -> None:
        if self.fit_recipe.schedule == "plateau":
            self._plateau.step(float(self.trainer.callback_metrics["val_loss"]))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.fit_recipe.schedule == "plateau":
            checkpoint["plateau"] = self._plateau.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._kept_plateau = checkpoint.get("plateau")


def train(
    data: DataSet,
    recipe: SegRecipe,
    split: Split,
    weights_dir: Path | None,
    teachers: dict[str, SegRun],
    out: Path,
    soft: SoftTargets | None = None,
) -> SegRun:
    """Train the recipe's network on the split's training part; `out` becomes a run folder. Goes on after a kill.

    teachers: a finished run for each row that the recipe names, of the same split and input size. soft: cached answers
    for the class head. Raises UserError when a teacher is missing or saw another split, when there are too few
    pictures, and as the loop does.
    """
    check_teachers(recipe, teachers, data, split)
    identity = {
        "kind": KIND,
        "recipe": schema.dump(recipe),
        "data": data.fingerprint,
        "split": split.fingerprint,
        "teachers": {row: run.meta.weights_sha256 for row, run in teachers.items()},
        "soft_targets": soft.sha256 if soft else None,
    }
    if runs.finished(out, identity, SegRecipe):
        return load_run(out)
    size = (recipe.preprocess.height, recipe.preprocess.width)
    load_lumas(split.test, recipe.preprocess)  # a broken picture found after the training would be found too late
    shown = outlined(split.train, recipe.train_on, recipe.preprocess, "training")
    checked = outlined(split.val, recipe.train_on, recipe.preprocess, "validation")
    if len(shown.targets) < recipe.fit.batch:
        raise UserError(
            f"{len(shown.targets)} outlined training pictures do not fill one batch of {recipe.fit.batch}; lower the "
            "recipe's batch."
        )
    answers = None
    if soft is not None:
        if shown.pictures != split.train:
            raise UserError("cached answers need a training part in which every picture has its outline; leave soft.")
        answers = Answers(tuple(p.name for p in shown.pictures), soft.logits, soft.seed, by_view=False)
    L.seed_everything(recipe.seed, workers=True, verbose=False)
    network = fit.laid_out(make(recipe.network, size, weights_dir), recipe.fit)
    parameters, multiply_adds = cost(network, size)
    teaching = {row: (run.network, run.meta.recipe.train_on) for row, run in teachers.items()}
    criterion = make_criterion(recipe, network, teaching, soft is not None)
    with runs.claimed(out, identity, split, data):
        module = Segmenting(network, criterion, recipe.fit, recipe.seed, recipe.int8_epochs)
        epoch, seconds = fit.fitted(module, training_set(shown, recipe, answers), validation_set(checked, recipe), out)
        return finish(
            out,
            network,
            {
                "recipe": recipe,
                "data_name": data.name,
                "data_fingerprint": data.fingerprint,
                "synthetic": data.synthetic,
                "split": split.describe(),
                "teachers": identity["teachers"],
                "soft_targets_sha256": identity["soft_targets"],
                "parameters": parameters,
                "mebibytes": mebibytes(network),
                "multiply_adds": multiply_adds,
                "validation": {"selected_epoch": epoch},
                "seconds": seconds,
                "hardware": runs.hardware(),
                "versions": runs.versions(),
            },
        )


def check_teachers(recipe: SegRecipe, teachers: dict[str, SegRun], data: DataSet, split: Split) -> None:
    """Raise UserError unless these are the recipe's teachers, none of which can know a test picture."""
    wanted = {term.row for term in recipe.teachers}
    if wanted != set(teachers):
        raise UserError(
            f"the recipe {recipe.name!r} names the teachers {sorted(wanted)}, given are {sorted(teachers)}."
        )
    for row, run in teachers.items():
        if (run.meta.split["fingerprint"], run.meta.data_fingerprint) != (split.fingerprint, data.fingerprint):
            raise UserError(
                f"{run.folder}: the teacher {row!r} was trained on another split or data set, so it may know the test "
                "pictures; train it on this split."
            )
        if run.meta.recipe.preprocess != recipe.preprocess:
            raise UserError(f"{run.folder}: the teacher {row!r} sees another input size; train it again.")
