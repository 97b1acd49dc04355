"""Verdicts over time: smoothing by hand, hysteresis, what begins anew, and what must hold for any frames."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.bundle import Meta, load_bundle
from device.decide import ABSTAIN, decide
from device.over_time import NO_NUMBER, Belief, OverTime, step
from device.scene import Change

FIRST, MOVING, OTHER, SAME = Change(None, 0.0), Change(4.0, 0.0), Change(30.0, 0.0), Change(0.2, 0.3)
ALONE = OverTime(half_life_s=0.0, gap_s=2.0, hysteresis=0.0)


@pytest.fixture(scope="module")
def meta(bundle_dir: Path) -> Meta:
    """Classes benign, malignant, normal; temperature 1; malignant from 0.5; abstains below 0.6."""
    found = load_bundle(bundle_dir / "float32").meta
    assert (found.temperature, found.operating_point.malignant_threshold, found.abstain.min_confidence) == (1, 0.5, 0.6)
    return found


def logits_of(benign: float, malignant: float, normal: float) -> np.ndarray:
    """Logits of these probabilities."""
    return np.log(np.array([benign, malignant, normal]))


def run(meta: Meta, how: OverTime, frames: list[tuple[float, np.ndarray, Change]]) -> list[Belief]:
    beliefs: list[Belief] = []
    for at, logits, change in frames:
        beliefs.append(step(beliefs[-1] if beliefs else None, at, logits, change, meta, how))
    return beliefs


def labels(beliefs: list[Belief]) -> list[str]:
    return [belief.verdict.label for belief in beliefs]


BENIGN, MALIGNANT, UNSURE = logits_of(0.8, 0.1, 0.1), logits_of(0.1, 0.8, 0.1), logits_of(0.4, 0.3, 0.3)


def test_after_a_half_life_the_old_counts_half(meta: Meta) -> None:
    """Long seen as z0, then z1 for a half-life: half-way between. Whatever the frame rate."""
    for fps in (5, 30, 120):
        frames = [(n / fps, BENIGN, MOVING if n else FIRST) for n in range(20 * fps + 1)]
        frames += [(20 + n / fps, MALIGNANT, MOVING) for n in range(1, int(0.6 * fps) + 1)]
        evidence = run(meta, OverTime(half_life_s=0.6, gap_s=2.0), frames)[-1].evidence
        wanted = (BENIGN - BENIGN.mean() + MALIGNANT - MALIGNANT.mean()) / 2
        assert evidence == pytest.approx(wanted, abs=1e-9)


def test_the_first_frames_count_alike(meta: Meta) -> None:
    # Three frames within a tenth of the half-life: their mean, (2, 0, -2) and twice (-1, 0, 1) -> (0, 0, 0)
    two, one = np.array([2.0, 0.0, -2.0]), np.array([-1.0, 0.0, 1.0])
    beliefs = run(meta, OverTime(half_life_s=1.0), [(0.0, two, FIRST), (0.03, one, MOVING), (0.06, one, MOVING)])
    assert [belief.frames for belief in beliefs] == [1, 2, 3]
    assert beliefs[-1].evidence == pytest.approx((0.0, 0.0, 0.0), abs=1e-12)


def test_the_temperature_divides(meta: Meta) -> None:
    warm = dataclasses.replace(meta, temperature=2.0)
    one, other = step(None, 0.0, MALIGNANT, FIRST, meta, ALONE), step(None, 0.0, 2 * MALIGNANT, FIRST, warm, ALONE)
    assert one.evidence == pytest.approx(other.evidence)


def test_one_odd_frame_changes_nothing_and_many_do(meta: Meta) -> None:
    frames = [(n / 30, MALIGNANT if n == 40 else BENIGN, MOVING if n else FIRST) for n in range(80)]
    assert set(labels(run(meta, OverTime(), frames))) == {"benign"}
    frames += [(80 / 30 + n / 30, MALIGNANT, MOVING) for n in range(60)]
    shown = labels(run(meta, OverTime(), frames))
    assert shown[-1] == "malignant"
    assert [one for one, other in zip(shown, ["", *shown]) if one != other] == ["benign", ABSTAIN, "malignant"]


@pytest.mark.parametrize(
    ("at", "change"), [(0.1, OTHER), (2.2, MOVING), (-0.1, MOVING)], ids=["another scene", "a pause", "time goes back"]
)
def test_what_was_seen_before_is_forgotten(meta: Meta, at: float, change: Change) -> None:
    before = run(meta, OverTime(), [(0.0, MALIGNANT, FIRST), (0.05, MALIGNANT, MOVING)])[-1]
    fresh = step(before, at, BENIGN, change, meta, OverTime())
    assert (fresh.frames, fresh.verdict.label, fresh.scene) == (1, "benign", "new")
    assert fresh.evidence == step(None, at, BENIGN, FIRST, meta, OverTime()).evidence


def test_a_frozen_picture_is_judged_by_itself(meta: Meta) -> None:
    frames = [(n / 30, BENIGN, MOVING if n else FIRST) for n in range(60)]
    frames += [(2 + n / 30, MALIGNANT, MOVING if n == 0 else SAME) for n in range(30)]
    beliefs = run(meta, OverTime(), frames)
    still = [number for number, belief in enumerate(beliefs) if belief.scene == "still"]
    assert still == list(range(60 + 15, 90)), "half a second after the picture stopped, up to the end"
    assert beliefs[still[0]].frames == 1
    assert set(labels([beliefs[n] for n in still])) == {"malignant"}
    assert beliefs[-1].evidence == pytest.approx(tuple(MALIGNANT - MALIGNANT.mean()))
    moved = step(beliefs[-1], 3.1, MALIGNANT, MOVING, meta, OverTime())
    assert (moved.scene, moved.frames) == ("moving", beliefs[-1].frames + 1), "what is seen still belongs to it"


def test_a_frame_without_numbers_is_abstained_from_and_leaves_nothing(meta: Meta) -> None:
    before = run(meta, OverTime(), [(0.0, MALIGNANT, FIRST), (0.03, MALIGNANT, MOVING)])[-1]
    for bad in (math.nan, math.inf, -math.inf):
        odd = step(before, 0.06, np.array([bad, 0.0, 0.0]), MOVING, meta, OverTime())
        assert (odd.verdict.label, odd.verdict.reason, odd.evidence, odd.frames) == (ABSTAIN, NO_NUMBER, None, 0)
        after = step(odd, 0.09, BENIGN, MOVING, meta, OverTime())
        assert (after.verdict.label, after.frames) == ("benign", 1)


def test_malignant_begins_at_the_operating_point_and_ends_below_it(meta: Meta) -> None:
    meta = dataclasses.replace(meta, abstain=dataclasses.replace(meta.abstain, min_confidence=0.0))
    how = dataclasses.replace(ALONE, hysteresis=math.log(1.5))  # odds of 1 must fall to 2/3: P = 0.4

    def shown(*values: float) -> list[str]:
        frames = [(n / 30, logits_of(0.9 - p, p, 0.1), MOVING if n else FIRST) for n, p in enumerate(values)]
        return labels(run(meta, how, frames))

    assert shown(0.49, 0.51, 0.41, 0.39, 0.49, 0.5001) == [
        "benign",
        *["malignant"] * 2,
        "benign",
        "benign",
        "malignant",
    ]


def test_leaving_an_abstention_takes_more_than_staying_out_of_it(meta: Meta) -> None:
    how = dataclasses.replace(ALONE, hysteresis=math.log(2.0))  # odds of 3/2 must rise to 3: P = 0.75

    def shown(*values: float) -> list[str]:
        frames = [(n / 30, logits_of(p, 0.01, 0.99 - p), MOVING if n else FIRST) for n, p in enumerate(values)]
        return labels(run(meta, how, frames))

    assert shown(0.61, 0.59, 0.61, 0.74, 0.76, 0.61) == ["benign", *[ABSTAIN] * 3, "benign", "benign"]


def test_benign_and_normal_do_not_alternate(meta: Meta) -> None:
    meta = dataclasses.replace(meta, abstain=dataclasses.replace(meta.abstain, min_confidence=0.0))
    how = dataclasses.replace(ALONE, hysteresis=0.4)
    frames = [
        (n / 30, logits_of(0.47 + 0.02 * (n % 2), 0.04, 0.49 - 0.02 * (n % 2)), MOVING if n else FIRST)
        for n in range(20)
    ]
    assert set(labels(run(meta, how, frames))) == {"normal"}
    assert set(labels(run(meta, dataclasses.replace(how, hysteresis=0.0), frames))) == {"normal", "benign"}


Z = st.lists(st.floats(-12, 12, width=32), min_size=3, max_size=3)
CHANGES = st.sampled_from([FIRST, MOVING, MOVING, OTHER, SAME, SAME])
FRAMES = st.lists(st.tuples(st.floats(0, 1), Z, CHANGES), min_size=1, max_size=25)


def laid_out(drawn: list) -> list[tuple[float, np.ndarray, Change]]:
    at = np.cumsum([pause for pause, _, _ in drawn])
    return [(float(t), np.array(z, np.float32), change) for t, (_, z, change) in zip(at, drawn)]


@settings(deadline=None)
@given(drawn=FRAMES)
def test_without_smoothing_and_hysteresis_each_frame_is_judged_by_itself(meta: Meta, drawn: list) -> None:
    frames = laid_out(drawn)
    apart = [(at, z, change) for at, z, change in frames]
    at = -1.0
    for number, (t, z, change) in enumerate(apart):  # the running mean weighs frames of one instant: none here
        at = max(t, at + 1e-3)
        apart[number] = (at, z, change)
    for belief, (_, z, _) in zip(run(meta, ALONE, apart), apart):
        alone = decide(z, meta)
        assert belief.verdict.probabilities == pytest.approx(alone.probabilities, rel=1e-9)
        assert (belief.verdict.label, belief.verdict.reason) == (alone.label, alone.reason)


@settings(deadline=None)
@given(drawn=FRAMES, hysteresis=st.floats(0, 3), half_life=st.floats(0, 4))
def test_the_sensitivity_of_the_operating_point_is_never_given_up(
    meta: Meta, drawn: list, hysteresis: float, half_life: float
) -> None:
    """Malignant at or above the limit is shown as malignant or abstained from; evidence stays within what came in."""
    frames = laid_out(drawn)
    beliefs = run(meta, OverTime(half_life_s=half_life, hysteresis=hysteresis), frames)
    low, high = (pick([z - z.mean() for _, z, _ in frames], axis=0) for pick in (np.min, np.max))
    for belief in beliefs:
        if belief.verdict.probabilities["malignant"] >= meta.operating_point.malignant_threshold:
            assert belief.verdict.label in ("malignant", ABSTAIN)
        assert (np.array(belief.evidence) >= low - 1e-5).all()
        assert (np.array(belief.evidence) <= high + 1e-5).all()
    assert run(meta, OverTime(half_life_s=half_life, hysteresis=hysteresis), frames) == beliefs


@pytest.mark.parametrize("name", ["half_life_s", "gap_s", "hysteresis"])
def test_a_setting_below_zero_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must be 0 or more"):
        OverTime(**{name: -0.1})
