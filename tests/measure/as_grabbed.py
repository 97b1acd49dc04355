"""What a grabber's format, the screen's size and decoding no more than is needed change in the verdicts.

    python -m tests.measure.as_grabbed BUSI [--every 1] [--bundle DIR]

Each picture is drawn into a dark screen, encoded as a grabber sends it, decoded by device.capture.pixels, cut to its
region and judged; then it is compared with what the picture alone comes to. `whole`: every pixel is decoded; `screen`:
as few as when the daemon looks for the region; `least`: as few as when it judges the whole frame. Nothing is written.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from device.bench_stream import BACKGROUND, FORMATS, encode, region_on
from device.bundle import Meta, load_bundle
from device.capture import v4l2
from device.capture.folder import list_pictures
from device.capture.pixels import Layout, picture
from device.decide import decide
from device.preprocess import prepare, read_picture, to_luma
from device.region import screen
from device.region.region import scaled
from device.runtime import Model, open_bundle
from device.shipped import default_bundle

SIZES = ((480, 640), (720, 1280), (1080, 1920))
WAYS = {"whole": None, "screen": screen.LEAST, "least": v4l2.LEAST}


def judged(pixels: np.ndarray, model: Model, meta: Meta) -> tuple[str, str, float]:
    """Label, verdict and P(malignant) of a picture, (H, W) or (H, W, 3) uint8."""
    logits = model.logits(prepare(pixels, meta.preprocess))
    verdict = decide(logits, meta)
    return meta.classes[int(np.argmax(logits))], verdict.label, verdict.probabilities["malignant"]


def as_grabbed(pixels: np.ndarray, size: tuple[int, int], pixel_format: str, way: str) -> np.ndarray:
    """(h, w) uint8 luma: the picture as it comes out of a grabber's frame of that size. way: of WAYS."""
    region = region_on(size, pixels.shape[:2])
    shown = np.full((*size, 3), BACKGROUND, np.uint8)
    inner = cv2.resize(to_luma(pixels), (region.width, region.height), interpolation=cv2.INTER_CUBIC)
    shown[region.y : region.bottom, region.x : region.right] = inner[:, :, None]
    least = WAYS[way]
    luma = picture(encode(shown, pixel_format), Layout(pixel_format, *size), least or size, least is None).luma
    part = scaled(region, luma.shape[1], luma.shape[0])
    return luma[part.y : part.bottom, part.x : part.right]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pictures", type=Path, help="folder of pictures; masks (*_mask*) are left out")
    parser.add_argument("--every", type=int, default=1, help="take every so-many-th picture")
    parser.add_argument("--bundle", type=Path, default=default_bundle())
    args = parser.parse_args()
    bundle = load_bundle(args.bundle)
    model, meta = open_bundle(bundle), bundle.meta
    names = [name for name in list_pictures(args.pictures) if "_mask" not in str(name)][:: args.every]
    pictures = [read_picture(args.pictures / name) for name in names]
    alone = [judged(pixels, model, meta) for pixels in pictures]
    print(f"{len(pictures)} pictures of {args.pictures}, {meta.name} {bundle.id}, {meta.variant}")
    print("format  size       decoded  same label  same verdict  P(malignant) differs: median  p95")
    for size in SIZES:
        for pixel_format in FORMATS:
            for way in WAYS:
                found = [judged(as_grabbed(pixels, size, pixel_format, way), model, meta) for pixels in pictures]
                same = [100 * np.mean([a[n] == b[n] for a, b in zip(alone, found)]) for n in (0, 1)]
                moved = np.abs([a[2] - b[2] for a, b in zip(alone, found)])
                print(
                    f"{pixel_format:<7} {size[1]}x{size[0]:<6} {way:<8} {same[0]:9.1f} %"
                    f" {same[1]:11.1f} %  {np.median(moved):28.4f} {np.percentile(moved, 95):6.3f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
