"""How much motion blur the state `blurred` recognises (docs/judgement.md).

    python -m tests.measure.blur BUSI [--every 3]

Pictures are moved by a line of so many pixels, up or sideways, as they are stored; then device.quality.edges of the
model's input is compared with the limit.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from device.bundle import load_bundle
from device.capture.folder import list_pictures
from device.preprocess import prepare, read_picture, to_luma
from device.quality import edges, least_edges
from device.shipped import default_bundle


def line(pixels: int, up: bool) -> np.ndarray:
    """The kernel of a movement by so many pixels, an odd number, at even speed: (n, n) float32, sum 1."""
    kernel = np.zeros((pixels, pixels), np.float32)
    kernel[(slice(None), pixels // 2) if up else (pixels // 2, slice(None))] = 1 / pixels
    return kernel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pictures", type=Path, help="folder of pictures; masks (*_mask*) are left out")
    parser.add_argument("--every", type=int, default=3, help="move every so-many-th picture")
    args = parser.parse_args()
    meta = load_bundle(default_bundle()).meta
    names = [name for name in list_pictures(args.pictures) if "_mask" not in str(name)]
    pictures = [to_luma(read_picture(args.pictures / name)) for name in names]
    limit = least_edges((meta.preprocess.height, meta.preprocess.width))
    unmoved = [edges(prepare(luma, meta.preprocess)) for luma in pictures]
    print(f"{len(pictures)} pictures, unmoved: least {min(unmoved):.3f}, median {np.median(unmoved):.3f}")
    print(f"below the limit of {limit:.3f}, of {len(pictures[:: args.every])} pictures that were moved:")
    for up, lengths in ((True, (9, 15, 25)), (False, (15, 25, 41))):
        for pixels in lengths:
            moved = (cv2.filter2D(luma, -1, line(pixels, up)) for luma in pictures[:: args.every])
            share = np.mean([edges(prepare(luma, meta.preprocess)) < limit for luma in moved])
            print(f"{'up' if up else 'sideways':<9} {pixels:3} pixels  {100 * share:5.1f} %")


if __name__ == "__main__":
    main()
