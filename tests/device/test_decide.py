"""Logits -> probabilities -> verdict: the rules one by one, and softmax against scipy's."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.special
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from device.bundle import Meta, load_bundle
from device.decide import ABSTAIN, Verdict, decide, softmax

LOGITS = hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(2, 5)), elements=st.floats(-60, 60, width=32))


@settings(deadline=None)
@given(logits=LOGITS, temperature=st.floats(0.05, 20))
def test_softmax_is_that_of_scipy(logits: np.ndarray, temperature: float) -> None:
    wanted = scipy.special.softmax(logits.astype(np.float64) / temperature, axis=-1)
    got = softmax(logits, temperature)
    assert got.dtype == np.float64
    assert got == pytest.approx(wanted, rel=1e-9, abs=1e-300)
    assert got[0] == pytest.approx(softmax(logits[0], temperature), rel=1e-15)


@settings(deadline=None)
@given(
    logits=hnp.arrays(np.float64, 3, elements=st.floats(allow_nan=False, allow_infinity=False)),
    temperature=st.floats(5e-324, 1e300),
)
@example(logits=np.array([1e308, -1e308, 0.0]), temperature=1e-300)
@example(logits=np.array([3.4e38, 3.4e38, -3.4e38]), temperature=0.05)
@example(logits=np.array([0.0, 0.0, 0.0]), temperature=5e-324)
@pytest.mark.filterwarnings("error")
def test_extremes_do_not_overflow(logits: np.ndarray, temperature: float) -> None:
    got = softmax(logits, temperature)
    assert np.isfinite(got).all()
    assert (got >= 0).all()
    assert (got <= 1).all()
    assert got.sum() == pytest.approx(1.0)
    assert got.argmax() in np.flatnonzero(got == got[logits.argmax()])


def test_temperature_by_hand() -> None:
    logits = np.array([math.log(4.0), 0.0], np.float32)
    assert softmax(logits) == pytest.approx([0.8, 0.2])
    assert softmax(logits, 2.0) == pytest.approx([2 / 3, 1 / 3])  # 4 ** (1 / 2) = 2
    assert softmax(logits, 0.5) == pytest.approx([16 / 17, 1 / 17])  # 4 ** 2 = 16
    assert logits[0] == pytest.approx(math.log(4.0)), "the argument was changed"


@pytest.fixture(scope="module")
def meta(bundle_dir: Path) -> Meta:
    """Classes benign, malignant, normal; temperature 1; malignant from 0.5; abstains below 0.6."""
    return load_bundle(bundle_dir / "float32").meta


def _with(meta: Meta, threshold: float = 0.5, confidence: float = 0.0, temperature: float = 1.0) -> Meta:
    return dataclasses.replace(
        meta,
        temperature=temperature,
        operating_point=dataclasses.replace(meta.operating_point, malignant_threshold=threshold),
        abstain=dataclasses.replace(meta.abstain, min_confidence=confidence),
    )


def _logits(benign: float, malignant: float, normal: float) -> np.ndarray:
    return np.log(np.array([benign, malignant, normal]))


def test_a_clear_verdict_has_no_reason_and_all_probabilities(meta: Meta) -> None:
    for number, label in enumerate(meta.classes):
        shares = [0.1, 0.1, 0.1]
        shares[number] = 0.8
        verdict = decide(_logits(*shares), meta)
        assert (verdict.label, verdict.reason) == (label, None)
        assert verdict.probabilities == pytest.approx(dict(zip(meta.classes, shares)))
        assert list(verdict.probabilities) == ["benign", "malignant", "normal"]


def test_malignant_begins_at_exactly_the_threshold(meta: Meta) -> None:
    logits = _logits(0.5, 0.3, 0.2).astype(np.float32)
    exact = float(softmax(logits)[1])
    assert decide(logits, _with(meta, threshold=exact)).label == "malignant"  # though benign is likelier
    assert decide(logits, _with(meta, threshold=math.nextafter(exact, 1))).label == "benign"
    assert decide(logits, _with(meta, threshold=0.0)).label == "malignant"


def test_below_the_threshold_the_likelier_of_the_rest_is_said(meta: Meta) -> None:
    # Malignant has the largest probability, yet not enough for this operating point.
    assert decide(_logits(0.1, 0.6, 0.3), _with(meta, threshold=0.7)).label == "normal"
    assert decide(_logits(0.3, 0.6, 0.1), _with(meta, threshold=0.7)).label == "benign"
    assert decide(_logits(0.0001, 0.9998, 0.0001), _with(meta, threshold=1.0)).label == "benign"  # a tie: the first


def test_abstains_below_the_limit_and_not_at_it(meta: Meta) -> None:
    logits = _logits(0.5, 0.3, 0.2).astype(np.float32)
    largest = float(softmax(logits)[0])
    assert decide(logits, _with(meta, confidence=largest)) == decide(logits, _with(meta))
    verdict = decide(logits, _with(meta, confidence=math.nextafter(largest, 1)))
    assert (verdict.label, verdict.reason) == (ABSTAIN, "low confidence")
    assert verdict.probabilities == pytest.approx({"benign": 0.5, "malignant": 0.3, "normal": 0.2})
    # The limit is asked first, even where malignant reaches its threshold.
    assert decide(logits, _with(meta, threshold=0.1, confidence=0.6)).label == ABSTAIN


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_abstains_without_probabilities_on_what_is_no_number(meta: Meta, bad: float, place: int) -> None:
    logits = np.array([1.0, 2.0, 3.0], np.float32)
    logits[place] = bad
    assert decide(logits, meta) == Verdict(ABSTAIN, {}, "the model gave no finite number")


def test_temperature_and_class_order_come_from_the_bundle(meta: Meta) -> None:
    logits = _logits(0.1, 0.8, 0.1)
    assert decide(logits, _with(meta, temperature=1.0)).probabilities["malignant"] == pytest.approx(0.8)
    assert decide(logits, _with(meta, temperature=1e6)).probabilities["malignant"] == pytest.approx(1 / 3, abs=1e-5)
    turned = dataclasses.replace(meta, classes=("malignant", "normal", "benign"))
    assert decide(logits, turned).label == "normal"
    assert decide(_logits(0.8, 0.1, 0.1), turned).label == "malignant"


@settings(deadline=None)
@given(
    logits=hnp.arrays(np.float32, 3, elements=st.floats(width=32)),
    threshold=st.floats(0, 1),
    confidence=st.floats(0, 1),
    temperature=st.floats(0.05, 20),
)
def test_any_logits_give_one_verdict_that_follows_the_rules(
    bundle_dir: Path, logits: np.ndarray, threshold: float, confidence: float, temperature: float
) -> None:
    base = load_bundle(bundle_dir / "float32").meta
    verdict = decide(logits, _with(base, threshold, confidence, temperature))
    assert (verdict.label == ABSTAIN) == (verdict.reason is not None)
    if not np.isfinite(logits).all():
        assert verdict.probabilities == {}
        return
    assert sum(verdict.probabilities.values()) == pytest.approx(1.0)
    assert all(type(p) is float and 0.0 <= p <= 1.0 for p in verdict.probabilities.values())
    largest, malignant = max(verdict.probabilities.values()), verdict.probabilities["malignant"]
    assert (verdict.label == ABSTAIN) == (largest < confidence)
    if verdict.label != ABSTAIN:
        assert (verdict.label == "malignant") == (malignant >= threshold)
        others = [p for name, p in verdict.probabilities.items() if name != "malignant"]
        assert verdict.label == "malignant" or verdict.probabilities[verdict.label] == max(others)
