"""How far a student's answers are from its teacher's."""

import torch
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


def shifted(answers: Tensor, target: Tensor) -> Tensor:
    """Teacher's logits (N, K) with those of the likeliest class and of the label `target` (N,) exchanged.

    Where the teacher is right nothing changes. Wen, Lai, Qian, Preparing Lessons: Improve Knowledge Distillation with
    Better Supervision, Neurocomputing 2021, section 3.2.1 (Probability Shift).
    """
    likeliest, rows = answers.argmax(dim=1), torch.arange(len(answers), device=answers.device)
    changed = answers.clone()
    changed[rows, target], changed[rows, likeliest] = answers[rows, likeliest], answers[rows, target]
    return changed
