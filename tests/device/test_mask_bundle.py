"""A model with a second output that says where: its bundle, its file, and the one number that cuts its mask."""

import json
import shutil
from collections.abc import Callable
from dataclasses import field, fields, make_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_bundle import CELL, CLASSES, LESION_LUMA, SIZE, lesion_picture

from device import schema
from device.bundle import META_FILE, Meta, load_bundle, write_bundle
from device.bundle_parts import Tensor, cut_of
from device.errors import UserError
from device.runtime import Model, open_bundle

BOX = (0.25, 0.125, 0.5, 0.5)


@pytest.fixture
def folder(mask_bundle_dir: Path, tmp_path: Path) -> Path:
    """A bundle of its own, to be spoilt."""
    return Path(shutil.copytree(mask_bundle_dir / "int8-full", tmp_path / "bundle"))


def test_a_bundle_says_where_its_mask_is_and_one_without_it_is_as_it_always_was(
    bundle_dir: Path, mask_bundle_dir: Path, tmp_path: Path
) -> None:
    loaded = load_bundle(mask_bundle_dir / "int8-full")
    mask = loaded.meta.mask
    assert mask.output.shape == (1, SIZE // CELL, SIZE // CELL, 1)
    assert (mask.output.layout, mask.output.dtype, mask.threshold) == ("NHWC", "int8", 0.5)
    assert write_bundle(tmp_path / "copy", loaded.model_path, loaded.meta).id == loaded.id

    plain = load_bundle(bundle_dir / "int8-full")
    assert plain.meta.mask is None
    assert "mask" not in json.loads((plain.folder / META_FILE).read_text()), "an older busi-kd would refuse the key"


def test_software_that_knows_no_masks_refuses_the_bundle_with_its_usual_sentence(
    folder: Path, bundle_dir: Path
) -> None:
    older = [(one.name, one.type, field(default=one.default)) for one in fields(Meta) if one.name != "mask"]
    before = make_dataclass("Before", older, frozen=True)
    with pytest.raises(UserError, match="unknown key 'mask'"):
        schema.load(before, json.loads((folder / META_FILE).read_text()), folder)
    schema.load(before, json.loads((bundle_dir / "int8-full" / META_FILE).read_text()), folder)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"threshold": 1.0}, "mask.threshold must lie between 0 and 1"),
        ({"index": -1}, "mask.index must be 0 or more"),
        ({"unknown": 1}, "unknown key 'mask.unknown'"),
        ({"output": {"shape": [1, 16, 16, 2]}}, "must be (1, h, w, 1)"),
        ({"output": {"layout": "NC"}}, "in NC"),
        ({"output": {"shape": [1, 65, 16, 1]}}, "is finer than preprocess"),
        ({"output": {"scale": 0.0}}, "must be above 0"),
    ],
)
def test_each_wrong_value_has_its_sentence(folder: Path, change: dict[str, Any], sentence: str) -> None:
    data = json.loads((folder / META_FILE).read_text())
    inner = change.get("output")
    data["mask"] |= {"output": data["mask"]["output"] | inner} if inner else change
    (folder / META_FILE).write_text(json.dumps(data))
    with pytest.raises(UserError) as caught:
        load_bundle(folder)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda mask: replace(mask, name="another"),
        lambda mask: replace(mask, index=mask.index + 1),
        lambda mask: replace(mask, output=replace(mask.output, scale=2 * mask.output.scale)),
        lambda mask: None,
    ],
    ids=["name", "index", "scale", "none"],
)
def test_a_file_whose_mask_is_not_as_described_is_refused(folder: Path, tmp_path: Path, change: Callable) -> None:
    bundle = load_bundle(folder)
    other = write_bundle(tmp_path / "other", bundle.model_path, replace(bundle.meta, mask=change(bundle.meta.mask)))
    with pytest.raises(UserError, match="its mask output is"):
        open_bundle(other)


def test_a_mask_that_the_file_does_not_have_is_refused(bundle_dir: Path, folder: Path, tmp_path: Path) -> None:
    plain, mask = load_bundle(bundle_dir / "int8-full"), load_bundle(folder).meta.mask
    other = write_bundle(tmp_path / "other", plain.model_path, replace(plain.meta, mask=mask))
    with pytest.raises(UserError, match="its mask output is not there"):
        open_bundle(other)
    with pytest.raises(ValueError, match="has no mask"):
        open_bundle(plain).raw_mask()


@pytest.mark.parametrize("variant", ["float32", "int8-full"])
def test_both_outputs_are_found_whatever_their_order(mask_bundle_dir: Path, bundle_dir: Path, variant: str) -> None:
    model = open_bundle(load_bundle(mask_bundle_dir / variant))
    assert model.mask_index == 0, "the test is to be about a file whose first output is the mask"
    alone = open_bundle(load_bundle(bundle_dir / variant))
    for label in CLASSES[:2]:
        picture = lesion_picture(label, BOX)
        assert CLASSES[int(np.argmax(model.logits(picture)))] == label
        np.testing.assert_allclose(model.logits(picture), alone.logits(picture), atol=0.5)


@pytest.mark.parametrize("variant", ["float32", "int8-full"])
def test_the_mask_is_that_of_the_last_picture(mask_bundle_dir: Path, variant: str) -> None:
    bundle = load_bundle(mask_bundle_dir / variant)
    model, cut = open_bundle(bundle), bundle.meta.mask.cut
    left, top, right, bottom = (round(share * SIZE / CELL) for share in BOX)
    for label in ("benign", "malignant"):
        model.logits(lesion_picture(label, BOX))
        found = model.raw_mask() > cut
        assert found.shape == (SIZE // CELL, SIZE // CELL)
        wanted = np.zeros_like(found)
        wanted[top:bottom, left:right] = True
        np.testing.assert_array_equal(found, wanted)
    model.logits(np.full((SIZE, SIZE), LESION_LUMA - 20, np.uint8))
    assert not (model.raw_mask() > cut).any()


@given(
    st.integers(-128, 127),
    st.floats(1e-3, 2.0),
    st.floats(0.05, 0.95),
)
def test_one_comparison_says_what_dequantised_probabilities_would(
    zero_point: int, scale: float, threshold: float
) -> None:
    tensor = Tensor((1, 16, 16, 1), "NHWC", "int8", scale, zero_point)
    stored = np.arange(-128, 128)
    probability = 1 / (1 + np.exp(-(stored - zero_point) * scale))
    clear = np.abs(probability - threshold) > 1e-9  # a tie may fall on either side
    np.testing.assert_array_equal((stored > cut_of(tensor, threshold))[clear], (probability > threshold)[clear])


def test_at_one_half_the_cut_is_the_zero_point() -> None:
    assert cut_of(Tensor((1, 4, 4, 1), "NHWC", "int8", 0.1, -7), 0.5) == -7
    assert cut_of(Tensor((1, 4, 4, 1), "NHWC", "float32"), 0.5) == 0


def test_two_planes_are_another_network(tmp_path: Path) -> None:
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 1), tf.float32)])
    def planes(luma: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"a": luma + 1.0, "b": luma * 2.0, "c": tf.reduce_mean(luma, axis=[1, 2]) * [[1.0, 2.0]]}

    content = tf.lite.TFLiteConverter.from_concrete_functions([planes.get_concrete_function()]).convert()
    (tmp_path / "model.tflite").write_bytes(content)
    with pytest.raises(UserError, match="this is another network"):
        Model(tmp_path / "model.tflite")
