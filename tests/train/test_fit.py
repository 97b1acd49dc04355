"""The training loop on a network of a few weights and a criterion made for the question asked."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from device.errors import UserError
from train import fit
from train.data.torch_data import LumaSet
from train.evaluation.metrics import nll
from train.recipe import Fit


class Means(nn.Module):
    """Logits from a picture's mean: as little as can be trained."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 3)

    def forward(self, luma: Tensor) -> Tensor:
        return self.linear(luma.mean((2, 3)) / 255)


def pictures(n: int) -> LumaSet:
    """`n` grey pictures whose class is their brightness."""
    targets = np.arange(n) % 3
    return LumaSet(np.stack([np.full((16, 16), 100 * t + 20, np.uint8) for t in targets]), targets)


def cross_entropy(batch: fit.Batch, logits: Tensor) -> dict[str, Tensor]:
    return {"labels": nn.functional.cross_entropy(logits, batch["target"])}


def wrong_way(batch: fit.Batch, logits: Tensor) -> dict[str, Tensor]:
    return {"labels": -nn.functional.cross_entropy(logits, batch["target"])}


def made(seed: int = 0) -> Means:
    torch.manual_seed(seed)
    return Means()


def run(network: nn.Module, criterion: fit.Criterion, folder: Path, **recipe) -> dict[str, float]:
    # 11 validation pictures in batches of 8: the last batch is smaller and must not weigh more.
    how = Fit(**{"epochs": 4, "batch": 4, "lr": 0.05, **recipe})
    return fit.run(network, criterion, how, 0, pictures(12), pictures(11), folder)


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "log" / "metrics.csv", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize(("select", "epoch"), [("best", 0), ("last", 3)])
def test_best_is_the_least_validation_loss_and_last_is_the_last(tmp_path: Path, select: str, epoch: int) -> None:
    # Trained the wrong way, each epoch is worse than the one before: best is the first, last the fourth.
    network = made()
    figures = run(network, wrong_way, tmp_path, select=select)
    losses = [float(row["val_loss"]) for row in rows(tmp_path) if row["val_loss"]]
    assert len(losses) == 4
    assert losses == sorted(losses)
    assert figures["selected_epoch"] == epoch
    assert figures["val_loss"] == pytest.approx(losses[epoch], rel=1e-5)
    for name, saved in (("best", 0), ("last", 3)):
        assert torch.load(tmp_path / "checkpoints" / f"{name}.ckpt", weights_only=True)["epoch"] == saved
    val = pictures(11)
    assert nll(fit.predict(network, val.lumas), val.targets) == pytest.approx(losses[epoch], rel=1e-5)
    assert not network.training


def test_it_learns_what_can_be_learnt(tmp_path: Path) -> None:
    network = made()
    figures = run(network, cross_entropy, tmp_path, epochs=40, lr=0.5, weight_decay=0.0)
    assert figures["val_accuracy"] == figures["val_balanced_accuracy"] == 1.0
    assert figures["val_loss"] < 0.5


def test_a_second_call_goes_on_where_the_first_ended(tmp_path: Path) -> None:
    whole = made()
    run(whole, cross_entropy, tmp_path / "whole", epochs=4)
    again = made(seed=1)  # its first weights do not matter
    (tmp_path / "cut" / "checkpoints").mkdir(parents=True)
    run(made(), cross_entropy, tmp_path / "cut", epochs=2)
    run(again, cross_entropy, tmp_path / "cut", epochs=4)
    assert {row["epoch"] for row in rows(tmp_path / "cut")} == {"2", "3"}
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])


def test_the_best_of_before_the_restart_is_remembered(tmp_path: Path) -> None:
    assert run(made(), wrong_way, tmp_path, epochs=2)["selected_epoch"] == 0
    assert run(made(), wrong_way, tmp_path, epochs=4)["selected_epoch"] == 0
    assert run(made(), wrong_way, tmp_path, epochs=4, select="last")["selected_epoch"] == 3


def test_what_a_kill_left_half_written_is_swept_away(tmp_path: Path) -> None:
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    (checkpoints / ".last.ckpt.x1y2").write_bytes(b"half")
    (checkpoints / "notes.txt").write_text("mine")
    run(made(), cross_entropy, tmp_path, epochs=1)
    assert {p.name for p in checkpoints.iterdir()} == {"best.ckpt", "last.ckpt", "notes.txt"}


def test_a_loss_that_is_no_number_stops_with_advice(tmp_path: Path) -> None:
    def explodes(batch: fit.Batch, logits: Tensor) -> dict[str, Tensor]:
        return {"labels": logits.sum() * float("nan")}

    with pytest.raises(UserError, match="loss became nan in epoch 0; lower the recipe's lr"):
        run(made(), explodes, tmp_path)


def test_the_criterion_sees_the_picture_its_logits_and_its_class(tmp_path: Path) -> None:
    seen = []

    def watch(batch: fit.Batch, logits: Tensor) -> dict[str, Tensor]:
        seen.append((batch["luma"].clone(), logits.detach().clone(), batch["target"].clone()))
        return cross_entropy(batch, logits)

    run(made(), watch, tmp_path, epochs=1)
    assert len(seen) == 3
    for luma, logits, target in seen:
        assert luma.shape == (4, 1, 16, 16)
        assert logits.shape == (4, 3)
        assert torch.equal(luma[:, 0, 0, 0], 100.0 * target + 20)


def test_every_epoch_has_another_order_and_every_picture_once(tmp_path: Path) -> None:
    shown: list[float] = []

    def watch(batch: fit.Batch, logits: Tensor) -> dict[str, Tensor]:
        shown.extend(batch["luma"][:, 0, 0, 0].tolist())
        return cross_entropy(batch, logits)

    lumas = np.stack([np.full((16, 16), n, np.uint8) for n in range(12)])
    train = LumaSet(lumas, np.arange(12) % 3)
    fit.run(made(), watch, Fit(epochs=3, batch=4), 0, train, pictures(6), tmp_path)
    epochs = [tuple(shown[i : i + 12]) for i in (0, 12, 24)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert len({*epochs, tuple(map(float, range(12)))}) == 4


@pytest.mark.parametrize(
    ("recipe", "wanted"),
    [
        # 3 steps an epoch. constant: always lr. warmup over 1 epoch: 1/3, 2/3, 3/3 of it in the first.
        ({"schedule": "constant"}, [1, 1, 1, 1, 1, 1]),
        ({"schedule": "constant", "warmup_epochs": 1.0}, [1 / 3, 2 / 3, 1, 1, 1, 1]),
        # cosine over 6 steps: (1 + cos(pi k / 6)) / 2
        ({"schedule": "cosine"}, [(1 + np.cos(np.pi * k / 6)) / 2 for k in range(6)]),
        # after the warm-up, cosine over the remaining 3 steps
        (
            {"schedule": "cosine", "warmup_epochs": 1.0},
            [1 / 3, 2 / 3, 1, 1, (1 + np.cos(np.pi / 3)) / 2, (1 + np.cos(2 * np.pi / 3)) / 2],
        ),
    ],
)
def test_the_learning_rate_follows_the_schedule(tmp_path: Path, recipe: dict, wanted: list[float]) -> None:
    # AdamW without decay moves each weight by lr in its first step and, while the gradient's sign holds, by about lr
    # in the next ones. A criterion with gradient 1 for one bias makes that exact: the steps are the learning rates.
    network, biases = made(), []

    def slope(batch: fit.Batch, logits: Tensor) -> dict[str, Tensor]:
        biases.append(network.linear.bias[0].item())
        return {"slope": network.linear.bias[0]}

    run(network, slope, tmp_path, epochs=2, lr=0.01, weight_decay=0.0, select="last", **recipe)
    biases.append(network.linear.bias[0].item())
    steps = -np.diff(biases)
    np.testing.assert_allclose(steps, 0.01 * np.array(wanted), rtol=1e-3)


def test_weight_decay_is_decoupled(tmp_path: Path) -> None:
    # Without gradient AdamW still shrinks a weight by lr * decay a step; Adam's L2 would move it by about lr.
    network = made()
    before = network.linear.weight[0].item()
    run(
        network,
        lambda batch, logits: {"nothing": 0.0 * logits.sum()},
        tmp_path,
        epochs=1,
        lr=0.1,
        weight_decay=0.5,
        select="last",
    )
    assert network.linear.weight[0].item() == pytest.approx(before * (1 - 0.1 * 0.5) ** 3, rel=1e-5)


def test_predict_is_in_eval_mode_and_independent_of_the_batch(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(256), nn.Dropout(0.5), nn.Linear(256, 3))
    lumas = np.random.default_rng(0).integers(0, 256, (7, 16, 16), np.uint8)
    found = fit.predict(network.train(), lumas, batch=3)
    assert (found.shape, found.dtype) == ((7, 3), np.float32)
    np.testing.assert_allclose(found, fit.predict(network, lumas, batch=7), rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        wanted = network.eval()(torch.from_numpy(lumas).float()[:, None]).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_class_weights_by_hand() -> None:
    # Counts 4, 2, 2 of 8: N / (K n) = 8 / 12, 8 / 6, 8 / 6; over the pictures their mean is 1.
    targets = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    weights = fit.class_weights(targets, Fit(class_weights="balanced"))
    torch.testing.assert_close(weights, torch.tensor([2 / 3, 4 / 3, 4 / 3]))
    assert weights[targets].mean().item() == pytest.approx(1)
    assert fit.class_weights(targets, Fit()) is None
