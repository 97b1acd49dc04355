"""One frame's way from pixels to a verdict, with the time each stage takes."""

import time
from dataclasses import dataclass

import cv2

from device.bundle import Meta
from device.capture import Frame
from device.decide import Verdict, decide
from device.preprocess import prepare
from device.runtime import Model


@dataclass(frozen=True)
class Snapshot:
    """What is known about one judged frame. stages_ms: milliseconds per name of device.stages.STAGES."""

    sequence: int
    name: str
    captured: float
    verdict: Verdict
    stages_ms: dict[str, float]


class BadFrame(Exception):
    """A frame that cannot be prepared for the model, such as one of a wrong shape."""


def judge(frame: Frame, grabbed: float, picked: float, model: Model, meta: Meta) -> Snapshot:
    """Frame -> model input -> logits -> verdict, each timed.

    grabbed, picked: time.monotonic() when the frame lay decoded in hand and when it left the slot.
    Raises BadFrame when the frame has a shape or type that `device.preprocess` does not take.
    """
    try:
        luma = prepare(frame.pixels, meta.preprocess)
    except (ValueError, cv2.error) as error:
        raise BadFrame(str(error)) from error
    prepared = time.monotonic()
    logits = model.logits(luma)
    inferred = time.monotonic()
    verdict = decide(logits, meta)
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
    return Snapshot(frame.sequence, frame.name, frame.captured, verdict, stages_ms)
