"""Towards the teacher's intermediate features, taken by module path with forward hooks: no network is edited.

After Romero et al., FitNets: Hints for Thin Deep Nets, ICLR 2015, with L1 between maps and a 1x1 adapter per pair.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from device.errors import UserError, nearest
from train.recipe import FeaturePair


def as_map(features: Tensor) -> Tensor:
    """(N, C, H, W) as it is; (N, tokens, C) of a transformer and (N, C) vectors as (N, C, h, w).

    Tokens that are not a square number have lost their first ones: class tokens are not places.
    """
    if features.ndim == 4:
        return features
    if features.ndim == 2:
        return features[:, :, None, None]
    if features.ndim == 3:
        side = int(features.shape[1] ** 0.5)
        return features[:, -side * side :].transpose(1, 2).unflatten(2, (side, side))
    raise ValueError(f"features of shape {tuple(features.shape)} are neither maps, tokens nor vectors.")


class Tap:
    """Keeps what modules of a network gave in its last forward pass, by path. Raises UserError on an unknown path."""

    def __init__(self, network: nn.Module, paths: tuple[str, ...], what: str) -> None:
        self.seen: dict[str, Tensor] = {}
        modules = dict(network.named_modules())
        for path in paths:
            if path not in modules:
                raise UserError(f"the {what} has no module {path!r}{nearest(path, list(modules))}; correct the recipe.")
            modules[path].register_forward_hook(self._keeper(path))

    def _keeper(self, path: str) -> Callable:
        def keep(module: nn.Module, inputs: tuple, output: Tensor) -> None:
            self.seen[path] = output

        return keep


class Features(nn.Module):
    """weight * mean over the pairs of mean |normal(adapter(student)) - normal(teacher)|.

    The adapter is a 1x1 convolution from the student's channels to the teacher's; the coarser of the two maps gives the
    grid; each channel is normalised over the batch and its places (BatchNorm without weights), so that no layer counts
    more for having bigger numbers.

    `look` runs the teacher once on a batch of one to learn the shapes.
    """

    def __init__(
        self,
        weight: float,
        pairs: tuple[FeaturePair, ...],
        student: nn.Module,
        teacher: nn.Module,
        size: tuple[int, int],
    ) -> None:
        super().__init__()
        self.weight, self.pairs = weight, pairs
        taps = (
            Tap(student, tuple(p.student for p in pairs), "student"),
            Tap(teacher, tuple(p.teacher for p in pairs), "teacher"),
        )
        self._taps = taps
        look(student, size)
        look(teacher, size)
        widths = [(as_map(taps[0].seen[p.student]).shape[1], as_map(taps[1].seen[p.teacher]).shape[1]) for p in pairs]
        self.adapters = nn.ModuleList(nn.Conv2d(own, its, 1) for own, its in widths)
        self.student_norms = nn.ModuleList(_norm(its) for _, its in widths)
        self.teacher_norms = nn.ModuleList(_norm(its) for _, its in widths)

    def forward(self, batch: dict[str, Tensor], logits: Tensor) -> dict[str, Tensor]:
        """Both networks have seen this batch already; the teacher through the term of its answers."""
        found = []
        layers = zip(self.pairs, self.adapters, self.student_norms, self.teacher_norms, strict=True)
        for pair, adapter, student_norm, teacher_norm in layers:
            own = as_map(self._taps[0].seen[pair.student]).float()
            its = as_map(self._taps[1].seen[pair.teacher]).float().detach()
            grid = tuple(min(sizes) for sizes in zip(own.shape[2:], its.shape[2:], strict=True))
            own, its = F.adaptive_avg_pool2d(own, grid), F.adaptive_avg_pool2d(its, grid)
            found.append(F.l1_loss(student_norm(adapter(own)), teacher_norm(its)))
        return {"features": self.weight * torch.stack(found).mean()}


def _norm(channels: int) -> nn.Module:
    # Statistics of the batch alone: nothing to keep, and nothing that a resumed run could have forgotten.
    return nn.BatchNorm2d(channels, affine=False, track_running_stats=False)


@torch.no_grad()
def look(network: nn.Module, size: tuple[int, int]) -> None:
    """One pass in eval mode over a black picture, for hooks that want to know shapes."""
    training = network.training
    network.eval()
    network(torch.zeros(1, 1, *size, device=next(network.parameters()).device))
    network.train(training)
