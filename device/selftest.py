"""The self-test: phantom frames that are stored with busi-kd, and what a model must answer to them, to the byte.

Stored as pictures and cut to the model's size by taking pixels, because what is drawn or resampled may differ by a grey
level between processors. The int8 network through XNNPACK gives the same bytes on x86-64 and on the Pi's (docs/arm.md).
"""

import hashlib
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from device.bundle import Answers, Bundle
from device.errors import UserError
from device.phantom import CLASSES
from device.runtime import Model

FOLDER = Path(__file__).resolve().parent / "frames"


@cache
def frames() -> tuple[np.ndarray, ...]:
    """The stored phantoms, one of each class: (256, 256) uint8 luma. Raises UserError when one cannot be read."""
    found = []
    for label in CLASSES:
        path = FOLDER / f"{label}.png"
        picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if picture is None or picture.shape != (256, 256):
            raise UserError(f"{path}: is not the phantom that belongs there; install busi-kd again.")
        picture.setflags(write=False)
        found.append(picture)
    return tuple(found)


def fingerprint() -> str:
    """Which frames these are: 12 hexadecimal digits that change with any pixel."""
    return hashlib.sha256(b"".join(frame.tobytes() for frame in frames())).hexdigest()[:12]


def outputs(model: Model) -> tuple[tuple[int, ...], ...]:
    """For each frame the output as the file gives it, of a model with an 8-bit output."""
    _, height, width, _ = model.input.shape
    found = []
    for frame in frames():
        rows = np.arange(height) * frame.shape[0] // height
        columns = np.arange(width) * frame.shape[1] // width
        found.append(tuple(int(one) for one in model.raw(np.ascontiguousarray(frame[rows][:, columns]))))
    return tuple(found)


def answers(model: Model) -> Answers | None:
    """What is recorded of a model when its bundle is made; None for one with a float output, which no two processors
    need to give alike."""
    if model.output.scale is None:
        return None
    return Answers(fingerprint(), model.backend.partition(" ")[0], outputs(model))


def check(bundle: Bundle, model: Model) -> bool | None:
    """Whether the model answers as recorded: True; None when nothing is on record, of other frames, or of another
    interpreter. Raises UserError when it answers otherwise."""
    known = bundle.meta.answers
    if known is None or known.frames != fingerprint() or known.interpreter != model.backend.partition(" ")[0]:
        return None
    found = outputs(model)
    if found != known.outputs:
        raise UserError(
            f"{bundle.folder}: SELF-TEST FAILED: to the stored phantoms its model answers {found} with "
            f"{model.backend}, and not {known.outputs} as recorded; its verdicts are not to be trusted here."
        )
    return True
