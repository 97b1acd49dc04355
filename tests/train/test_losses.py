"""The distillation loss against arithmetic by hand, an independent computation, and numerical gradients."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import log_softmax
from scipy.special import softmax as scipy_softmax
from scipy.stats import entropy

from train.losses import kl_teacher_student
from train.objectives.classes import Answers, Labels
from train.recipe import Distill

LN2, LN3 = math.log(2), math.log(3)


def distillation(alpha: float = 0.5, temperature: float = 4.0, class_weights: torch.Tensor | None = None):
    """(student, target, teacher) -> both terms as the training sums them."""
    labels, answers = Labels(alpha, class_weights, smoothing=0.0), Answers(1 - alpha, temperature, teacher=None)

    def loss(student: torch.Tensor, target: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        batch = {"target": target, "soft": teacher}
        return labels(batch, student)["labels"] + answers(batch, student)["answers"]

    return loss


# Two pictures, three classes, temperature 2; logits are 2 ln(p), so that the softened probabilities are p.
#   picture 1: teacher (1/2, 1/4, 1/4), student (1/4, 1/2, 1/4)
#     KL(teacher || student) = 1/2 ln(2) + 1/4 ln(1/2) + 0 = 1/4 ln 2;  T^2 KL = ln 2
#     plain softmax of the student: p^2 / sum = (1/16, 4/16, 1/16) / (6/16) = (1/6, 2/3, 1/6); CE of class 0 = ln 6
#   picture 2: teacher = student = (1/4, 1/2, 1/4): KL = 0; CE of class 1 = ln(3/2)
# Means over the batch: T^2 KL = ln(2) / 2;  CE = (ln 6 + ln 3/2) / 2 = ln(9) / 2 = ln 3
T = 2.0
STUDENT = T * torch.log(torch.tensor([[0.25, 0.5, 0.25], [0.25, 0.5, 0.25]], dtype=torch.float64))
TEACHER = T * torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]], dtype=torch.float64))
TARGET = torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("alpha", "wanted"),
    [(0.0, LN2 / 2), (1.0, LN3), (0.5, LN3 / 2 + LN2 / 4), (0.25, LN3 / 4 + 3 * LN2 / 8)],
)
def test_the_loss_is_the_one_computed_by_hand(alpha: float, wanted: float) -> None:
    loss = distillation(alpha, T)(STUDENT, TARGET, TEACHER)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(wanted, rel=1e-12)


def test_the_direction_is_teacher_to_student() -> None:
    # KL(student || teacher) = 1/4 ln(1/2) + 1/2 ln 2 happens to be equal above; here it is not:
    # teacher (1/2, 1/4, 1/4), student (1/8, 3/4, 1/8): KL(teacher || student)
    #   = 1/2 ln 4 + 1/4 ln(1/3) + 1/4 ln 2 = 5/4 ln 2 - 1/4 ln 3;  T = 1
    # the other way: 1/8 ln(1/4) + 3/4 ln 3 + 1/8 ln(1/2) = 3/4 ln 3 - 3/8 ln 2
    student = torch.log(torch.tensor([[1 / 8, 3 / 4, 1 / 8]], dtype=torch.float64))
    teacher = torch.log(torch.tensor([[1 / 2, 1 / 4, 1 / 4]], dtype=torch.float64))
    assert kl_teacher_student(student, teacher, 1.0).item() == pytest.approx(5 / 4 * LN2 - LN3 / 4, rel=1e-12)
    assert kl_teacher_student(teacher, student, 1.0).item() == pytest.approx(3 / 4 * LN3 - 3 / 8 * LN2, rel=1e-12)


def test_class_weights_weigh_the_labels_and_not_the_teacher() -> None:
    # Weights (3, 1, 1), targets 0 and 1: CE = (3 ln 6 + 1 ln 3/2) / (3 + 1); the KL part stays ln(2) / 2.
    weights = torch.tensor([3.0, 1.0, 1.0], dtype=torch.float64)
    wanted = 0.5 * (3 * math.log(6) + math.log(1.5)) / 4 + 0.5 * LN2 / 2
    assert distillation(0.5, T, weights)(STUDENT, TARGET, TEACHER).item() == pytest.approx(wanted, rel=1e-12)
    hard, soft = distillation(1.0, T, weights), distillation(0.0, T, weights)
    assert soft(STUDENT, TARGET, TEACHER).item() == pytest.approx(LN2 / 2, rel=1e-12)
    assert hard(STUDENT, TARGET, TEACHER).item() == pytest.approx((3 * math.log(6) + math.log(1.5)) / 4, rel=1e-12)


def test_alpha_one_does_not_hear_the_teacher_and_alpha_zero_not_the_labels() -> None:
    other_teacher, other_target = 2 * TEACHER, torch.tensor([2, 0])
    hard, soft = distillation(1.0, T), distillation(0.0, T)
    assert hard(STUDENT, TARGET, TEACHER) == hard(STUDENT, TARGET, other_teacher)
    assert soft(STUDENT, TARGET, TEACHER) == soft(STUDENT, other_target, TEACHER)
    assert hard(STUDENT, TARGET, TEACHER) != hard(STUDENT, other_target, TEACHER)
    assert soft(STUDENT, TARGET, TEACHER) != soft(STUDENT, TARGET, other_teacher)


def test_the_defaults_are_the_papers() -> None:
    paper = Distill()
    assert (paper.alpha, paper.temperature) == (0.5, 4.0)


@st.composite
def _batches(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    shape = (draw(st.integers(1, 9)), draw(st.integers(2, 6)))
    logits = arrays(np.float64, shape, elements=st.floats(-40, 40))
    targets = arrays(np.int64, shape[0], elements=st.integers(0, shape[1] - 1))
    return draw(logits), draw(logits), draw(targets)


@settings(deadline=None)
@given(_batches(), st.floats(0, 1), st.floats(0.5, 20))
def test_equal_to_scipy(batch: tuple[np.ndarray, np.ndarray, np.ndarray], alpha: float, temperature: float) -> None:
    student, teacher, target = batch
    kl = entropy(scipy_softmax(teacher / temperature, axis=1), scipy_softmax(student / temperature, axis=1), axis=1)
    ce = -log_softmax(student, axis=1)[np.arange(len(target)), target]
    wanted = np.mean(alpha * ce + (1 - alpha) * temperature**2 * kl)
    found = distillation(alpha, temperature)(*map(torch.from_numpy, (student, target, teacher)))
    assert found.item() == pytest.approx(wanted, rel=1e-9, abs=1e-9)
    soft = kl_teacher_student(torch.from_numpy(student), torch.from_numpy(teacher), temperature)
    assert soft.item() >= -1e-12


@settings(deadline=None, max_examples=25)
@given(_batches(), st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from([1.0, 4.0]))
def test_gradients(batch: tuple[np.ndarray, np.ndarray, np.ndarray], alpha: float, temperature: float) -> None:
    student, teacher, target = (torch.from_numpy(a) for a in batch)
    student = (student / 10).requires_grad_()
    loss = distillation(alpha, temperature)
    assert torch.autograd.gradcheck(lambda z: loss(z, target, teacher / 10), student)


def test_the_soft_gradient_is_t_times_the_difference_of_probabilities() -> None:
    # d/dz of T^2 KL, mean over N pictures: T (softmax(z / T) - softmax(teacher / T)) / N. With the values above:
    # 2 ((1/4, 1/2, 1/4) - (1/2, 1/4, 1/4)) / 2 = (-1/4, 1/4, 0) for picture 1 and 0 for picture 2.
    student = STUDENT.clone().requires_grad_()
    distillation(0.0, T)(student, TARGET, TEACHER).backward()
    wanted = torch.tensor([[-0.25, 0.25, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(student.grad, wanted, rtol=0, atol=1e-12)


def test_logits_too_large_for_exp_stay_finite() -> None:
    student = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    loss = distillation(0.5, 4.0)(student, torch.tensor([1]), torch.tensor([[-1e4, 1e4, 0.0]]))
    loss.backward()
    # CE = 20000; T^2 KL = 16 * 20000 / 4 = 80000
    assert loss.item() == pytest.approx(0.5 * 20_000 + 0.5 * 80_000)
    assert torch.isfinite(student.grad).all()
