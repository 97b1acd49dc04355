"""How well regions are found on drawn screens: `PYTHONPATH=. python tests/device/region_measure.py BUSI_FOLDER`.

Each screen is a layout of tests/device/screens.py of its own with a BUSI picture of its own; layouts 0 to 59 and the
pictures shown on them were looked at while the finder was made, so the default begins at 100 and takes others.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from screens import FPS, MOTIONS, Screen, draw_layout

from device.bundle import load_bundle
from device.capture.folder import list_pictures
from device.decide import decide
from device.preprocess import prepare, read_picture, to_luma
from device.quality import OK, assess
from device.region.find import Finder, Finding
from device.region.region import crop, overlap
from device.region.still import propose
from device.runtime import open_bundle
from device.shipped import default_bundle

LOOKED_AT = {layout * 61 % 780 for layout in range(60)}  # pictures, in natural order of their names
FRAMES = 23  # of each screen, 4.6 s


@dataclass(frozen=True)
class Row:
    """Of one screen: what was found, its overlap with the truth, pixels of writing in it, and three verdicts."""

    seed: int
    shape: str
    finding: Finding
    overlap: float
    patient: int
    text: int
    verdicts: tuple[tuple[str, float] | None, ...]  # whole, found, true: (state or label, P(malignant))


def screens(pictures: list[Path], first: int, count: int, motion: str) -> Iterator[Screen]:
    """`count` screens from layout `first` on, each with a picture of its own."""
    for number in range(first, first + count):
        yield Screen(draw_layout(number), to_luma(read_picture(pictures[number % len(pictures)])), motion)


def row(screen: Screen, finding: Finding, frame: np.ndarray, judged: Callable[[np.ndarray], tuple[str, float]]) -> Row:
    """Compare one finding with the truth, and the crops' verdicts."""
    found, true = finding.region, screen.region
    shown = [frame, None if found is None else crop(found, frame), crop(true, frame)]
    return Row(
        screen.layout.seed,
        screen.layout.shape,
        finding,
        0.0 if found is None else overlap(found, true),
        0 if found is None else int(crop(found, screen.patient_text).sum()),
        0 if found is None else int(crop(found, screen.text).sum()),
        tuple(None if pixels is None else judged(pixels) for pixels in shown),
    )


def judge_with_shipped() -> Callable[[np.ndarray], tuple[str, float]]:
    """pixels -> (state or label, P(malignant)) by the shipped model; P is that of the model also where refused."""
    bundle = load_bundle(default_bundle())
    model = open_bundle(bundle)

    def judged(pixels: np.ndarray) -> tuple[str, float]:
        luma = prepare(pixels, bundle.meta.preprocess)
        state, verdict = assess(luma, pixels, bundle.meta.familiar).state, decide(model.logits(luma), bundle.meta)
        return (verdict.label if state == OK else state), verdict.probabilities["malignant"]

    return judged


def say(name: str, rows: list[Row]) -> None:
    """One line of the table of regions."""
    found = [one for one in rows if one.finding.region is not None]
    seen = [one.overlap for one in found]
    overlaps = (
        [f"{value:.3f}" for value in (np.median(seen), np.percentile(seen, 10), min(seen))] if seen else ["-"] * 3
    )
    print(
        f"| {name} | {len(rows)} | {len(found)} | {' | '.join(overlaps)} | "
        f"{sum(one.patient > 0 for one in found)} | {sum(one.text > 0 for one in found)} |"
    )


def say_verdicts(name: str, rows: list[Row]) -> None:
    """One line of the table of verdicts."""
    refused = [f"{sum(v is not None and v[0] in _REFUSED for v in (one.verdicts[k] for one in rows))} of "
               f"{sum(one.verdicts[k] is not None for one in rows)}" for k in range(3)]  # fmt: skip
    both = [one.verdicts[1:] for one in rows if one.verdicts[1] is not None]
    heard = [pair for pair in both if not {pair[0][0], pair[1][0]} & _REFUSED]
    alike = sum(found[0] == true[0] for found, true in heard)
    apart = np.median([abs(found[1] - true[1]) for found, true in heard]) if heard else None
    print(f"| {name} | {' | '.join(refused)} | {alike} of {len(heard)} | {'-' if apart is None else f'{apart:.3f}'} |")


_REFUSED = {"blank", "too dark", "in colour", "unfamiliar"}


def main() -> int:
    """Measure and print two tables and the worst cases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("busi", type=Path)
    parser.add_argument("--first", type=int, default=100)
    parser.add_argument("--count", type=int, default=100)
    args = parser.parse_args()
    names = list_pictures(args.busi)
    pictures = [args.busi / name for n, name in enumerate(names) if n not in LOOKED_AT]
    pictures = pictures[3::7] + pictures[::7]
    judged = judge_with_shipped()
    rows: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for motion in MOTIONS:
        for screen in screens(pictures, args.first, args.count, motion):
            finder = Finder(screen.layout.width, screen.layout.height)
            for number in range(FRAMES):
                frame = screen.frame(number)
                finder.feed(frame, number / FPS)
            rows[motion, screen.layout.shape].append(row(screen, finder.finding(), frame, judged))
            if motion == "frozen":
                rows["one frame", screen.layout.shape].append(row(screen, propose(frame), frame, judged))
    print("| screens | number | region | median IoU | 10th percentile | lowest | patient text in | any writing in |")
    print("|---|---|---|---|---|---|---|---|")
    for (motion, shape), some in sorted(rows.items(), key=lambda item: item[0][::-1], reverse=True):
        say(f"{motion}, {shape}", some)
    print("\n| screens | whole refused | found refused | true refused | same verdict | median change of P |")
    print("|---|---|---|---|---|---|")
    for (motion, shape), some in sorted(rows.items(), key=lambda item: item[0][::-1], reverse=True):
        say_verdicts(f"{motion}, {shape}", some)
    print()
    for (motion, shape), some in rows.items():
        for one in some:
            if motion in ("sweep", "held") and (one.finding.region is None or one.overlap < 0.85 or one.patient):
                print(f"{motion}, {shape}, layout {one.seed}: {one.overlap:.2f}, patient {one.patient}: {one.finding}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
