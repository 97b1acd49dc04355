"""The distillation loss."""

from torch import Tensor, nn
from torch.nn import functional as F


def kl_teacher_student(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 * KL(softmax(teacher / T) || softmax(student / T)), mean over the batch (not over the classes).

    student, teacher: (N, K) logits. T^2 keeps the gradient's size independent of T (Hinton, Vinyals, Dean,
    Distilling the Knowledge in a Neural Network, 2015, section 2). `mean` instead of `batchmean` would be K times
    too small.
    """
    return temperature**2 * F.kl_div(
        F.log_softmax(student / temperature, dim=1),
        F.log_softmax(teacher / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )


class DistillationLoss(nn.Module):
    """L = alpha * CE(student, target) + (1 - alpha) * T^2 * KL(teacher || student), mean over the batch."""

    def __init__(self, alpha: float = 0.5, temperature: float = 4.0, class_weights: Tensor | None = None) -> None:
        super().__init__()
        self.alpha, self.temperature = alpha, temperature
        self.base = nn.CrossEntropyLoss(weight=class_weights)

    def forward(self, student: Tensor, target: Tensor, teacher: Tensor) -> Tensor:
        """student, teacher: (N, K) logits; target: (N,) class numbers -> scalar loss."""
        soft = kl_teacher_student(student, teacher, self.temperature)
        return self.alpha * self.base(student, target) + (1 - self.alpha) * soft
