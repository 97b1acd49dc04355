"""One frame's way from pixels to a verdict, and to the verdict over time, with the time each stage takes."""

import time
from dataclasses import dataclass

import cv2
import numpy as np

from device.bundle import Meta
from device.capture import Frame
from device.decide import Verdict, decide
from device.over_time import Belief, OverTime, step
from device.preprocess import prepare
from device.runtime import Model
from device.scene import Change, Watch


@dataclass(frozen=True)
class Snapshot:
    """What is known about one judged frame.

    logits: (classes,) of the model. change: since the frame before. verdict: of this frame alone. belief: with those
    before it. stages_ms: milliseconds per name of device.stages.STAGES.
    """

    sequence: int
    name: str
    captured: float
    logits: np.ndarray
    change: Change
    verdict: Verdict
    belief: Belief
    stages_ms: dict[str, float]


class BadFrame(Exception):
    """A frame that cannot be prepared for the model, such as one of a wrong shape."""


class Judge:
    """Frame -> model input -> logits -> verdict -> belief, one frame after another."""

    def __init__(self, model: Model, meta: Meta, how: OverTime) -> None:
        self._model, self._meta, self.how = model, meta, how
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
        verdict = decide(logits, self._meta)
        change = self._watch.see(luma)
        self._belief = step(self._belief, frame.captured, logits, change, self._meta, self.how)
        decided = time.monotonic()
        seconds = {
            "grab": grabbed - frame.captured,
            "age": picked - frame.captured,
            "prepare": prepared - picked,
            "infer": inferred - prepared,
            "decide": decided - inferred,
            "total": decided - frame.captured,
        }
        stages_ms = {stage: 1e3 * value for stage, value in seconds.items()}
        return Snapshot(frame.sequence, frame.name, frame.captured, logits, change, verdict, self._belief, stages_ms)
