"""Contact sheets: the pairs, conflicts and flagged pictures to look at, as pages of thumbnails."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT, LINE = 250, 210, 16  # pixels of a thumbnail's place and of a line of text above it
PAGE = 1750  # pixels that a page may be wide
ROWS = 5
_BACK, _TEXT, _TITLE, _FRAME = (24, 26, 30), (222, 226, 232), (255, 208, 92), (70, 76, 86)


@dataclass(frozen=True)
class Tile:
    """Pictures that stand side by side in one frame. images: (h, w) grey or (h, w, 3) BGR uint8. captions: two lines
    for each image."""

    images: tuple[np.ndarray, ...]
    captions: tuple[tuple[str, str], ...]


def write_sheets(folder: Path, name: str, title: str, tiles: Sequence[Tile]) -> list[str]:
    """Write `NAME_01.png`, `NAME_02.png` ... into `folder`; returns the file names, none without tiles."""
    pages: list[list[list[Tile]]] = []
    rows: list[list[Tile]] = []
    for tile in tiles:
        used = sum(len(one.images) for one in rows[-1]) if rows else 0
        if not rows or (used + len(tile.images)) * WIDTH > PAGE:
            rows.append([])
        rows[-1].append(tile)
    pages = [rows[start : start + ROWS] for start in range(0, len(rows), ROWS)]
    files = []
    for number, page in enumerate(pages, 1):
        file = f"{name}_{number:02d}.png"
        heading = title + (f" (page {number} of {len(pages)})" if len(pages) > 1 else "")
        _draw(page, heading).save(folder / file, compress_level=3)
        files.append(file)
    return files


def _draw(rows: list[list[Tile]], title: str) -> Image.Image:
    cell = HEIGHT + 2 * LINE + 12
    broad = max(sum(len(tile.images) for tile in row) for row in rows) * WIDTH
    page = Image.new("RGB", (max(broad, 900) + 12, 34 + cell * len(rows) + 6), _BACK)
    draw = ImageDraw.Draw(page)
    small, large = ImageFont.load_default(12), ImageFont.load_default(17)
    draw.text((8, 7), title, font=large, fill=_TITLE)
    for line, row in enumerate(rows):
        left, top = 6, 34 + line * cell
        for tile in row:
            right = left + WIDTH * len(tile.images)
            draw.rectangle((left + 1, top + 1, right - 3, top + cell - 5), outline=_FRAME)
            for image, (first, second) in zip(tile.images, tile.captions):
                draw.text((left + 6, top + 4), first, font=small, fill=_TEXT)
                draw.text((left + 6, top + 4 + LINE), second, font=small, fill=_TITLE)
                page.paste(_thumbnail(image), (left + 5, top + 6 + 2 * LINE))
                left += WIDTH
    return page


def _thumbnail(image: np.ndarray) -> Image.Image:
    scale = min((WIDTH - 12) / image.shape[1], (HEIGHT - 4) / image.shape[0])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return Image.fromarray(small if small.ndim == 2 else np.ascontiguousarray(small[:, :, ::-1])).convert("RGB")
