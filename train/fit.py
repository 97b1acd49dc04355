"""One training loop for teacher and student, on Lightning: progress bar, checkpoints, resume after a kill, CSV log."""

import math
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from train import torchvision_shim  # noqa: F401  before lightning

# isort: split
import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger
from timm.utils import ModelEmaV3
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
from train.rounding import feel_rounding
from train.sparse import share_at, sparsify

T = TypeVar("T")
Batch = dict[str, Tensor]  # what LumaSet's items hold, for a batch
Criterion = Callable[[Batch, Tensor], dict[str, Tensor]]  # (batch, logits) -> the loss's terms by name, to be summed


class Fitting(L.LightningModule):
    """A network, its criterion and its schedule. Validation logs the plain cross-entropy as `val_loss`.

    A criterion that is a module is trained along: its weights (adapters, heads) stand in the checkpoints as
    `criterion.*` and go no further. With fit.ema, `average.module.*` is the network's running average. int8_epochs: so
    many of the last epochs feel the rounding of int8. sparse: see train.sparse; the share of zeros at the end.
    """

    def __init__(
        self,
        network: nn.Module,
        criterion: Criterion,
        fit: Fit,
        seed: int,
        int8_epochs: int = 0,
        sparse: float = 0.0,
    ) -> None:
        super().__init__()
        self.sparse = sparse
        self.rounds_from, self.rounds = fit.epochs - int8_epochs, False
        self.network, self.criterion, self.fit_recipe, self.seed = network, criterion, fit, seed
        # decay_t = min(ema, 1 - t^-0.75): else the first weights would stay in the average for 1 / (1 - ema) steps.
        self.average = ModelEmaV3(network, fit.ema, use_warmup=True, warmup_power=0.75).train() if fit.ema else None
        if self.average is not None:
            self.average.requires_grad_(False)  # else several processes wait for gradients that never come
        self.metrics = MetricCollection(
            {
                "accuracy": MulticlassAccuracy(len(CLASSES), average="micro"),
                "balanced_accuracy": MulticlassAccuracy(len(CLASSES), average="macro"),
            },
            prefix="val_",
        )

    def on_train_start(self) -> None:
        # Each process takes up the checkpoint that it sees; two that see different ones would wait for each other.
        if self.trainer.strategy.broadcast(self.current_epoch) != self.current_epoch:
            raise UserError(
                f"{self.trainer.default_root_dir}: this process sees another checkpoint than the first one; give an "
                "--out that all machines share."
            )

    # Augmentation and dropout depend on the epoch alone, so a resumed run equals one that was never killed.
    def on_train_epoch_start(self) -> None:
        self.trainer.train_dataloader.dataset.epoch = self.current_epoch
        if self.current_epoch >= self.rounds_from and not self.rounds:
            feel_rounding(self.network)
            self.rounds = True

    def answer(self, network: nn.Module, luma: Tensor) -> Tensor:
        """What a network says in float32, for criterion and validation."""
        return network(luma).float()

    def training_step(self, batch: Batch, number: int) -> Tensor:
        if number == 0:  # not earlier: a loader draws a number when it starts, which a resumed run does at another time
            torch.manual_seed(self.seed * 100_003 + self.current_epoch)
        if self.fit_recipe.mixup:
            batch = mixed(batch, self.fit_recipe.mixup)
        terms = self.criterion(batch, self.answer(self.network, batch["luma"]))
        loss = torch.stack([term for term in terms.values()]).sum()
        if not torch.isfinite(loss):
            raise UserError(
                f"the training loss became {loss.item()} in epoch {self.current_epoch}; lower the recipe's lr."
            )
        of_epoch = {"on_step": False, "on_epoch": True, "sync_dist": True}
        self.log("train_loss", loss, prog_bar=True, **of_epoch)
        if len(terms) > 1:
            self.log_dict({f"train_{name}": term for name, term in terms.items()}, **of_epoch)
        return loss

    def on_train_batch_end(self, outputs, batch: Batch, number: int) -> None:
        if self.sparse:
            self._sparsify(self.network)
        if self.average is not None:
            self.average.update(self.network, self.trainer.global_step)
            if self.sparse:
                self._sparsify(self.average.module)

    def _sparsify(self, network: nn.Module) -> None:
        sparsify(network, share_at(self.trainer.global_step, self.trainer.estimated_stepping_batches, self.sparse))

    def kept(self) -> nn.Module:
        """The network whose weights are validated and kept: the average where there is one."""
        return self.network if self.average is None else self.average.module

    def validation_step(self, batch: Batch, _: int) -> None:
        target = batch["target"]
        logits = self.answer(self.kept(), batch["luma"])
        # Of all processes, that they agree on the best epoch: one that alone wrote a checkpoint would wait for ever.
        self.log("val_loss", nn.functional.cross_entropy(logits, target), prog_bar=True, sync_dist=True)
        self.metrics.update(logits, target)
        self.log_dict(self.metrics, prog_bar=True)

    def configure_optimizers(self):
        fit = self.fit_recipe
        learnt = [*self.network.parameters()]
        if isinstance(self.criterion, nn.Module):
            learnt += [weight for weight in self.criterion.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(learnt, lr=fit.lr, weight_decay=fit.weight_decay)
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


def mixed(batch: Batch, beta: float) -> Batch:
    """Mixup: each picture with another of the batch, lambda * own + (1 - lambda) * other, lambda ~ Beta(beta, beta).

    Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018, equation 1. The labels stay apart as `target`
    and `other`; masks mix as the pictures do, cached answers as probabilities.
    """
    share = torch.distributions.Beta(beta, beta).sample().to(batch["luma"])
    order = torch.randperm(len(batch["luma"]), device=batch["luma"].device)

    def mix(values: Tensor) -> Tensor:
        return share * values + (1 - share) * values[order]

    found = {**batch, "luma": mix(batch["luma"]), "other": batch["target"][order], "lambda": share}
    if "soft" in batch:
        found["soft"] = torch.log(mix(batch["soft"].softmax(dim=1)))
    if "mask" in batch:
        found["mask"] = mix(batch["mask"])
        found["mask_known"] = batch["mask_known"] * batch["mask_known"][order]
    return found


def processes() -> tuple[int, int, int]:
    """(processes in all, this one's rank, processes on this machine), as torchrun says; (1, 0, 1) without it.

    Raises UserError when torchrun's variables are no whole numbers, or machines have different numbers of processes.
    """
    try:
        world, rank, local = (
            int(os.environ.get(name, default))
            for name, default in (("WORLD_SIZE", "1"), ("RANK", "0"), ("LOCAL_WORLD_SIZE", "1"))
        )
    except ValueError as error:
        raise UserError(f"WORLD_SIZE, RANK or LOCAL_WORLD_SIZE is no number ({error}); start with torchrun.") from error
    if not (1 <= local <= world and 0 <= rank < world) or world % local:
        raise UserError(
            f"WORLD_SIZE {world}, RANK {rank} and LOCAL_WORLD_SIZE {local} do not go together; start as many processes "
            "on each machine, with torchrun."
        )
    return world, rank, local


def share(batch: int) -> int:
    """How many pictures of a batch each process takes. Raises UserError when it cannot be shared."""
    world = processes()[0]
    if batch % world or batch // world < 2:  # a batch of one breaks BatchNorm
        raise UserError(f"a batch of {batch} cannot be shared by {world} processes; change the recipe's batch.")
    return batch // world


def told(value: T) -> T:
    """What the first process has as `value`, in every process that trains together."""
    if not torch.distributed.is_initialized():
        return value
    box = [value]
    torch.distributed.broadcast_object_list(box, src=0)
    return box[0]


def part_company() -> None:
    """End what `run` began between processes that train together; each calls it when all is done and told.

    Left to Python's exit, a thread of gloo may still hold tensors while the interpreter is taken down, and the process
    that has finished its work aborts (PyTorch pull request 179291). Not after a failure: it would wait for the others.
    """
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def run(
    network: nn.Module,
    criterion: Criterion,
    fit: Fit,
    seed: int,
    train: LumaSet,
    val: LumaSet,
    folder: Path,
    int8_epochs: int = 0,
    sparse: float = 0.0,
) -> dict[str, float]:
    """Fit `network` in place, see `fitted`. int8_epochs, sparse: see Fitting. Returns the selected epoch, the
    validation figures of its weights, and `seconds` in all.
    """
    module = Fitting(laid_out(network, fit), criterion, fit, seed, int8_epochs, sparse)
    epoch, seconds = fitted(module, train, val, folder)
    logits = predict(network, val.lumas)
    return {
        "seconds": seconds,
        "selected_epoch": epoch,
        "val_loss": nll(logits, val.targets),
        "val_accuracy": accuracy(logits, val.targets),
        "val_balanced_accuracy": balanced_accuracy(logits, val.targets),
    }


def laid_out(network: nn.Module, fit: Fit) -> nn.Module:
    """The network, its weights in the memory layout that the fit wants; before its average is taken."""
    return network.to(memory_format=torch.channels_last) if fit.channels_last else network


def fitted(module: Fitting, train: LumaSet, val: LumaSet, folder: Path) -> tuple[float, float]:
    """Train a module; its network is left in place with the selected epoch's weights.

    Checkpoints (`last`, `best` by val_loss) and log/metrics.csv lie under `folder`; when `last.ckpt` is there already
    the run goes on from it. Returns the selected epoch and the seconds in all. Raises UserError when the loss becomes
    infinite, KeyboardInterrupt on SIGINT and SIGTERM.

    Under torchrun all its processes train together (DistributedDataParallel), each on its share of every batch; the
    first alone writes. Gradients are averaged; BatchNorm normalises each share by itself, and the first one's running
    statistics are kept.
    """
    network, fit, seed = module.network, module.fit_recipe, module.seed
    world, rank, local = processes()
    pictures = share(fit.batch)
    checkpoints = folder / "checkpoints"
    log = folder / "log" / "metrics.csv"
    if rank == 0:
        sweep(checkpoints)
    if rank == 0 and log.is_file():  # Lightning's logger would delete it
        log.rename(log.with_name(f"metrics.before-restart-{len(list(log.parent.iterdir()))}.csv"))
    keep = Keep(checkpoints)
    trainer = L.Trainer(
        max_epochs=fit.epochs,
        accelerator="auto",
        devices=local,
        num_nodes=world // local,
        strategy="ddp" if world > 1 else "auto",
        use_distributed_sampler=False,
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
    sampler = DistributedSampler(train, num_replicas=world, rank=rank, shuffle=True, seed=seed, drop_last=True)
    loader = DataLoader(train, pictures, sampler=sampler, drop_last=True)  # a batch of one breaks BatchNorm
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
    prefix, selected = "average.module." if fit.ema else "network.", None
    if rank == 0:
        state = torch.load(checkpoints / BEST if fit.select == "best" else last, map_location="cpu", weights_only=True)
        kept = {k.removeprefix(prefix): v for k, v in state["state_dict"].items() if k.startswith(prefix)}
        selected = float(state["epoch"]), kept
    epoch, weights = told(selected)
    network.to(memory_format=torch.contiguous_format)
    network.load_state_dict(weights)
    return epoch, keep.seconds()


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
