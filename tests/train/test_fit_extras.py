"""What a fit may have besides: an average of the weights, mixup, a criterion with its own weights, another layout."""

from pathlib import Path

import numpy as np
import pytest
import torch
from test_fit import Means, cross_entropy, made, pictures, run
from torch import Tensor, nn

from device.errors import UserError
from train import fit
from train.data.torch_data import Answers, LumaSet
from train.recipe import Fit


class Scaled(nn.Module):
    """A criterion with one weight to be learnt: it likes to be 3."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, batch: fit.Batch, logits: Tensor) -> dict[str, Tensor]:
        return {**cross_entropy(batch, logits), "own": (self.weight - 3) ** 2}


def test_a_criterions_own_weights_are_trained_and_go_on_after_a_kill(tmp_path: Path) -> None:
    whole, cut = Scaled(), Scaled()
    run(made(), whole, tmp_path / "whole", epochs=6)
    assert 0.5 < whole.weight.item() < 3
    run(made(), Scaled(), tmp_path / "cut", epochs=3)
    run(made(seed=1), cut, tmp_path / "cut", epochs=6)
    assert torch.equal(whole.weight, cut.weight)
    saved = torch.load(tmp_path / "whole" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert "criterion.weight" in saved


def test_the_terms_are_summed_and_logged_each(tmp_path: Path) -> None:
    run(made(), Scaled(), tmp_path, epochs=1)
    header, *_ = (tmp_path / "log" / "metrics.csv").read_text().splitlines()
    assert {"train_loss", "train_labels", "train_own"} <= set(header.split(","))


def averaged_by_hand(weights: list[Tensor], first: Tensor, decay: float) -> Tensor:
    """The exponential average, decay_t = min(decay, 1 - t^-0.75) at the step t counted from 1."""
    average = first
    for t, weight in enumerate(weights, start=1):
        now = min(decay, 1 - t**-0.75)
        average = now * average + (1 - now) * weight
    return average


def test_the_average_is_what_is_kept_and_what_validates(tmp_path: Path) -> None:
    network, seen = made(), []
    first = network.linear.weight.detach().clone()

    def watch(batch: fit.Batch, logits: Tensor) -> dict[str, Tensor]:
        seen.append(network.linear.weight.detach().clone())
        return cross_entropy(batch, logits)

    figures = run(network, watch, tmp_path, epochs=4, ema=0.7, select="last")
    state = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    after_each_step = [*seen[1:], state["network.linear.weight"]]
    torch.testing.assert_close(network.linear.weight.detach(), averaged_by_hand(after_each_step, first, 0.7))
    assert not torch.equal(network.linear.weight, state["network.linear.weight"])
    val = pictures(11)
    logits = torch.from_numpy(fit.predict(network, val.lumas))
    loss = nn.functional.cross_entropy(logits, torch.from_numpy(val.targets)).item()
    logged = [line for line in (tmp_path / "log" / "metrics.csv").read_text().splitlines() if line]
    column = logged[0].split(",").index("val_loss")
    assert float([line.split(",")[column] for line in logged[1:] if line.split(",")[column]][-1]) == pytest.approx(loss)
    assert figures["val_loss"] == pytest.approx(loss)


def test_the_average_goes_on_after_a_kill(tmp_path: Path) -> None:
    whole, again = made(), made(seed=1)
    run(whole, cross_entropy, tmp_path / "whole", epochs=4, ema=0.9, select="last")
    run(made(), cross_entropy, tmp_path / "cut", epochs=2, ema=0.9, select="last")
    run(again, cross_entropy, tmp_path / "cut", epochs=4, ema=0.9, select="last")
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])


def test_mixup_mixes_pictures_labels_answers_and_masks_alike() -> None:
    torch.manual_seed(0)
    target = torch.tensor([0, 1, 2, 0])
    batch = {
        "luma": 100.0 * target[:, None, None, None].expand(4, 1, 2, 2),
        "target": target,
        "soft": torch.log(torch.eye(3)[target] * 0.7 + 0.1),
        "mask": (target == 1).float()[:, None, None, None].expand(4, 1, 2, 2),
        "mask_known": torch.tensor([1.0, 1.0, 0.0, 1.0]),
    }
    shares = []
    for _ in range(50):
        found = fit.mixed(batch, 0.4)
        share, other = found["lambda"].item(), found["other"]
        shares.append(share)
        torch.testing.assert_close(found["luma"][:, 0, 0, 0], 100 * (share * target + (1 - share) * other))
        wanted = share * (torch.eye(3)[target] * 0.7 + 0.1) + (1 - share) * (torch.eye(3)[other] * 0.7 + 0.1)
        torch.testing.assert_close(found["soft"].exp(), wanted)
        is_one = share * (target == 1).float() + (1 - share) * (other == 1).float()
        torch.testing.assert_close(found["mask"][:, 0, 0, 0], is_one)
        assert torch.equal(found["target"], target)
        assert all(found["mask_known"][(target == 2) | (other == 2)] == 0), "half a mask is none"
    # Beta(0.4, 0.4): mean 1/2, variance 1 / (4 * 1.8) = 0.139; standard error of the mean 0.053
    assert 0.3 < np.mean(shares) < 0.7
    assert min(shares) < 0.1
    assert max(shares) > 0.9


def test_a_picture_without_answer_has_none_when_mixed_either() -> None:
    soft = torch.zeros(2, 3)
    soft[0] = float("nan")
    batch = {"luma": torch.zeros(2, 1, 2, 2), "target": torch.tensor([0, 1]), "soft": soft}
    torch.manual_seed(0)
    for _ in range(10):
        found = fit.mixed(batch, 1.0)
        if not torch.equal(found["other"], batch["target"]):  # mixed with each other
            assert torch.isnan(found["soft"]).all()
            return
    raise AssertionError("ten permutations of two that change nothing")


def test_mixup_goes_on_after_a_kill_as_if_nothing_had_been(tmp_path: Path) -> None:
    whole, again = made(), made(seed=1)
    run(whole, mixed_labels, tmp_path / "whole", epochs=4, mixup=0.5, select="last")
    run(made(), mixed_labels, tmp_path / "cut", epochs=2, mixup=0.5, select="last")
    run(again, mixed_labels, tmp_path / "cut", epochs=4, mixup=0.5, select="last")
    assert torch.equal(whole.linear.weight, again.linear.weight)


def mixed_labels(batch: fit.Batch, logits: Tensor) -> dict[str, Tensor]:
    one, other = (nn.functional.cross_entropy(logits, batch[name]) for name in ("target", "other"))
    return {"labels": batch["lambda"] * one + (1 - batch["lambda"]) * other}


def test_answers_reach_the_criterion(tmp_path: Path) -> None:
    logits = np.random.default_rng(0).normal(size=(12, 2, 3)).astype(np.float32)
    names = tuple(f"{n}.png" for n in range(12))
    plain, seen = pictures(12), []
    train = LumaSet(plain.lumas, plain.targets, answers=Answers(names, logits, 0, by_view=False))

    def watch(batch: fit.Batch, found: Tensor) -> dict[str, Tensor]:
        seen.append(batch["soft"].shape)
        return cross_entropy(batch, found)

    fit.run(made(), watch, Fit(epochs=1, batch=4), 0, train, pictures(6), tmp_path)
    assert seen == [(4, 3)] * 3


class Convolutions(Means):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3)
        self.second = nn.Conv2d(4, 1, 3)

    def forward(self, luma: Tensor) -> Tensor:
        return super().forward(self.second(self.first(luma)))


def test_another_layout_gives_the_same_network(tmp_path: Path) -> None:
    found = []
    for layout in (False, True):
        torch.manual_seed(0)
        network = Convolutions()
        run(network, cross_entropy, tmp_path / str(layout), channels_last=layout, lr=1e-3)
        found.append(network)
    assert found[1].second.weight.is_contiguous()
    torch.testing.assert_close(found[0].second.weight, found[1].second.weight, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"WORLD_SIZE": "3"}, "a batch of 4 cannot be shared by 3 processes"),
        ({"WORLD_SIZE": "4"}, "a batch of 4 cannot be shared by 4 processes"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE, RANK or LOCAL_WORLD_SIZE is no number"),
    ],
)
def test_a_batch_that_cannot_be_shared_is_refused(tmp_path: Path, monkeypatch, variables: dict, words: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=words):
        run(made(), cross_entropy, tmp_path)


@pytest.mark.parametrize("wrong", [{"ema": 1.0}, {"mixup": -0.1}, {"smoothing": 1.0}])
def test_a_fit_outside_its_ranges_is_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"ema in 0\.\.1"):
        Fit(**wrong)
