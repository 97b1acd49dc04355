"""Pairs that a person has looked at: what the measure cannot see, or what it got wrong."""

import csv
from dataclasses import dataclass
from pathlib import Path

from device.errors import UserError

BUSI = Path(__file__).with_name("reviewed_busi.csv")
COLUMNS = ("name_a", "name_b", "pixels_a", "pixels_b", "decision", "why")
DECISIONS = ("same", "different")


@dataclass(frozen=True)
class Review:
    """One decision on two pictures; pixels_a and pixels_b: how their pixel hashes begin (16 hexadecimal digits)."""

    name_a: str
    name_b: str
    pixels_a: str
    pixels_b: str
    decision: str
    why: str


def read_reviews(path: Path) -> list[Review]:
    """Decisions from a CSV with COLUMNS; lines that begin with # are comments.

    Raises UserError: no such file, another kind of file, an unknown decision, a pixel hash that is none.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no UTF-8 text"
        raise UserError(f"{path}: not readable as a list of reviewed pairs ({reason}); check --reviewed.") from error
    reader = csv.DictReader(line for line in lines if line.strip() and not line.startswith("#"))
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise UserError(f"{path}: needs exactly the columns {', '.join(COLUMNS)}; this is another kind of file.")
    reviews = []
    for row in reader:
        if None in row or None in row.values():
            raise UserError(f"{path}: the line that begins with {row['name_a']!r} needs {len(COLUMNS)} cells.")
        if row["decision"] not in DECISIONS:
            raise UserError(f"{path}: the decision on {row['name_a']!r} must be same or different; correct it.")
        for column in ("pixels_a", "pixels_b"):
            if len(row[column]) != 16 or set(row[column]) - set("0123456789abcdef"):
                raise UserError(f"{path}: {row[column]!r} is not the first 16 digits of a pixel hash; correct it.")
        reviews.append(Review(**row))
    return reviews


def decided(reviews: list[Review], pixels: dict[str, str]) -> dict[tuple[str, str], Review]:
    """The decisions that concern this data set, by pair of names in sorted order.

    pixels: pixel hash of each picture. A decision counts only where both names are there with those very pixels: it
    says nothing about other pictures that happen to have the same names.
    """
    return {
        tuple(sorted((one.name_a, one.name_b))): one
        for one in reviews
        if pixels.get(one.name_a, "").startswith(one.pixels_a) and pixels.get(one.name_b, "").startswith(one.pixels_b)
    }
