"""A network with two heads, shortly trained on phantoms, becomes bundles whose masks hold; spoilt masks are refused."""

import json
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from convert import pipeline, two_heads
from convert.export import OneChannelHeads, deployable, run_onnx
from convert.pipeline import masks_of, subject_of
from convert.verify import gates
from convert.verify.masks import compare_masks, run_masks
from device import main as command
from device import schema
from device.bundle import VARIANTS, Abstain, OperatingPoint, load_bundle
from device.capture import Frame
from device.errors import Refused, UserError
from device.judge import LESIONS, Judge
from device.over_time import OverTime
from device.preprocess import Preprocess, read_picture
from device.runtime import open_bundle
from train.data.busi import DataSet, read_dataset
from train.data.phantoms import write_phantoms
from train.data.splits import Split, make_split
from train.evaluation.models import candidate, split_of
from train.recipe import Augment, ConvertRecipe, NetworkRecipe, SplitRecipe
from train.segmentation import training
from train.segmentation.recipe import ClassTask, SegFit, SegNetwork, SegRecipe
from train.studies.operating_file import read_derived

pytestmark = pytest.mark.slow

BACKBONE = NetworkRecipe(
    "mobilenetv3_small_050", weights="random", mean=0.5019607843137255, std=0.5, stem="luma", activation="relu"
)
RECIPE = SegRecipe(
    name="tiny-two-heads",
    preprocess=Preprocess(64, 64),
    augment=Augment(flip=0.5),
    network=SegNetwork("two-heads", width=16, backbone=BACKBONE),
    fit=SegFit(epochs=12, batch=8, lr=4e-3, schedule="cosine", optimizer="adamw", select="last"),
    train_on=("benign", "malignant", "normal"),
    classes=ClassTask(),
)
# Little is asked of a network trained for seconds. All its pictures calibrate: no second draw, no second conversion.
OPEN = """
name = "open"
[convert]
calibration_pictures = 200
int8_ranges = "observed"
int8_bias_pictures = 0
mask_dice = 0.85
int8_agreement = 0.01
float_agreement = 0.9
accuracy_loss = 1.0
auc_loss = 1.0
flip_margin = 1.0
hard_flip_margin = 1.0
calibration_agreement = 0.01
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two-heads") / "phantoms"
    write_phantoms(folder, per_class=32, seed=5, size=(96, 128))
    return folder


@pytest.fixture(scope="module")
def run(data: Path) -> Path:
    found = read_dataset(data)
    split = make_split(found, SplitRecipe(), None)
    return training.train(found, RECIPE, split, None, {}, data.parent / "run").folder


@pytest.fixture(scope="module")
def recipe(data: Path) -> str:
    path = data.parent / "open.toml"
    path.write_text(OPEN)
    return str(path)


@pytest.fixture(scope="module")
def bundles(run: Path, data: Path, recipe: str) -> Path:
    out = data.parent / "bundles"
    call = ["convert", run, "--data", data, "--recipe", recipe, "--out", out]
    assert command.main([str(one) for one in call]) == 0
    return out


@pytest.fixture(scope="module")
def parts(run: Path, data: Path) -> tuple[two_heads.TwoHeadsRun, DataSet, Split]:
    found = read_dataset(data)
    opened = two_heads.load(run, found)
    return opened, found, split_of(candidate(opened), found)


def test_the_exported_network_answers_as_the_trained_one(bundles: Path, parts) -> None:
    network = parts[0].network
    deployed = deployable(network, relu_activations=True)
    assert isinstance(deployed, OneChannelHeads)
    luma = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 1, 64, 64)).astype(np.float32))
    with torch.no_grad():
        (logits, mask), wanted = deployed(luma), network.both(luma)
        np.testing.assert_allclose(logits, wanted.classes, atol=1e-3)
        np.testing.assert_allclose(mask, wanted.mask, atol=1e-3)
    found = run_onnx(bundles / "student.onnx", luma.numpy()[0].astype(np.uint8))
    np.testing.assert_allclose(found, wanted.classes, atol=1e-3)


def test_each_bundle_has_two_outputs_and_says_what_its_masks_are_worth(bundles: Path) -> None:
    for variant in VARIANTS:
        bundle = load_bundle(bundles / variant)
        mask = bundle.meta.mask
        assert open_bundle(bundle).mask == mask.output
        assert mask.output.shape == (1, 16, 16, 1)
        assert mask.output.dtype == ("int8" if variant == "int8-full" else "float32")
        assert "benign, malignant, normal, of " in mask.trained_on
        assert 0.3 < mask.dice.low <= mask.dice.value <= mask.dice.high <= 1
        assert mask.agreement.value >= {"float32": 0.999, "float16": 0.99}.get(variant, 0.85)
        assert bundle.meta.training.recipe["network"]["name"] == "two-heads"
        assert bundle.meta.training.recipe["convert"]["mask_dice"] == 0.85
    assert load_bundle(bundles / "int8-full").meta.answers is not None, "the self-test is on the class output"


def test_an_operating_point_of_other_folds_class_heads_fits(parts, tmp_path: Path) -> None:
    """Its file speaks of a segmentation study's recipe, not of a student's."""
    meta = two_heads.trained(parts[0])
    recipe = schema.dump(meta.recipe)
    facts = {
        "threshold": schema.dump(OperatingPoint(0.123, 0.95, 0.96, 0.7, "answers of four other networks")),
        "abstain": schema.dump(Abstain(0.456, 0.9, "answers of four other networks")),
        "folds": [1, 2, 3],
        "recipe": recipe | {"split": recipe["split"] | {"test_fold": 3, "val_fold": 4}},
        "groups": meta.split["groups"],
        "data": {"fingerprint": meta.data_fingerprint},
    }
    path = tmp_path / "operating_point.json"
    path.write_text(json.dumps(facts))
    assert schema.dump(read_derived(path, meta).point) == facts["threshold"]
    path.write_text(json.dumps(facts | {"recipe": recipe | {"hard": "dice"}}))
    with pytest.raises(UserError, match=r"another recipe \(its hard differs\)"):
        read_derived(path, meta)


def test_the_report_says_it_picture_by_picture(bundles: Path, parts) -> None:
    report = json.loads((bundles / "report.json").read_text())
    rows = {row["variant"]: row["masks"] for row in report["variants"]}
    assert rows["onnx"] is rows["onnx-int8"] is None
    held_out = len(parts[2].val + parts[2].test)
    for variant in VARIANTS:
        found = rows[variant]
        assert found["pictures"] == held_out
        assert found["dice"]["value"] == load_bundle(bundles / variant).meta.mask.agreement.value
        assert found["outlined_dice"]["value"] <= found["dice"]["value"]
        assert [row["dice"] for row in found["worst"]] == sorted(row["dice"] for row in found["worst"])
    page = (bundles / "report.md").read_text()
    section = page.split("## Masks")[1]
    worst = rows["int8-full"]["worst"][0]
    assert f"| int8-full | {worst['picture']} | {100 * worst['dice']:.1f} |" in section
    assert "![Masks that differ most](masks_01.png)" in section
    assert cv2.imread(str(bundles / "masks_01.png")) is not None


def test_the_device_outlines_a_phantoms_lesion_with_the_bundle(bundles: Path, parts) -> None:
    """The daemon's own way from the picture's file to the polygons, against the drawn truth."""
    bundle = load_bundle(bundles / "int8-full")
    model, overlaps = open_bundle(bundle), []
    for picture in parts[2].test:
        if picture.label == "normal":
            continue
        pixels = read_picture(picture.path)
        judge = Judge(model, bundle.meta, OverTime(), None)
        found = judge.judge(Frame(pixels, 0, 0.0, picture.name), 0.0, time.monotonic())
        assert (found.outline is not None) == (found.belief.verdict.label in LESIONS)
        if found.outline:
            drawn = np.zeros(pixels.shape[:2], np.uint8)
            size = np.array(pixels.shape[1::-1])
            lines = [np.round(np.array(one) * size - 0.5).astype(np.int32) for one in found.outline]
            truth = read_picture(picture.masks[0]) > 0
            inside = cv2.fillPoly(drawn, lines, 1).astype(bool)
            overlaps.append(2 * (inside & truth).sum() / (inside.sum() + truth.sum()))
    assert len(overlaps) > 3, "the classifier names a lesion in hardly any test picture"
    assert np.mean(overlaps) > 0.4


FAULTS = {
    "transposed": lambda stored, cut: stored.transpose(0, 2, 1),
    "shifted by a cell": lambda stored, cut: np.roll(stored, 1, axis=2),
    "not a number": lambda stored, cut: np.where(np.arange(len(stored))[:, None, None] == 3, np.nan, stored),
    "inverted": lambda stored, cut: 2 * cut - stored,
}


@pytest.mark.parametrize("variant", ["float32", "int8-full"])
def test_a_mask_that_was_spoilt_fails_the_gate(bundles: Path, parts, variant: str) -> None:
    run, _, split = parts
    subject = subject_of(run, split, ConvertRecipe(mask_dice=0.85), None)
    bundle = load_bundle(bundles / variant)
    model, cut = open_bundle(bundle), bundle.meta.mask.cut
    honest = masks_of(variant, model, subject).parity
    assert gates.mask_reasons(variant, honest, subject.recipe) == []
    stored = run_masks(model, subject.held_out.lumas).astype(np.float32)
    for name, fault in FAULTS.items():
        parity, _ = compare_masks(fault(stored, cut), cut, subject.outlined)
        (reason,) = gates.mask_reasons(variant, parity, subject.recipe)
        assert reason.startswith(variant), name


def test_a_conversion_with_a_spoilt_mask_ships_nothing_and_leaves_its_report(
    bundles: Path, run: Path, data: Path, recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """The files are those of the honest conversion, which takes long; what is read from them is a cell off."""

    def copied(network: object, preprocess: Preprocess, path: Path) -> None:
        path.write_bytes((bundles / "student.onnx").read_bytes())

    def shifted(model: object, lumas: np.ndarray) -> np.ndarray:
        return np.roll(run_masks(model, lumas), 1, axis=1)

    monkeypatch.setattr(pipeline, "write_float_onnx", copied)
    made = {"float32": bundles / "float32" / "model.tflite"}
    monkeypatch.setattr(pipeline.tflite, "write_variants", lambda *_: made)
    monkeypatch.setattr(pipeline, "run_masks", shifted)
    out = tmp_path / "bundles"
    call = ["convert", run, "--data", data, "--recipe", recipe, "--variants", "float32", "--out", out]
    assert command.main([str(one) for one in call]) == Refused.exit_status
    assert "float32 has masks with a mean Dice of" in capsys.readouterr().err
    assert not out.exists()
    page = (tmp_path / "bundles.refused" / "report.md").read_text()
    assert "## Refused" in page
    assert "| float32 |" in page.split("## Masks")[1]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"network": SegNetwork("simplified-unet", (4, 8)), "classes": None}, "outlines and names no class"),
        (
            {"network": SegNetwork("two-heads", width=8, transformer=NetworkRecipe("test_vit", weights="random"))},
            "has a transformer beside it and is a teacher",
        ),
    ],
)
def test_who_is_no_student_is_not_converted(changes: dict, why: str, data: Path, tmp_path: Path) -> None:
    found = read_dataset(data)
    other = replace(RECIPE, **changes, int8_epochs=0, fit=SegFit(epochs=1, batch=16))
    folder = training.train(found, other, make_split(found, SplitRecipe(), None), None, {}, tmp_path / "run").folder
    with pytest.raises(UserError, match=why):
        two_heads.load(folder, found)
