"""A TFLite file is what its label says: types of its tensors, scales of its weights."""

from pathlib import Path

import pytest
import tensorflow as tf
from small_models import calibrated, int8

from convert.verify.structure import structure_reasons
from device.bundle import MODEL_FILE
from device.shipped import shipped

DRAWN = tf.random.Generator.from_seed(0)
KERNEL = DRAWN.normal((3, 3, 4, 6)).numpy()


def network(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.conv2d(x, KERNEL, 1, "SAME")


def samples() -> list:
    return [DRAWN.normal((1, 16, 16, 4)).numpy() for _ in range(4)]


def test_what_ships_is_int8_throughout_with_a_scale_per_channel() -> None:
    for folder in shipped():
        assert structure_reasons("int8-full", folder / MODEL_FILE) == []


def test_each_variant_is_told_from_the_others(bundle_dir: Path) -> None:
    for variant, folder in (("float32", bundle_dir / "float32"), ("int8-full", shipped()[0])):
        for label in ("float32", "float16", "int8-full"):
            found = structure_reasons(label, folder / MODEL_FILE)
            assert (found == []) == (label == variant), (label, variant, found)
    assert structure_reasons("int8-dynamic", bundle_dir / "float32" / MODEL_FILE) != []


@pytest.mark.parametrize(("per_channel", "expected"), [(True, 0), (False, 1)])
def test_weights_with_one_scale_are_counted(per_channel: bool, expected: int, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(int8(calibrated(network, samples()), per_channel=per_channel))
    said = [one for one in structure_reasons("int8-full", path) if "one scale" in one]
    assert len(said) == expected
    if expected:
        assert said == ["int8-full has one scale for all channels in the weights of 1 convolutions."]
