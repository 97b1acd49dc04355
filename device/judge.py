"""One frame's way from pixels to a verdict, and to the verdict over time, with the time each stage takes."""

import math
import time
from dataclasses import dataclass

import cv2
import numpy as np

from device.bundle import Meta
from device.capture import Frame
from device.decide import ABSTAIN, Verdict, decide
from device.over_time import Belief, OverTime, step
from device.preprocess import prepare
from device.quality import OK, Quality, assess
from device.runtime import Model
from device.scene import Change, Watch


@dataclass(frozen=True)
class Snapshot:
    """What is known about one judged frame.

    logits: (classes,) of the model. change: since the frame before. quality: where it is not OK, nothing is said of the
    frame. verdict: of this frame alone. belief: with those before it. stages_ms: milliseconds per name of
    device.stages.STAGES.
    """

    sequence: int
    name: str
    captured: float
    logits: np.ndarray
    change: Change
    quality: Quality
    verdict: Verdict
    belief: Belief
    stages_ms: dict[str, float]


class BadFrame(Exception):
    """A frame that cannot be prepared for the model, such as one of a wrong shape."""


class Judge:
    """Frame -> model input -> quality and logits -> verdict -> belief, one frame after another.

    assess_s: the quality of frames is looked at so often, and at once in a new scene; 0: of each frame; None: never.
    """

    def __init__(self, model: Model, meta: Meta, how: OverTime, assess_s: float | None = 0.0) -> None:
        self._model, self._meta, self.how = model, meta, how
        self._assess_s, self._assessed = assess_s, -math.inf
        self._quality = Quality(OK)
        self._watch = Watch(how.scene)
        self._belief: Belief | None = None

    def judge(self, frame: Frame, grabbed: float, picked: float) -> Snapshot:
        """Judge the next frame, each stage timed.

        grabbed, picked: time.monotonic() when the frame lay decoded in hand and when it left the slot. Raises BadFrame
        when the frame has a shape or type that `device.preprocess` does not take; it is as if it had not come.
        """
        try:
            luma = prepare(frame.pixels, self._meta.preprocess)
        except (ValueError, cv2.error) as error:
            raise BadFrame(str(error)) from error
        prepared = time.monotonic()
        logits = self._model.logits(luma)
        inferred = time.monotonic()
        change = self._watch.see(luma)
        refused = self._refused(frame, luma, change)
        verdict = decide(logits, self._meta) if refused is None else Verdict(ABSTAIN, {}, refused)
        self._belief = step(self._belief, frame.captured, logits, change, self._meta, self.how, refused)
        decided = time.monotonic()
        seconds = {
            "grab": grabbed - frame.captured,
            "age": picked - frame.captured,
            "prepare": prepared - picked,
            "infer": inferred - prepared,
            "decide": decided - inferred,
            "total": decided - frame.captured,
        }
        return Snapshot(
            frame.sequence,
            frame.name,
            frame.captured,
            logits,
            change,
            self._quality,
            verdict,
            self._belief,
            {stage: 1e3 * value for stage, value in seconds.items()},
        )

    def _refused(self, frame: Frame, luma: np.ndarray, change: Change) -> str | None:
        """Why nothing is to be said of this frame, or None."""
        if self._assess_s is None:
            return None
        new = change.difference is None or change.difference >= self.how.scene.new
        if new or not 0 <= frame.captured - self._assessed < self._assess_s:
            self._quality = assess(luma, frame.pixels, self._meta.familiar, frame.coloured)
            self._assessed = frame.captured
        return None if self._quality.state == OK else self._quality.state
