"""How many pictures are unfamiliar to the shipped models when they are smaller than the input (docs/judgement.md).

python -m tests.measure.enlarged BUSI [--side 128]
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from device.bundle import Meta, load_bundle
from device.capture.folder import list_pictures
from device.familiar import score
from device.preprocess import prepare, read_picture, to_luma
from device.shipped import shipped


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pictures", type=Path, help="folder of pictures; masks (*_mask*) are left out")
    parser.add_argument("--side", type=int, default=128, help="pixels of the square that each is brought to")
    args = parser.parse_args()
    names = [name for name in list_pictures(args.pictures) if "_mask" not in str(name)]
    lumas = [to_luma(read_picture(args.pictures / name)) for name in names]
    small = [cv2.resize(luma, (args.side, args.side), interpolation=cv2.INTER_AREA) for luma in lumas]
    for folder in shipped():
        meta = load_bundle(folder).meta
        for what, pictures in (("as they are", lumas), (f"{args.side} x {args.side}", small)):
            print(f"{meta.name}, {what}: {told(pictures, meta)}")


def told(pictures: list[np.ndarray], meta: Meta) -> str:
    """Of how many the score is above the model's limit, and the median score."""
    scores = [score(prepare(luma, meta.preprocess), meta.familiar) for luma in pictures]
    refused = sum(value > meta.familiar.limit for value in scores)
    return f"{refused} of {len(scores)} unfamiliar, median {np.median(scores):.0f}, limit {meta.familiar.limit:.0f}"


if __name__ == "__main__":
    main()
