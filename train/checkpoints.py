"""Checkpoints of a training: when they are written, and so that a kill leaves the old one or the new one."""

import io
import time
from pathlib import Path
from typing import Any

from train import torchvision_shim  # noqa: F401  before lightning

# isort: split
import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from device import files

BEST, LAST = "best.ckpt", "last.ckpt"


class Keep(Checkpoint):
    """`last.ckpt` after every epoch, `best.ckpt` when the validation loss fell.

    Lightning's ModelCheckpoint writes its `last` only in epochs that were also the best, and forgets the best score
    when the folder was moved.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.best_loss = folder, float("inf")
        self._seconds_before, self._began = 0.0, time.monotonic()

    def seconds(self) -> float:
        """How long the training has taken, the time before a kill included."""
        return self._seconds_before + time.monotonic() - self._began

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        loss = float(trainer.callback_metrics["val_loss"])
        # Best first: killed between the two, the epoch is done again and writes the same best once more.
        if loss < self.best_loss:
            self.best_loss = loss
            trainer.save_checkpoint(self.folder / BEST, weights_only=False)
        trainer.save_checkpoint(self.folder / LAST, weights_only=False)

    def state_dict(self) -> dict[str, Any]:
        return {"best_loss": self.best_loss, "seconds": self.seconds()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_loss, self._seconds_before = state_dict["best_loss"], state_dict["seconds"]


class DurableIO(TorchCheckpointIO):
    """Writes as device/files.py does. Lightning's own way leads over /tmp, from where a move can be a slow copy."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        files.write_bytes(Path(path), buffer.getbuffer())


def sweep(folder: Path) -> None:
    """Remove what a kill in the middle of writing left in a checkpoint folder, which may be missing."""
    for name in (BEST, LAST):
        for half in folder.glob(f".{name}.*"):
            half.unlink()
