"""One training loop for teacher and student, on Lightning: progress bar, checkpoints, resume after a kill, CSV log."""

import math
import warnings
from collections.abc import Callable
from pathlib import Path

from train import torchvision_shim  # noqa: F401  before lightning

# isort: split
import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, DistributedSampler
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from device.errors import UserError
from train.checkpoints import BEST, LAST, DurableIO, Keep, sweep
from train.data.busi import CLASSES
from train.data.torch_data import LumaSet
from train.evaluation.metrics import accuracy, balanced_accuracy, nll
from train.recipe import Fit

Criterion = Callable[[Tensor, Tensor, Tensor], Tensor]  # (luma, logits, target) -> scalar loss


class Fitting(L.LightningModule):
    """A network, its criterion and its schedule. Validation logs the plain cross-entropy as `val_loss`."""

    def __init__(self, network: nn.Module, criterion: Criterion, fit: Fit, seed: int) -> None:
        super().__init__()
        self.network, self.fit_recipe, self.seed = network, fit, seed
        self._criterion = [criterion]  # in a list: a frozen teacher inside must not enter this module's checkpoints
        self.metrics = MetricCollection(
            {
                "accuracy": MulticlassAccuracy(len(CLASSES), average="micro"),
                "balanced_accuracy": MulticlassAccuracy(len(CLASSES), average="macro"),
            },
            prefix="val_",
        )

    # Augmentation and dropout depend on the epoch alone, so a resumed run equals one that was never killed.
    def on_train_epoch_start(self) -> None:
        self.trainer.train_dataloader.dataset.epoch = self.current_epoch

    def training_step(self, batch: tuple[Tensor, Tensor], number: int) -> Tensor:
        if number == 0:  # not earlier: a loader draws a number when it starts, which a resumed run does at another time
            torch.manual_seed(self.seed * 100_003 + self.current_epoch)
        luma, target = batch
        loss = self._criterion[0](luma, self.network(luma), target)
        if not torch.isfinite(loss):
            raise UserError(
                f"the training loss became {loss.item()} in epoch {self.current_epoch}; lower the recipe's lr."
            )
        self.log("train_loss", loss, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        luma, target = batch
        logits = self.network(luma).float()
        self.log("val_loss", nn.functional.cross_entropy(logits, target), prog_bar=True)
        self.metrics.update(logits, target)
        self.log_dict(self.metrics, prog_bar=True)

    def configure_optimizers(self):
        fit = self.fit_recipe
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=fit.lr, weight_decay=fit.weight_decay)
        steps = self.trainer.estimated_stepping_batches
        warmup = fit.warmup_epochs * steps / fit.epochs

        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            if fit.schedule == "constant":
                return 1.0
            return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1.0, steps - warmup))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def run(
    network: nn.Module, criterion: Criterion, fit: Fit, seed: int, train: LumaSet, val: LumaSet, folder: Path
) -> dict[str, float]:
    """Fit `network` in place and leave it in eval mode with the selected epoch's weights.

    Checkpoints (`last`, `best` by val_loss) and log/metrics.csv lie under `folder`; when `last.ckpt` is there already
    the run goes on from it. Returns the selected epoch, the validation figures of its weights, and `seconds` in all.
    Raises UserError when the loss becomes infinite, KeyboardInterrupt on SIGINT and SIGTERM.
    """
    checkpoints = folder / "checkpoints"
    sweep(checkpoints)
    log = folder / "log" / "metrics.csv"
    if log.is_file():  # Lightning's logger would delete it
        log.rename(log.with_name(f"metrics.before-restart-{len(list(log.parent.iterdir()))}.csv"))
    keep = Keep(checkpoints)
    trainer = L.Trainer(
        max_epochs=fit.epochs,
        accelerator="auto",
        devices=1,
        precision=fit.precision,
        deterministic=True,
        default_root_dir=folder,
        logger=CSVLogger(folder, name="", version="log", flush_logs_every_n_steps=1),
        callbacks=[keep, TQDMProgressBar(refresh_rate=10)],
        plugins=[DurableIO()],
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_model_summary=False,
        benchmark=False,
    )
    # A sampler that knows its epoch: Lightning calls set_epoch, so the order survives a kill.
    sampler = DistributedSampler(train, num_replicas=1, rank=0, shuffle=True, seed=seed)
    loader = DataLoader(train, fit.batch, sampler=sampler, drop_last=True)  # a batch of one breaks BatchNorm
    module = Fitting(network, criterion, fit, seed)
    last = checkpoints / LAST
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*Experiment logs directory .* exists and is not empty.*")
            trainer.fit(
                module,
                loader,
                DataLoader(val, 2 * fit.batch),
                ckpt_path=last if last.exists() else None,
                weights_only=True,
            )
    except SystemExit as stopped:  # Lightning's answer to SIGTERM, with status 0 as if all were done, and to Ctrl-C
        raise KeyboardInterrupt from stopped
    state = torch.load(checkpoints / BEST if fit.select == "best" else last, map_location="cpu", weights_only=True)
    network.load_state_dict(
        {k.removeprefix("network."): v for k, v in state["state_dict"].items() if k.startswith("network.")}
    )
    logits = predict(network, val.lumas)
    return {
        "seconds": keep.seconds(),
        "selected_epoch": float(state["epoch"]),
        "val_loss": nll(logits, val.targets),
        "val_accuracy": accuracy(logits, val.targets),
        "val_balanced_accuracy": balanced_accuracy(logits, val.targets),
    }


@torch.no_grad()
def predict(network: nn.Module, lumas: np.ndarray, batch: int = 32) -> np.ndarray:
    """(N, H, W) uint8 luma -> (N, classes) float32 logits, the network in eval mode."""
    network.eval()
    device = next(network.parameters()).device
    found = [
        network(torch.from_numpy(lumas[i : i + batch]).to(device).float()[:, None]).float().cpu().numpy()
        for i in range(0, len(lumas), batch)
    ]
    return np.concatenate(found)


def class_weights(targets: np.ndarray, fit: Fit) -> Tensor | None:
    """Weights inverse to class frequency with mean 1 over the pictures, or None. A class without pictures gets 1."""
    if fit.class_weights == "none":
        return None
    counts = np.bincount(targets, minlength=len(CLASSES))
    weights = len(targets) / ((counts > 0).sum() * np.maximum(counts, 1))
    return torch.tensor(np.where(counts > 0, weights, 1.0), dtype=torch.float32)
