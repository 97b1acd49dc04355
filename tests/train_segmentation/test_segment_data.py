"""Pictures and outlines together: merged masks, joint augmentation, who trains, the picture's own resolution."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from small_busi import write_small_busi
from torch import nn

from device.errors import UserError
from device.preprocess import Preprocess, prepare, read_picture
from train.data.busi import load_mask, read_dataset, write_picture
from train.recipe import Augment
from train.segmentation.data import outlined, training_set, validation_set
from train.segmentation.outlines import judged, outlines, truth_of
from train.segmentation.recipe import SegRecipe

PRE = Preprocess(48, 64)
MOVES = Augment(flip=0.5, rotate=20, scale=0.2, shift=0.1, depth_crop=0.2)


def test_only_the_wanted_classes_with_a_known_outline(phantoms: Path) -> None:
    data = read_dataset(phantoms)
    shown = outlined(data.pictures, ("malignant",), PRE, "training")
    assert {p.label for p in shown.pictures} == {"malignant"}
    assert shown.lumas.shape == shown.masks.shape == (24, 48, 64)
    assert shown.masks.any(axis=(1, 2)).all()
    with_normal = outlined(data.pictures, ("benign", "normal"), PRE, "training")
    empty = ~with_normal.masks.any(axis=(1, 2))
    assert [p.label == "normal" for p in with_normal.pictures] == empty.tolist()


def test_a_lesion_that_nobody_outlined_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    data = read_dataset(write_small_busi(tmp_path / "busi"))
    for picture in data.pictures:
        for mask in picture.masks:
            mask.unlink()
    bare = read_dataset(tmp_path / "busi")
    assert {p.label for p in outlined(bare.pictures, ("benign", "normal"), PRE, "training").pictures} == {"normal"}
    with pytest.raises(UserError, match=r"the training part has no outlined picture of benign, malignant"):
        outlined(bare.pictures, ("benign", "malignant"), PRE, "training")
    lesion = bare.pictures[0]
    assert truth_of(lesion, (40, 60)) is None
    assert judged(lesion, np.ones((40, 60), bool)) is None


def test_geometry_moves_picture_and_outline_together(phantoms: Path) -> None:
    data = read_dataset(phantoms)
    shown = outlined(data.pictures[:8], ("benign",), PRE, "training")
    # The outline itself as the picture: wherever it goes, the mask must go too.
    painted = replace(shown, lumas=(shown.masks * 255).astype(np.uint8))
    items = training_set(painted, SegRecipe(augment=MOVES))
    for epoch in range(5):
        items.epoch = epoch
        for index in range(len(items)):
            item = items[index]
            assert set(np.unique(item["mask"].numpy())) <= {0.0, 1.0}
            assert torch.equal((item["luma"] > 127).float(), item["mask"])


def test_echoes_leave_the_outline_alone(phantoms: Path) -> None:
    data = read_dataset(phantoms)
    shown = outlined(data.pictures[:6], ("benign",), PRE, "training")
    changes = Augment(flip=0.0, gain=0.3, offset=20, gamma=0.5, speckle=0.3, blur=1.0, shadow=1.0, erase=1.0, text=1.0)
    recipe = SegRecipe(augment=changes)
    items, plain = training_set(shown, recipe), validation_set(shown, recipe)
    for index in range(len(items)):
        assert torch.equal(items[index]["mask"], plain[index]["mask"])
        assert not torch.equal(items[index]["luma"], plain[index]["luma"])


def test_normal_pictures_may_teach_the_class_head_alone(phantoms: Path) -> None:
    every = ("benign", "malignant", "normal")
    shown = outlined(read_dataset(phantoms).pictures, every, PRE, "training")
    for learnt, known in ((("benign", "malignant"), {"benign", "malignant"}), ((), set(every))):
        recipe = SegRecipe(train_on=every, outlines_of=learnt)
        for items in (training_set(shown, recipe), validation_set(shown, recipe)):
            found = {p.label for n, p in enumerate(shown.pictures) if items[n]["mask_known"]}
            assert found == known
    with pytest.raises(ValueError, match="must name classes of train_on"):
        SegRecipe(train_on=("benign",), outlines_of=("malignant",))


class _Bright(nn.Module):
    """A network that outlines what is bright, and keeps what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.ones(()))

    def forward(self, luma: torch.Tensor) -> torch.Tensor:
        self.seen = luma
        return (luma - 127.5) * self.one


@pytest.mark.parametrize("resize", ["squash", "letterbox"])
def test_an_outline_comes_back_at_the_pictures_own_resolution(resize: str, tmp_path: Path) -> None:
    root = write_small_busi(tmp_path / "busi", per_class=1)
    picture = np.zeros((120, 200), np.uint8)
    cv2.ellipse(picture, (120, 60), (50, 30), 20, 0, 360, 255, -1)
    write_picture(root / "benign" / "benign (1).png", picture)
    write_picture(root / "benign" / "benign (1)_mask.png", picture)
    (one, *_) = read_dataset(root).pictures
    network, preprocess = _Bright(), Preprocess(64, 64, resize=resize)
    ((_, outline, classes),) = outlines(network, [one], preprocess)
    assert outline.shape == (120, 200)
    assert classes is None
    assert judged(one, outline).dice > 0.97
    assert np.array_equal(network.seen[0, 0].numpy(), prepare(picture, preprocess)), "shown as the device shows it"


def test_the_masks_of_a_real_picture_are_merged(shared_data: Path) -> None:
    data = read_dataset(shared_data / "busi")
    several = [p for p in data.pictures if len(p.masks) > 1]
    assert len(several) == 17
    for picture in several[:4]:
        shape = read_picture(picture.path).shape[:2]
        truth = truth_of(picture, shape)
        parts = [read_picture(path) for path in picture.masks]
        assert np.array_equal(truth, np.any([(p if p.ndim == 2 else p.max(axis=2)) > 0 for p in parts], axis=0))
        found = judged(picture, truth)
        assert (found.dice, found.hd95, found.lesions) == (1, 0, found.found)


def test_every_real_lesion_keeps_its_outline_at_the_studies_size(shared_data: Path) -> None:
    data = read_dataset(shared_data / "busi")
    lesions = [p for p in data.pictures if p.masks and p.label != "normal"][::25]
    shown = outlined(tuple(lesions), ("benign", "malignant"), Preprocess(128, 128), "test")
    for picture, small in zip(shown.pictures, shown.masks, strict=True):
        truth = load_mask(picture, read_picture(picture.path).shape[:2])
        back = cv2.resize(small.astype(np.float32), truth.shape[::-1], interpolation=cv2.INTER_LINEAR) > 0.5
        assert judged(picture, back).dice > 0.93, picture.name
