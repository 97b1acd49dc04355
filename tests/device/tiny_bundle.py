"""Real, tiny model bundles for tests: from the real TFLite converter in seconds, loaded by the real runtime.

The network has hand-set weights and judges by mean luma alone, so a test knows the verdict beforehand:
dark pictures (about 40) are `normal`, grey ones (about 128) `benign`, bright ones (about 216) `malignant`,
and half-way between two of them (about 84 and 172) it abstains for low confidence.

With a mask it also outlines what is brighter than LESION_LUMA, on a grid of a quarter of its input.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from device import bundle, schema
from device.bundle_parts import Estimate, MaskOutput
from device.preprocess import Preprocess
from device.runtime import Model

if TYPE_CHECKING:
    import tensorflow

SIZE = 64  # pixels, height and width of the input
CLASSES = ("benign", "malignant", "normal")
LUMA_OF_CLASS = {"benign": 128, "malignant": 216, "normal": 40}
LESION_LUMA = 230  # above it, averaged over a cell of the mask's grid, is lesion
CELL = 4  # pixels of the input
_SHARPNESS = 60.0  # logit units per squared luma / 255: how fast one class takes over from the next


def write_tiny_bundles(folder: Path) -> Path:
    """Write a bundle per variant: `folder`/float32, /float16, /int8-dynamic and /int8-full. Returns `folder`.

    Input (1, SIZE, SIZE, 1), float32 or (int8-full) uint8 with scale 1 and zero point 0; three classes.
    """
    for variant in bundle.VARIANTS:
        file = folder / f".{variant}.tflite"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_convert(variant))
        bundle.write_bundle(folder / variant, file, _meta(variant, Model(file)))
        file.unlink()
    return folder


def write_mask_bundles(folder: Path) -> Path:
    """As `write_tiny_bundles`, of the variants float32 and int8-full, each with a mask of SIZE / CELL places a side.

    The file's first output is the mask: who takes the first for the class logits errs.
    """
    for variant in ("float32", "int8-full"):
        file = folder / f".{variant}.tflite"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_convert(variant, mask=True))
        model = Model(file)
        unknown = Estimate(None)
        mask = MaskOutput(model.mask_name, model.mask_index, model.mask, 0.5, "set by hand", unknown, unknown)
        bundle.write_bundle(folder / variant, file, replace(_meta(variant, model), mask=mask))
        file.unlink()
    return folder


def lesion_picture(
    label: str, box: tuple[float, float, float, float], size: tuple[int, int] = (SIZE, SIZE)
) -> np.ndarray:
    """(H, W) uint8 that is judged as `label` and outlined within `box`: left, top, right, bottom in shares. The rest is
    darker, so that the mean luma is the class's."""
    height, width = size
    left, top, right, bottom = (round(share * side) for share, side in zip(box, (width, height, width, height)))
    share = (right - left) * (bottom - top) / (height * width)
    rest = (LUMA_OF_CLASS[label] - share * 255) / (1 - share)
    assert 0 <= rest < LESION_LUMA, "the box is too large for a picture as dark as that"
    picture = np.full(size, round(rest), np.uint8)
    picture[top:bottom, left:right] = 255
    return picture


def _network() -> "tensorflow.Module":
    import tensorflow as tf  # here, not above: a test that only needs the constants must not pay for it

    rng = np.random.default_rng(0)

    def kernel(inputs: int, outputs: int) -> np.ndarray:
        values = rng.normal(0.0, 0.2, (3, 3, inputs, outputs)).astype(np.float32)
        values[:, :, :, 0] = 0.0
        values[:, :, 0, 0] = 1.0 / 9.0  # channel 0 carries the mean luma through
        return values

    # Nearest centre c of mean luma m: -(m - c)^2 / 2 without the common m^2, hence linear in m.
    centre = np.array([LUMA_OF_CLASS[name] / 255.0 for name in CLASSES], np.float32)
    dense = np.zeros((16, len(CLASSES)), np.float32)
    dense[0] = _SHARPNESS * centre

    class Network(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = tf.constant(kernel(1, 8))
            # Not smaller: weights of fewer than 1024 numbers stay float in an int8-dynamic file.
            self.second = tf.constant(kernel(8, 16))
            self.dense, self.bias = tf.constant(dense), tf.constant(-0.5 * _SHARPNESS * centre**2)

        @tf.function(input_signature=[tf.TensorSpec((1, SIZE, SIZE, 1), tf.float32, name="luma")])
        def logits(self, luma: "tensorflow.Tensor") -> "tensorflow.Tensor":
            x = luma * (1.0 / 255.0)
            x = tf.nn.relu(tf.nn.conv2d(x, self.first, 2, "VALID"))
            x = tf.nn.relu(tf.nn.conv2d(x, self.second, 2, "VALID"))
            return tf.matmul(tf.reduce_mean(x, axis=[1, 2]), self.dense) + self.bias

        @tf.function(input_signature=[tf.TensorSpec((1, SIZE, SIZE, 1), tf.float32, name="luma")])
        def both(self, luma: "tensorflow.Tensor") -> dict[str, "tensorflow.Tensor"]:
            cells = tf.nn.conv2d(
                luma * (1.0 / 255.0), tf.constant(np.full((CELL, CELL, 1, 1), CELL**-2, np.float32)), CELL, "VALID"
            )
            return {"mask": _SHARPNESS * cells - _SHARPNESS * LESION_LUMA / 255.0, "logits": self.logits(luma)}

    return Network()


def _convert(variant: str, mask: bool = False) -> bytes:
    import tensorflow as tf

    network = _network()
    function = (network.both if mask else network.logits).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], network)
    if variant != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if variant == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if variant == "int8-full":
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8
        converter.inference_output_type = tf.int8
        converter.representative_dataset = _calibration
    return _mask_first(converter.convert()) if mask else converter.convert()


def _mask_first(content: bytes) -> bytes:
    """The same file with the mask as its first output; which one a converter puts first is its own affair."""
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    (graph,) = model.subgraphs
    graph.outputs = sorted((int(n) for n in graph.outputs), key=lambda n: -len(graph.tensors[n].shape))
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _calibration():
    """Ramps from 0 to 255: both ends occur, which pins the input to scale 1 and zero point 0."""
    ramp = np.tile(np.linspace(0.0, 255.0, SIZE, dtype=np.float32)[:, None], (1, SIZE))
    flat = [np.full((SIZE, SIZE), luma, np.float32) for luma in (0.0, *LUMA_OF_CLASS.values(), 255.0)]
    for picture in (ramp, *flat):
        yield [picture[None, :, :, None]]


def _meta(variant: bundle.Variant, model: Model) -> bundle.Meta:
    unknown = "not measured: a stand-in for tests"
    return schema.load(
        bundle.Meta,
        {
            "schema_version": bundle.SCHEMA_VERSION,
            "task": bundle.TASK,
            "name": "tiny",  # one for all variants, as a student has
            "variant": variant,
            "intended_use": bundle.intended_use(synthetic=True),
            "synthetic": True,
            "classes": CLASSES,
            "input": schema.dump(model.input),
            "output": schema.dump(model.output),
            "preprocess": schema.dump(Preprocess(SIZE, SIZE)),
            "temperature": 1.0,
            "operating_point": {
                "malignant_threshold": 0.5,
                "target_sensitivity": 0.95,
                "sensitivity": 1.0,
                "specificity": 1.0,
                "derived_on": unknown,
            },
            "abstain": {"min_confidence": 0.6, "coverage": 1.0, "derived_on": unknown},
            "training": {
                "data_name": "none",
                "data_fingerprint": "0" * 64,
                "view": "whole",
                "split": {},
                "recipe": {},
                "weights": "set by hand",
                "student_sha256": "0" * 64,
                "calibration": {},
            },
            "metrics": {"accuracy": {"value": None}},
            "parity": {"max_abs_logit_difference": None},
            "versions": {"interpreter": model.backend},
            "created": "2024-01-01T00:00:00+00:00",
            "files": {},
        },
        "tests/device/tiny_bundle.py",
    )
