"""How far outlines and classes hang on burned-in calipers (docs/segmentation.md).

    python -m tests.measure.calipers RUN [RUN ...] --data BUSI

RUN: folders of a study of two heads, one per fold. Each network judges the lesion pictures of its own test part twice,
as they are and with the marks changed; the difference is paired. `painted over`: where the audit's rule finds crosses
they are filled in from around them (A. Telea, "An image inpainting technique based on the fast marching method",
2004); dots between them and other marks stay. `drawn beside`, `drawn across`: pictures without calipers get some, as
for training (train/augment/marks.py), at a lesion that is not there, or at half of the lesions.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from device.bundle import Estimate
from device.preprocess import read_picture, to_luma
from train.audit.marks import caliper_marks
from train.augment.marks import with_calipers
from train.data.busi import load_mask, read_dataset
from train.data.split_file import read_split
from train.evaluation.intervals import percent, signed
from train.segmentation.figures import difference, measure
from train.segmentation.outlines import outline_of
from train.segmentation.runs import SegRun, load_run
from train.segmentation.scores import Score, score

REACH = 11  # pixels around a mark's centre that are painted over: its arms have up to 9, its edge is soft


def answered(run: SegRun, luma: np.ndarray, truth: np.ndarray) -> tuple[Score, int]:
    """The score of the outline of a picture, (H, W) uint8, and the likeliest class. truth: (H, W) bool."""
    outline, classes = outline_of(run.network, luma, run.meta.recipe.preprocess)
    return score(outline, truth), int(np.argmax(classes))


def painted_over(luma: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """(H, W) uint8 with what is around each of the (n, 2) marks filled in from its surroundings."""
    where = np.zeros(luma.shape, np.uint8)
    for x, y in marks.tolist():
        cv2.circle(where, (x, y), REACH, 255, -1)
    return cv2.inpaint(luma, where, 5, cv2.INPAINT_TELEA)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, nargs="+", help="run folders of a study of two heads, one per fold")
    parser.add_argument("--data", type=Path, required=True, help="the data set in the BUSI layout")
    args = parser.parse_args()
    data = read_dataset(args.data)
    found: dict[str, list[tuple[str, Score, Score, bool]]] = {}
    for folder in args.run:
        run, split = load_run(folder), read_split(folder / "split.json", data)
        for number, picture in enumerate(split.test):
            if picture.label == "normal":
                continue
            pixels = read_picture(picture.path)
            luma, marks = to_luma(pixels), caliper_marks(pixels)
            truth = load_mask(picture, luma.shape)
            if len(marks):
                changed = {"painted over": painted_over(luma, marks)}
            else:
                beside, across = (with_calipers(luma, m, np.random.default_rng(number)) for m in (None, truth))
                changed = {"drawn beside": beside, "drawn across": across}
            before, named = answered(run, luma, truth)
            for way, other in changed.items():
                after, now = answered(run, other, truth)
                found.setdefault(way, []).append((split.group_of[picture.name], before, after, now == named))
    for way, of in found.items():
        groups, before, after, same = (list(column) for column in zip(*of))
        dice = measure([before], np.array(groups))["dice"], measure([after], np.array(groups))["dice"]
        minus = difference([before], [after], np.array(groups), 1000)["dice"]
        kept = percent(Estimate(float(np.mean(same))))
        print(
            f"{way}: {len(of)} pictures, Dice {percent(dice[0])} before, {percent(dice[1])} after, {signed(minus)}; "
            f"{kept} % keep their likeliest class"
        )


if __name__ == "__main__":
    main()
