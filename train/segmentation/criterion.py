"""The terms of a segmentation training's loss, by name; batches are LumaSet's, answers are Heads."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.data.busi import CLASSES
from train.objectives.classes import Answers, Labels
from train.objectives.features import Features
from train.segmentation.losses import HARD, SOFT, enlarged, mean_of
from train.segmentation.networks.make import heads
from train.segmentation.networks.two_heads import Heads
from train.segmentation.recipe import ClassTask, SegRecipe, TeacherTerm

Batch = dict[str, Tensor]


class Truth(nn.Module):
    """share * hard loss against the mask, mean over the pictures whose mask is known."""

    def __init__(self, share: float, hard: str) -> None:
        super().__init__()
        self.share, self.loss = share, HARD[hard]

    def forward(self, batch: Batch, answer: Heads) -> dict[str, Tensor]:
        mask = batch["mask"]
        values = self.loss(enlarged(answer.mask, mask.shape[2:]), mask)
        return {"outline": self.share * mean_of(values, batch["mask_known"].to(values))}


class Taught(nn.Module):
    """share * soft loss towards a teacher's outline, mean over the pictures that it answers for and whose outline is
    learnt.

    teacher: luma -> (N, 1, h, w) logits, frozen. own: numbers of the classes it answers for, None for all.
    """

    def __init__(self, term: TeacherTerm, teacher: Callable[[Tensor], Tensor], own: Sequence[int] | None) -> None:
        super().__init__()
        self.share, self.loss, self.name = term.share, SOFT[term.loss], f"taught-{term.row}"
        self.teacher = teacher
        self.own = None if own is None else tuple(own)

    def forward(self, batch: Batch, answer: Heads) -> dict[str, Tensor]:
        size, target = batch["luma"].shape[2:], batch["target"]
        values = self.loss(enlarged(answer.mask, size), enlarged(self.teacher(batch["luma"]), size))
        chosen = batch["mask_known"].to(values)
        if self.own is not None:
            chosen = chosen * torch.isin(target, torch.tensor(self.own, device=target.device))
        return {self.name: self.share * mean_of(values, chosen)}


class ClassHead(nn.Module):
    """weight * the classifier's own terms: labels, and cached answers where the batch has some."""

    def __init__(self, task: ClassTask, taught: bool) -> None:
        super().__init__()
        self.weight = task.weight
        terms: list[nn.Module] = [Labels(task.alpha if taught else 1.0, None, 0.0)]
        if taught:
            terms.append(Answers(1 - task.alpha, task.temperature, None, task.wrong))
        self.terms = nn.ModuleList(terms)

    def forward(self, batch: Batch, answer: Heads) -> dict[str, Tensor]:
        found = {name: value for term in self.terms for name, value in term(batch, answer.classes).items()}
        return {name: self.weight * value for name, value in found.items()}


class Criterion(nn.Module):
    """All terms together, by name, to be summed; `validation` is the loss that epochs are compared by."""

    def __init__(self, terms: list[nn.Module], recipe: SegRecipe) -> None:
        super().__init__()
        self.terms = nn.ModuleList(terms)
        self._truth = Truth(1.0, recipe.hard)
        self._class_weight = recipe.classes.weight if recipe.classes else 0.0

    def forward(self, batch: Batch, answer: Heads) -> dict[str, Tensor]:
        return {name: value for term in self.terms for name, value in term(batch, answer).items()}

    def validation(self, batch: Batch, answer: Heads) -> Tensor:
        """The hard loss at full weight, and the class head's cross-entropy by its weight: no teacher is asked."""
        loss = self._truth(batch, answer)["outline"]
        if answer.classes is not None:
            loss = loss + self._class_weight * F.cross_entropy(answer.classes, batch["target"])
        return loss


def make_criterion(
    recipe: SegRecipe, network: nn.Module, teachers: dict[str, tuple[nn.Module, tuple[str, ...]]], soft: bool
) -> Criterion:
    """The recipe's terms. teachers: row -> the network, and the classes it was trained on. soft: cached answers are
    in the batches. Raises UserError on a module path that a network has not."""
    terms: list[nn.Module] = [Truth(recipe.hard_share, recipe.hard)]
    for term in recipe.teachers:
        teacher, labels = teachers[term.row]
        own = [CLASSES.index(label) for label in labels] if term.on == "own" else None
        terms.append(Taught(term, living(teacher), own))
    if recipe.features:
        size = (recipe.preprocess.height, recipe.preprocess.width)
        followed, _ = teachers[recipe.feature_teacher]
        terms.append(Features(recipe.features, recipe.feature_pairs, network, followed, size))
    if recipe.classes:
        terms.append(ClassHead(recipe.classes, soft))
    return Criterion(terms, recipe)


def living(teacher: nn.Module) -> Callable[[Tensor], Tensor]:
    """luma -> outline logits of a frozen teacher; a function, so that its weights enter no checkpoint."""
    teacher.requires_grad_(False).eval()

    @torch.no_grad()
    def answer(luma: Tensor) -> Tensor:
        return heads(teacher.to(luma.device)(luma)).mask

    return answer
