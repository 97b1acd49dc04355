"""The contact sheets of one audit: what stands on which."""

from pathlib import Path

import numpy as np

from device.preprocess import read_picture
from train.audit.flags import FLAGS
from train.audit.relate import Pair
from train.audit.report import Audit
from train.audit.sheets import Tile, write_sheets

DOUBTFUL_SHOWN = 60


def draw_all(folder: Path, audit: Audit) -> list[str]:
    """Write all sheets into `folder`; returns their file names."""
    found = audit.relations
    by_score = sorted(found.pairs, key=lambda pair: pair.similarity or 0.0)
    beyond = [pair for pair in by_score if pair.relation in ("verified", "reviewed")]
    kinds = (
        (
            "conflicts",
            "Groups with contradicting labels",
            [_group(audit, inside) for inside in audit.conflicts().values()],
        ),
        ("beyond_phash", "Pairs that pHash does not see", [_pair(audit, pair) for pair in beyond]),
        ("doubtful", "Doubtful pairs, not in the groups", [_pair(audit, p) for p in found.doubtful[:DOUBTFUL_SHOWN]]),
        ("called_different", "Pairs that a person called different", [_pair(audit, pair) for pair in found.refused]),
        ("pairs", "All near-copies, least similar first", [_pair(audit, pair) for pair in by_score]),
        *((flag, flag.replace("_", " ").capitalize(), _flagged(audit, flag)) for flag in FLAGS),
    )
    return [file for name, title, tiles in kinds for file in write_sheets(folder, name, title, tiles)]


def _caption(audit: Audit, index: int) -> str:
    picture = audit.folder.pictures[index]
    return picture.name if picture.label in picture.name else f"{picture.label}: {picture.name}"


def _image(audit: Audit, index: int) -> np.ndarray:
    """The small picture that the search kept; a coloured one is read again."""
    if audit.looks[index].colour:
        return read_picture(audit.folder.pictures[index].path)
    return audit.looks[index].features.grey


def _pair(audit: Audit, pair: Pair) -> Tile:
    label = "" if audit.labels[pair.a] == audit.labels[pair.b] else "OPPOSITE LABELS"
    score = "not aligned" if pair.similarity is None else f"similarity {pair.similarity:.2f}"
    seconds = (f"{pair.relation or 'doubtful'}, {score}, pHash {pair.hamming}", label or pair.transform())
    both = (pair.a, pair.b)
    return Tile(
        tuple(_image(audit, index) for index in both),
        tuple((_caption(audit, index), second) for index, second in zip(both, seconds)),
    )


def _group(audit: Audit, inside: list[int]) -> Tile:
    number = audit.relations.groups[inside[0]]
    shown = inside[:7]  # what a page is wide
    return Tile(
        tuple(_image(audit, index) for index in shown),
        tuple((_caption(audit, index), f"group {number}, {len(inside)} pictures") for index in shown),
    )


def _flagged(audit: Audit, flag: str) -> list[Tile]:
    tiles = []
    for index, (row, one) in enumerate(zip(audit.flags, audit.looks)):
        if row[flag]:
            note = {
                "several_masks": f"{len(audit.folder.pictures[index].masks)} masks",
                "unusual_size": f"{one.width} x {one.height} pixels",
                "colour": f"{100 * one.coloured:.1f} % coloured",
                "calipers": f"{one.calipers} marks",
            }.get(flag, " | ".join(one.text or ()))
            tiles.append(Tile((_image(audit, index),), ((_caption(audit, index), note[:38]),)))
    return tiles
