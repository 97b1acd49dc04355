"""The report's part on masks: how near a file's outlines are to PyTorch's and to the truth, and where they are not."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from convert.verify.masks import MaskParity, Outlined
from device import RESEARCH_NOTICE
from device.preprocess import read_picture, to_luma
from train.audit.sheets import HEIGHT, WIDTH, Tile, write_sheets
from train.evaluation.intervals import percent, signed

SHEETS = "masks"
_SHOWN = 4  # pictures of each file in the sheet
_PYTORCH, _FILE = (0, 214, 255), (255, 220, 0)  # BGR: yellow, cyan


@dataclass(frozen=True)
class FileMasks:
    """One file's masks. shown: those of the worst pictures by name, (H, W) bool."""

    variant: str
    parity: MaskParity
    shown: dict[str, np.ndarray]


def section(files: list[FileMasks], sheets: list[str]) -> list[str]:
    """Markdown lines; none without masks."""
    if not files:
        return []
    lines = [
        "",
        "## Masks",
        "",
        f"Against PyTorch's on {files[0].parity.pictures} held-out pictures of the classes whose outlines it has "
        "learnt, at each picture's own size, cut at a probability of 0.5; percent [95 % interval over groups]. Two "
        "empty masks count 100 and stand in a column of their own, an empty one beside one that is not counts 0. "
        "Truth: the outlines drawn in the data set, on the lesions of the test part; minus PyTorch: on all held-out "
        "lesions, paired, percentage points.",
        "",
        "| file | Dice | IoU | both empty | one empty | Dice where something is outlined | Dice with the truth "
        "| minus PyTorch |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in files:
        found = one.parity
        if found.both_empty is None:
            lines.append(f"| {one.variant} | not finite | | | | | | |")
            continue
        cells = [percent(found.dice), percent(found.iou), str(found.both_empty), str(found.one_empty)]
        cells += [percent(found.outlined_dice), percent(found.truth), signed(found.difference)]
        lines.append(f"| {one.variant} | {' | '.join(cells)} |")
    return [*lines, *_worst(files), *(line for sheet in sheets for line in ("", f"![Masks that differ most]({sheet})"))]


def _worst(files: list[FileMasks]) -> list[str]:
    rows = [(one.variant, picture) for one in files for picture in one.parity.worst]
    if not rows:
        return []
    return [
        "",
        "The pictures whose masks differ most, of each file; areas in percent of the picture:",
        "",
        "| file | picture | Dice | IoU | area, PyTorch | area, file |",
        "|---|---|---|---|---|---|",
        *(
            f"| {variant} | {row.picture} | {100 * row.dice:.1f} | {100 * row.iou:.1f} | {100 * row.was:.2f} | "
            f"{100 * row.became:.2f} |"
            for variant, row in rows
        ),
    ]


def write_mask_sheets(folder: Path, files: list[FileMasks], about: Outlined) -> list[str]:
    """Contact sheets of the worst pictures of each file, both masks drawn; returns the file names, none without any."""
    place = {picture.name: number for number, picture in enumerate(about.pictures)}
    tiles = []
    for one in files:
        for row in one.parity.worst[:_SHOWN]:
            number = place[row.picture]
            drawn = _drawn(about.pictures[number].path, about.reference[number].mask(), one.shown[row.picture])
            tiles.append(Tile((drawn,), ((row.picture, f"{one.variant}: Dice {100 * row.dice:.1f}"),)))
    title = f"Masks that differ most. Yellow: PyTorch. Cyan: the file. {RESEARCH_NOTICE}"
    return write_sheets(folder, SHEETS, title, tiles)


def _drawn(path: Path, reference: np.ndarray, found: np.ndarray) -> np.ndarray:
    """(h, w, 3) BGR of a picture, as large as its place on the sheet, with the edges of both masks."""
    luma = to_luma(read_picture(path))
    scale = min((WIDTH - 12) / luma.shape[1], (HEIGHT - 4) / luma.shape[0])
    size = (max(1, round(luma.shape[1] * scale)), max(1, round(luma.shape[0] * scale)))
    tile = cv2.cvtColor(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), cv2.COLOR_GRAY2BGR)
    for mask, colour in ((reference, _PYTORCH), (found, _FILE)):
        small = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        lines, _ = cv2.findContours(small, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(tile, lines, -1, colour, 1)
    return tile
