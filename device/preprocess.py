"""Frame -> model input: the one definition that training, calibration, parity checks, bench and daemon all call.

The result is uint8 luma at the model's size. Normalisation (mean, scale) is part of the network itself, so that no
float arithmetic stands between the camera and an int8 model, and no figure has to be kept equal in two places.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from device.errors import UserError

_MASK = re.compile(r"(?P<stem>.*)_mask[^/]*\.png", re.IGNORECASE | re.DOTALL)
_INTERPOLATION = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR}


@dataclass(frozen=True)
class Preprocess:
    """How a frame becomes the model's input; it travels in the bundle.

    height, width: the model's input size in pixels. resize: `squash` stretches the frame to it, `letterbox` keeps
    the aspect and pads with `fill` (luma 0..255). interpolation: `area` averages (no aliasing of speckle), `linear`
    is about twice as fast.
    """

    height: int = 224
    width: int = 224
    color: Literal["luma"] = "luma"
    resize: Literal["squash", "letterbox"] = "squash"
    interpolation: Literal["area", "linear"] = "area"
    fill: int = 0

    def __post_init__(self) -> None:
        if not (16 <= self.height <= 2048 and 16 <= self.width <= 2048):
            raise ValueError(f"the input size {self.height} x {self.width} is outside 16..2048 pixels; correct it.")
        if not 0 <= self.fill <= 255:
            raise ValueError(f"the key 'fill' must lie in 0..255, not {self.fill}.")


def pictured_stem(name: str) -> str | None:
    """The stem of the picture that the mask file `name` belongs to (`a` for `a_mask_1.png`); None for no mask.

    A mask is any `_mask*.png`, in upper or lower case: the outline drawn beside a picture, as in the BUSI data set
    (W. Al-Dhabyani et al., "Dataset of breast ultrasound images", Data in Brief 28, 2020).
    """
    match = _MASK.fullmatch(name)
    return match["stem"] if match else None


def read_picture(path: Path) -> np.ndarray:
    """Decode a picture file to uint8, (H, W) grey or (H, W, 3) BGR as stored.

    Raises UserError when the file is missing, unreadable, empty or does not decode.
    """
    try:
        if not path.is_file():
            raise UserError(f"{path}: no such picture; check the path.")
        # Bytes first: cv2.imread takes no names outside the locale and prints its own warnings on a broken file.
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise UserError(f"{path}: this picture cannot be read ({error.strerror}); check the path.") from error
    try:
        picture = cv2.imdecode(data, cv2.IMREAD_ANYCOLOR) if data.size else None
    except cv2.error:  # a header that claims more pixels than OpenCV takes (2^30)
        picture = None
    if picture is None:
        raise UserError(f"{path}: this picture does not decode; replace or remove it.")
    return picture


def to_luma(frame: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, 1) grey, or (H, W, 3) BGR, uint8 0..255 -> (H, W) luma uint8 (ITU-R BT.601 weights).

    Raises ValueError on any other shape or dtype: the caller has a bug or a corrupt frame.
    """
    if frame.dtype != np.uint8 or frame.size == 0:
        raise ValueError(f"a frame must hold uint8 pixels, not {frame.dtype} of shape {frame.shape}.")
    if frame.ndim == 2:
        return frame
    if frame.ndim == 3 and frame.shape[2] == 1:
        return frame[:, :, 0]
    if frame.ndim == 3 and frame.shape[2] == 3:
        return cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
    raise ValueError(f"a frame must be (H, W), (H, W, 1) or (H, W, 3), not {frame.shape}.")


def prepare(frame: np.ndarray, preprocess: Preprocess) -> np.ndarray:
    """One frame (grey or BGR, uint8) -> (height, width) luma uint8, contiguous, ready for the interpreter.

    A grey frame of that very size is returned as it is, not copied. Raises ValueError as `to_luma` does.
    """
    luma = to_luma(frame)
    height, width = preprocess.height, preprocess.width
    interpolation = _INTERPOLATION[preprocess.interpolation]
    if luma.shape == (height, width):
        return np.ascontiguousarray(luma)
    if preprocess.resize == "squash":
        return cv2.resize(luma, (width, height), interpolation=interpolation)
    top, left, inner_h, inner_w = _letterbox(luma.shape, preprocess)
    canvas = np.full((height, width), preprocess.fill, np.uint8)
    canvas[top : top + inner_h, left : left + inner_w] = cv2.resize(
        luma, (inner_w, inner_h), interpolation=interpolation
    )
    return canvas


def _letterbox(shape: tuple[int, int], preprocess: Preprocess) -> tuple[int, int, int, int]:
    """Where a frame of `shape` (H, W) stands in the letterbox: top, left, height, width in pixels."""
    scale = min(preprocess.height / shape[0], preprocess.width / shape[1])
    height, width = max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))
    return (preprocess.height - height) // 2, (preprocess.width - width) // 2, height, width


def pictured(shape: tuple[int, int], preprocess: Preprocess) -> tuple[int, int]:
    """(height, width) in pixels of the part of the model's input that shows a frame of `shape` (H, W): all of it, or
    what is inside a letterbox's padding."""
    if preprocess.resize == "letterbox":
        return _letterbox(shape, preprocess)[2:]
    return preprocess.height, preprocess.width


def restored(plane: np.ndarray, shape: tuple[int, int], preprocess: Preprocess) -> np.ndarray:
    """The way back for what a network says of places: (h, w) values on the grid of `prepare`'s result, or a coarser one
    over the same area, -> `shape` (H, W) of the frame, same dtype, bilinear; the padding of a letterbox is cut off.

    Raises ValueError when `plane` is not two-dimensional or empty.
    """
    if plane.ndim != 2 or plane.size == 0:
        raise ValueError(f"a plane must be (h, w), not {plane.shape}.")
    height, width = preprocess.height, preprocess.width
    if preprocess.resize == "letterbox":
        top, left, inner_h, inner_w = _letterbox(shape, preprocess)
        if plane.shape != (height, width):
            plane = cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR)
        plane = plane[top : top + inner_h, left : left + inner_w]
    if plane.shape == tuple(shape):
        return np.ascontiguousarray(plane)
    return cv2.resize(plane, shape[::-1], interpolation=cv2.INTER_LINEAR)
