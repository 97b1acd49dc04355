"""Towards the labels, and towards a teacher's answers: the two terms of the distillation loss."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.losses import kl_teacher_student, shifted

Batch = dict[str, Tensor]


class Labels(nn.Module):
    """share * cross-entropy(logits, target), mean over the batch; with mixup both pictures' labels by their shares.

    class_weights: (K,) or None. smoothing: of the labels, 0..1.
    """

    def __init__(self, share: float, class_weights: Tensor | None, smoothing: float) -> None:
        super().__init__()
        self.share, self.smoothing = share, smoothing
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(self, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        def loss(target: Tensor) -> Tensor:
            return F.cross_entropy(logits, target, self.class_weights, label_smoothing=self.smoothing)

        found = loss(batch["target"])
        if "other" in batch:
            found = batch["lambda"] * found + (1 - batch["lambda"]) * loss(batch["other"])
        return {"labels": self.share * found}


class Answers(nn.Module):
    """share * T^2 * KL(teacher || student), mean over the pictures that have an answer.

    teacher: a function luma -> logits for a living teacher; None: the batch's cached `soft`. wrong: what becomes of an
    answer whose likeliest class is not the label, see Distill.
    """

    def __init__(
        self, share: float, temperature: float, teacher: Callable[[Tensor], Tensor] | None, wrong: str = "keep"
    ) -> None:
        super().__init__()
        self.share, self.temperature, self.teacher, self.wrong = share, temperature, teacher, wrong

    def forward(self, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        soft = batch["soft"] if self.teacher is None else self.teacher(batch["luma"])
        answered = ~torch.isnan(soft).any(dim=1)
        if self.wrong == "drop":
            answered &= soft.argmax(dim=1) == batch["target"]
        elif self.wrong == "shift":
            soft = shifted(soft, batch["target"])
        if not answered.any():
            return {"answers": logits.sum() * 0.0}
        return {"answers": self.share * kl_teacher_student(logits[answered], soft[answered], self.temperature)}
