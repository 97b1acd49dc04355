"""Small generated folders in the layouts of the four external sets, for tests that alter one file of them."""

import csv
from pathlib import Path

import numpy as np

from device.phantom import make_phantom
from train.data.busi import write_picture

LABELS = ("benign", "malignant", "benign", "malignant")
DOUBTFUL = (0, 1, 0, 0)


def write_small_external(root: Path, size: tuple[int, int] = (96, 128)) -> Path:
    """BrEaST, BUID, BUS-CoT_43 and STU-Hospital with four phantoms each; the masks of STU are twice as large."""
    mask = np.zeros(size, np.uint8)
    mask[10:30, 12:40] = 255
    pictures = {
        (name, n): make_phantom(LABELS[n], 10 * k + n, size).image
        for k, name in enumerate(("BrEaST", "BUID", "BUS-CoT_43", "STU-Hospital"))
        for n in range(4)
    }
    for name in ("BrEaST", "BUID"):
        rows = []
        for n, label in enumerate(LABELS):
            write_picture(root / name / "img" / f"{n}_img.png", pictures[name, n])
            write_picture(root / name / "roi_mask" / f"{n}_roi.png", mask)
            rows.append([n, int(label == "malignant"), f"{n}_img.png", f"{n}_mask.png", f"{n}_roi.png"])
        head = ["CaseID", "Malignancy", "Image_filename", "Mask_filename", "Roi_filename"]
        write_table(root / name / "metadata.csv", head, rows)
    cot = root / "BUS-CoT_43"
    for n in range(4):
        write_picture(cot / "images" / f"{n}@0.png", pictures["BUS-CoT_43", n])
        write_picture(cot / "masks" / f"{n}@0.png", mask)
        write_picture(root / "STU-Hospital" / f"Test_Image_{n}.png", pictures["STU-Hospital", n])
        write_picture(root / "STU-Hospital" / f"mask_{n}.png", mask.repeat(2, axis=0).repeat(2, axis=1))
    rows = [[f"{n}@0.png", LABELS[n], DOUBTFUL[n]] for n in range(4)]
    write_table(cot / "labels.csv", ["image", "label", "both_colours_present"], rows)
    return root


def write_table(path: Path, head: list[str], rows: list[list]) -> None:
    with open(path, "w", newline="") as stream:
        csv.writer(stream).writerows([head, *rows])
