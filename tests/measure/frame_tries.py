"""What could make a frame's way shorter: each idea beside the way as it is, in interleaved rounds on the same frames.

    python -m tests.measure.frame_tries FRAMES [--rounds 20]

FRAMES: the --out folder of `python -m convert.race.frames`. Prints a table; docs/performance.md says what was adopted.
Research use only, never a diagnosis.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from convert.race import ours
from convert.race.report import figures
from convert.race.rounds import Entry, race
from device.bundle import load_bundle
from device.capture import Frame
from device.capture.decoder import Decoder
from device.capture.pace import DEFAULT_FPS
from device.capture.pixels import GREY, Layout, Picture, reduction
from device.daemon import ASSESS_S
from device.judge import Judge
from device.over_time import OverTime
from device.quality import STEP, coloured_places
from device.region.region import Region, crop
from device.runtime import open_bundle

TRIES = {
    "as it is": "",
    "2 threads for the interpreter and OpenCV": "threads",
    "in colour each time, luma from that (as before)": "colour",
    "libjpeg's complaints not heard, colour never looked at": "deaf",
    "prepare with INTER_LINEAR (another model)": "linear",
    "a view instead of the region's copy": "view",
    "decoded at a quarter of its sides (loses detail)": "quarter",
}


def open_way(
    bundle: str, threads: int, region: list[int], frame: list[int], idea: str = ""
) -> Callable[[bytes], dict[str, Any]]:
    """As convert.race.ours, with one idea of TRIES."""
    if idea in ("", "threads"):
        return ours.open_way(bundle, 2 if idea else 1, region, frame)
    cv2.setNumThreads(1)
    loaded = load_bundle(Path(bundle))
    meta = loaded.meta
    least = (meta.preprocess.height, meta.preprocess.width)
    if idea == "linear":
        meta = replace(meta, preprocess=replace(meta.preprocess, interpolation="linear"))
    judge = Judge(open_bundle(loaded), meta, OverTime(), ASSESS_S)
    place, layout = Region(*region, frame[1], frame[0]), Layout("MJPG", *frame)
    decoder = Decoder(layout, (least[0] // 2, least[1] // 2) if idea == "quarter" else least)
    by = reduction(*frame, least)
    number = 0

    def decode(jpeg: bytes) -> Picture:
        if idea == "deaf":
            pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), GREY[by])
            return Picture(pixels, np.zeros((1, 1), bool), tuple(frame))
        if idea == "colour":
            pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), GREY[by] | cv2.IMREAD_COLOR)
            places = coloured_places(pixels[:: STEP * STEP // by])
            return Picture(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), places, tuple(frame))
        return decoder.picture(jpeg, number / DEFAULT_FPS)

    def verdict(jpeg: bytes) -> dict[str, Any]:
        nonlocal number
        at = number / DEFAULT_FPS
        found = decode(jpeg)
        pixels = crop(place, found.luma)
        if idea == "view":
            height, width = found.luma.shape
            x, y = place.x * width // frame[1], place.y * height // frame[0]
            pixels = found.luma[y : y + pixels.shape[0], x : x + pixels.shape[1]]
        shown = judge.judge(Frame(pixels, number, at, "", found.coloured), at, at)
        number += 1
        return {"class": meta.classes[int(shown.logits.argmax())], "verdict": shown.verdict.label}

    return verdict


def main(arguments: list[str]) -> int:
    """Race the ideas and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("frames", type=Path, help="--out of python -m convert.race.frames")
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args(arguments)
    told = json.loads((args.frames / "ways.json").read_text())["ours"]
    options = {name: told["options"][name] for name in ("region", "frame")} | {"script": str(Path(__file__).resolve())}
    entries = [
        Entry(name, 1, Path(sys.executable), told | {"options": options | {"idea": idea}}, lambda answers: None)
        for name, idea in TRIES.items()
    ]
    frames = args.frames / "frames"
    rows, _ = race(entries, frames, args.rounds, len(list(frames.glob("*.jpg"))))
    found = figures(rows, "as it is", np.mean)
    as_is = rows[0].answers
    print("| idea | ms | CPU ms | times as fast | same class |\n|---|---|---|---|---|")
    for row, one in zip(rows, found, strict=True):
        if row.why is not None:
            print(f"| {one['key']} | | | | {row.why} |")
            continue
        ratio = one["speedup"]
        same = np.mean([a["class"] == b["class"] for a, b in zip(row.answers, as_is, strict=True)])
        shown = f"{ratio['value']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"
        print(f"| {one['key']} | {one['ms']:.2f} | {one['cpu_ms']:.2f} | {shown} | {100 * same:.0f} % |")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
