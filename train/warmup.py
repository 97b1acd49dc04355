"""Self-supervised warm-up of a student on pictures without labels, before its training proper."""

import math
from pathlib import Path

from train import torchvision_shim  # noqa: F401  before lightning

# isort: split
import lightning as L
import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from device import files
from device.errors import UserError
from train.augment import augmented
from train.data.splits import Split
from train.fit import processes
from train.networks.backbone import Luma
from train.objectives.twins import barlow_twins
from train.recipe import Augment, WarmUp

WEIGHTS = "warmup.safetensors"


def unlabelled(split: Split) -> tuple:
    """The pictures a warm-up may see: the training part, and what was left out but has no copy in the other parts.

    The latter have contradicting labels, which does not matter here.
    """
    apart = {split.group_of[p.name] for p in split.val + split.test}
    unwanted = {split.group_of[name] for name in split.excluded} | apart
    seen = {p.name: p for p in split.train + split.left_out if split.group_of[p.name] not in unwanted}
    return tuple(seen.values())


class Twins(Dataset):
    """Items are two augmentations of a picture, (2, 1, H, W) float32 0..255; `epoch` selects what is drawn."""

    def __init__(self, lumas: np.ndarray, augment: Augment, seed: int) -> None:
        self.lumas, self.augment, self.seed, self.epoch = lumas, augment, seed, 0

    def __len__(self) -> int:
        return len(self.lumas)

    def __getitem__(self, index: int) -> Tensor:
        rng = np.random.default_rng([self.seed, self.epoch, index])
        two = [augmented(self.lumas[index], None, self.augment, rng)[0] for _ in range(2)]
        return torch.from_numpy(np.stack(two)).float()[:, None]


class WarmingUp(L.LightningModule):
    """The student's features through a projector, pulled together by Barlow Twins."""

    def __init__(self, student: Luma, recipe: WarmUp, seed: int) -> None:
        super().__init__()
        self.student, self.recipe, self.seed = student, recipe, seed
        width = student.net.get_classifier().in_features
        self.projector = nn.Sequential(
            nn.Linear(width, recipe.width, bias=False),
            nn.BatchNorm1d(recipe.width),
            nn.ReLU(),
            nn.Linear(recipe.width, recipe.width),
        )

    def embedding(self, luma: Tensor) -> Tensor:
        """(N, 1, H, W) luma -> (N, width)."""
        net = self.student.net
        return self.projector(net.forward_head(net.forward_features(self.student.normal(luma)), pre_logits=True))

    def on_train_epoch_start(self) -> None:
        self.trainer.train_dataloader.dataset.epoch = self.current_epoch

    def training_step(self, twins: Tensor, number: int) -> Tensor:
        loss = barlow_twins(self.embedding(twins[:, 0]), self.embedding(twins[:, 1]), self.recipe.redundancy)
        if not torch.isfinite(loss):
            raise UserError(f"the warm-up's loss became {loss.item()}; lower student.warmup.lr in the recipe.")
        self.log("warmup_loss", loss, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.recipe.lr, weight_decay=1e-4)
        steps = self.trainer.estimated_stepping_batches
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps))
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def warm_up(student: Luma, recipe: WarmUp, lumas: np.ndarray, augment: Augment, seed: int, folder: Path) -> None:
    """Warm the student up in place, and keep its weights in `folder`, from where a resumed training takes them.

    lumas: (N, H, W) uint8. The classifier is not touched. A kill during the warm-up begins it again. Raises UserError
    when there are fewer pictures than a batch, or the loss becomes infinite. Under torchrun each process does the same
    warm-up, and the first alone keeps it.
    """
    kept = folder / WEIGHTS
    if kept.is_file():
        student.load_state_dict(load_file(kept))
        return
    if len(lumas) < recipe.batch:
        raise UserError(f"{len(lumas)} pictures do not fill one batch of {recipe.batch}; lower student.warmup.batch.")
    L.seed_everything(seed, workers=True, verbose=False)
    twins = Twins(lumas, augment, seed)
    order = torch.Generator().manual_seed(seed)
    trainer = L.Trainer(
        max_epochs=recipe.epochs,
        accelerator="auto",
        devices=1,
        deterministic=True,
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    try:
        trainer.fit(
            WarmingUp(student, recipe, seed),
            DataLoader(twins, recipe.batch, shuffle=True, drop_last=True, generator=order),
        )
    except SystemExit as stopped:  # Lightning's answer to SIGTERM and Ctrl-C
        raise KeyboardInterrupt from stopped
    if processes()[1] == 0:
        files.write_bytes(kept, save({k: v.detach().cpu().contiguous() for k, v in student.state_dict().items()}))
