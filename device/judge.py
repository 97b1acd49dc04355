"""One frame's way from pixels to a verdict, and to the verdict over time, with the time each stage takes."""

import math
import time
from dataclasses import dataclass

import cv2
import numpy as np

from device.bundle import Meta
from device.capture import Frame
from device.decide import ABSTAIN, Verdict, decide
from device.outline import Outline, outline
from device.over_time import Belief, OverTime, step
from device.preprocess import prepare
from device.quality import OK, Quality, assess
from device.runtime import Model
from device.scene import Change, Watch

UNCHANGED_S = 1.0  # so that nothing can stick: each second at least one inference
MAX_UNCHANGED_S = 2.0  # device.over_time forgets after so long without a frame; an inference should not be rarer
_GRID = 16  # rows and columns
LESIONS = ("benign", "malignant")  # the verdicts that name one


@dataclass(frozen=True)
class Snapshot:
    """What is known about one judged frame.

    logits: (classes,) of the model. change: since the frame before. quality: where it is not OK, nothing is said of the
    frame. verdict: of this frame alone. belief: with those before it. stages_ms: milliseconds per name of
    device.stages.STAGES, without `infer` where there was no inference. unchanged: the picture is, byte for byte, one
    that was inferred, whose logits stand. outline: of the lesion in this very frame, in shares of its picture; () when
    the model outlines nothing; None when the belief names no lesion, or the model gives none.
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
    unchanged: bool = False
    outline: Outline | None = None


class BadFrame(Exception):
    """A frame that cannot be prepared for the model, such as one of a wrong shape."""


class Judge:
    """Frame -> model input -> quality and logits -> verdict -> belief, one frame after another.

    assess_s: the quality of frames is looked at so often, and at once in a new scene; 0: of each frame; None: never.
    unchanged_s: for so long at most the logits of a picture stand while it stays the same byte for byte, as a frozen
    one from a digital grabber does; 0: each frame is inferred. The same comes out either way: same bytes, same logits.
    """

    def __init__(
        self, model: Model, meta: Meta, how: OverTime, assess_s: float | None = 0.0, unchanged_s: float = UNCHANGED_S
    ) -> None:
        self._model, self._meta, self.how = model, meta, how
        self._unchanged_s = unchanged_s
        self._inferred: _Inferred | None = None
        self._assess_s, self._assessed = assess_s, -math.inf
        self._assessed_this = False  # the picture that `_inferred` holds
        self._quality = Quality(OK)
        self._watch = Watch(how.scene)
        self._belief: Belief | None = None

    def judge(self, frame: Frame, grabbed: float, picked: float) -> Snapshot:
        """Judge the next frame, each stage timed.

        grabbed, picked: time.monotonic() when the frame lay decoded in hand and when it left the slot. Raises BadFrame
        when the frame has a shape or type that `device.preprocess` does not take; it is as if it had not come.
        """
        known = self._inferred
        unchanged = known is not None and known.stands_for(frame, self._unchanged_s)
        if unchanged:
            luma, logits, mask, change = known.luma, known.logits, known.mask, Change(0.0, known.change.drift)
            prepared = inferred = time.monotonic()
        else:
            try:
                luma = prepare(frame.pixels, self._meta.preprocess)
            except (ValueError, cv2.error) as error:
                raise BadFrame(str(error)) from error
            prepared = time.monotonic()
            logits = self._model.logits(luma)
            mask = None if self._meta.mask is None else self._model.raw_mask()
            inferred = time.monotonic()
            change = self._watch.see(luma)
            self._inferred = _Inferred(frame, luma, logits, mask, change)
        refused = self._refused(frame, luma, change, unchanged)
        verdict = decide(logits, self._meta) if refused is None else Verdict(ABSTAIN, {}, refused)
        self._belief = step(self._belief, frame.captured, logits, change, self._meta, self.how, refused)
        outlined = self._outlined(mask, frame)
        decided = time.monotonic()
        seconds = {
            "grab": grabbed - frame.captured,
            "age": picked - frame.captured,
            "prepare": prepared - picked,
            "infer": inferred - prepared,
            "decide": decided - inferred,
            "total": decided - frame.captured,
        }
        if unchanged:
            del seconds["infer"]
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
            unchanged,
            outlined,
        )

    def _outlined(self, mask: np.ndarray | None, frame: Frame) -> Outline | None:
        """Where the lesion is that the belief names. An outline beside "cannot say" or "normal" would say that there is
        a lesion after all, and one person would believe the line and another the word."""
        if mask is None or self._belief.verdict.label not in LESIONS:
            return None
        return outline(mask, self._meta.mask, frame.pixels.shape[:2], self._meta.preprocess)

    def _refused(self, frame: Frame, luma: np.ndarray, change: Change, unchanged: bool) -> str | None:
        """Why nothing is to be said of this frame, or None."""
        if self._assess_s is None:
            return None
        new = change.difference is None or change.difference >= self.how.scene.new
        due = new or not 0 <= frame.captured - self._assessed < self._assess_s
        if due:
            if not (unchanged and self._assessed_this):
                self._quality = assess(luma, frame.pixels, self._meta.familiar, frame.coloured)
            self._assessed = frame.captured
        self._assessed_this = due or (unchanged and self._assessed_this)
        return None if self._quality.state == OK else self._quality.state


@dataclass(frozen=True)
class _Inferred:
    """The last frame that was inferred, and what came of it."""

    frame: Frame
    luma: np.ndarray
    logits: np.ndarray
    mask: np.ndarray | None
    change: Change

    def stands_for(self, frame: Frame, seconds: float) -> bool:
        """True when `frame` shows the same, byte for byte, at most `seconds` later."""
        if not 0.0 <= frame.captured - self.frame.captured < seconds:
            return False
        new, old = frame.pixels, self.frame.pixels
        if new.shape != old.shape or new.dtype != old.dtype:
            return False
        # A grid of one pixel in 256 tells nearly every change, for a hundredth of the time of comparing all.
        return np.array_equal(new[::_GRID, ::_GRID], old[::_GRID, ::_GRID]) and np.array_equal(new, old)
