"""Judgement over time: many frames of one lesion say more than one, and a verdict must not flicker.

One step per judged frame, a pure function: the same frames at the same times give the same verdicts, in the daemon and
when its record is replayed. What is smoothed are calibrated logits, not probabilities: frames are evidence, and
evidence adds up in logits.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from device.bundle import Meta
from device.decide import ABSTAIN, Verdict
from device.scene import Change, Scene, SceneLimits

NO_NUMBER = "the model gave no finite number"
LOW_CONFIDENCE = "low confidence"
_LEAST = 1e-12  # a probability is not nearer to 0 or 1 than this when its logit is taken


@dataclass(frozen=True)
class OverTime:
    """How frames are joined.

    half_life_s: after so many seconds a frame counts half. gap_s: after a longer pause all before it is forgotten.
    hysteresis: in logit units, how far a probability must fall behind the limit that it passed before the verdict
    goes back. 0 for each of them judges every frame by itself.
    """

    half_life_s: float = 0.5
    gap_s: float = 2.0
    hysteresis: float = 0.4
    scene: SceneLimits = field(default_factory=SceneLimits)

    def __post_init__(self) -> None:
        if min(self.half_life_s, self.gap_s, self.hysteresis) < 0:
            raise ValueError("half_life_s, gap_s and hysteresis must be 0 or more.")


@dataclass(frozen=True)
class Belief:
    """What is held after a frame. at: its time in seconds. evidence: smoothed logits / temperature, their mean 0; None
    when nothing is known. frames: how many it rests on. scene: of this frame. same_since: when the picture was first
    seen that has not changed since. verdict: over time, the one to be shown."""

    at: float
    evidence: tuple[float, ...] | None
    frames: int
    scene: Scene
    same_since: float
    verdict: Verdict


def step(
    before: Belief | None,
    at: float,
    logits: np.ndarray,
    change: Change,
    meta: Meta,
    how: OverTime,
    refused: str | None = None,
) -> Belief:
    """The belief after one more frame.

    at: when it was captured, seconds. logits: (classes,) of the model. change: of device.scene.Watch. The belief begins
    anew with the first frame, on a new scene, when a picture is found to be frozen (the verdict is then of that picture
    alone), after a pause, when time goes backwards, and behind a frame without finite logits or one that was refused.
    refused: why nothing is to be said of this frame (device.quality), or None.
    """
    if before is not None and not 0 <= at - before.at <= how.gap_s:
        before = None
    scene, same_since = _scene(before, at, change, how.scene)
    if refused is not None:
        return Belief(at, None, 0, scene, same_since, Verdict(ABSTAIN, {}, refused))
    # Plain floats, not numpy: for three classes that takes a fifth of the time.
    raw = [float(z) for z in logits]
    mean = sum(raw) / len(raw)  # softmax does not see it, and sums of it do not drift
    fresh = tuple((z - mean) / meta.temperature for z in raw)
    if not all(map(math.isfinite, fresh)):
        return Belief(at, None, 0, scene, same_since, Verdict(ABSTAIN, {}, NO_NUMBER))
    kept = before if before is not None and before.evidence is not None else None
    if kept is not None and (scene == "new" or (scene == "still" and kept.scene != "still")):
        kept = None
    frames = 1 if kept is None else kept.frames + 1
    evidence = fresh if kept is None else _smoothed(kept, at, fresh, how)
    verdict = _verdict(evidence, meta, kept.verdict.label if kept else None, how.hysteresis)
    return Belief(at, evidence, frames, scene, same_since, verdict)


def _scene(before: Belief | None, at: float, change: Change, limits: SceneLimits) -> tuple[Scene, float]:
    if before is None or change.difference is None or change.difference >= limits.new:
        return "new", at
    if change.drift == 0.0 and change.difference > 0.0:
        return "moving", at
    return ("still" if at - before.same_since >= limits.still_s else "moving"), before.same_since


def _smoothed(kept: Belief, at: float, fresh: tuple[float, ...], how: OverTime) -> tuple[float, ...]:
    """Exponential smoothing by time, so that the frame rate does not matter; at first the mean of the frames so far,
    or the very first one would count too much."""
    weight = 1.0 - 0.5 ** ((at - kept.at) / how.half_life_s) if how.half_life_s else 1.0
    weight = max(weight, 1.0 / (kept.frames + 1))
    return tuple(old + weight * (new - old) for old, new in zip(kept.evidence, fresh))


def _verdict(evidence: tuple[float, ...], meta: Meta, shown: str | None, hysteresis: float) -> Verdict:
    """As device.decide.decide, with limits that what is shown must leave by `hysteresis` before it changes.

    Only what is shown already is held: malignant begins at the operating point itself, so its sensitivity stays.
    """
    largest = max(evidence)
    powers = [math.exp(z - largest) for z in evidence]
    total = sum(powers)
    probabilities = {name: power / total for name, power in zip(meta.classes, powers)}
    limit = _moved(meta.abstain.min_confidence, hysteresis if shown == ABSTAIN else 0.0)
    if max(probabilities.values()) < limit:
        return Verdict(ABSTAIN, probabilities, LOW_CONFIDENCE)
    if probabilities["malignant"] >= _moved(
        meta.operating_point.malignant_threshold, -hysteresis if shown == "malignant" else 0.0
    ):
        return Verdict("malignant", probabilities)
    rest = {name: _logit(p) for name, p in probabilities.items() if name != "malignant"}
    if shown in rest:
        rest[shown] += hysteresis
    return Verdict(max(rest, key=rest.__getitem__), probabilities)


def _logit(p: float) -> float:
    p = min(max(p, _LEAST), 1.0 - _LEAST)
    return math.log(p / (1.0 - p))


def _moved(p: float, by: float) -> float:
    return p if by == 0.0 else 1.0 / (1.0 + math.exp(-(_logit(p) + by)))
