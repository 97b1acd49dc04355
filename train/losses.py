"""How far a student's answers are from its teacher's."""

from torch import Tensor
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
