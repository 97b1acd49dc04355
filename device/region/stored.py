"""The regions of a machine's sources, in one JSON file: kept over a restart, and dropped when they no longer fit.

A region belongs to a source, as the caller names it (`v4l2 MacroSilicon 534d:2109`), at one frame size. It was found,
confirmed by hand or set by hand; what a hand has done is not overwritten by what is found. With it stands a signature
of the screen round it (device/region/furniture.py), of which nothing can be read.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np

from device import files
from device.errors import UserError
from device.region import furniture
from device.region.region import Region, parse

FILE = Path("/var/lib/busi-kd/regions.json")
SCHEMA = 1
MOST = 64  # regions in one file
MOST_NAME = 200  # characters of a source's name
MOST_BYTES = 256 * 1024
State = Literal["found", "confirmed by hand", "set by hand"]
Key = tuple[str, int, int]  # source, frame width, frame height


@dataclass(frozen=True)
class Stored:
    """One source's region. signature: of the screen round it as it was stored; None when no frame was at hand."""

    source: str
    region: Region
    state: State
    signature: str | None = None

    def __post_init__(self) -> None:
        if not 0 < len(self.source) <= MOST_NAME or not self.source.isprintable() or self.source != self.source.strip():
            raise ValueError(f"a source's name has 1 to {MOST_NAME} characters in one line, not {self.source[:80]!r}.")
        if self.state not in get_args(State):
            raise ValueError(f"a region is {', '.join(get_args(State))}, not {self.state!r}.")
        digits = "" if self.signature is None else self.signature
        if self.signature is not None and (len(digits) != furniture.LENGTH or set(digits) - set("0123456789abcdef")):
            raise ValueError(f"a signature has {furniture.LENGTH} hexadecimal digits.")

    @property
    def key(self) -> Key:
        """What it is stored by."""
        return self.source, self.region.frame_width, self.region.frame_height

    @property
    def by_hand(self) -> bool:
        """A person has set it or looked at it."""
        return self.state != "found"

    def no_longer_valid(self, luma: np.ndarray) -> str | None:
        """Why it does not fit this full frame, (H, W) uint8 luma, in words; None while it does."""
        region = self.region
        if luma.shape != (region.frame_height, region.frame_width):
            return (
                f"frames are {luma.shape[1]}x{luma.shape[0]} now, the region was stored for "
                f"{region.frame_width}x{region.frame_height}"
            )
        return None if self.signature is None else furniture.changed(luma, region, self.signature)

    def still_valid(self, luma: np.ndarray) -> bool:
        """Whether it fits this full frame, (H, W) uint8 luma."""
        return self.no_longer_valid(luma) is None

    def signed(self, luma: np.ndarray) -> "Stored":
        """The same with the signature of this full frame. Raises ValueError for a frame of another size."""
        return replace(self, signature=furniture.signature(luma, self.region))


def load(path: Path = FILE) -> Mapping[Key, Stored]:
    """All regions of a file, in the order they were stored; none where there is no file.

    Raises UserError when the file cannot be read or is damaged: a region that is wrong could let a name through.
    """
    try:
        with open(path, "rb") as stream:
            data = stream.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return MappingProxyType({})
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); correct its permissions.") from error
    try:
        if len(data) > MOST_BYTES:
            raise ValueError("it is too large")
        read = json.loads(data)
        if not isinstance(read, dict) or set(read) != {"schema", "regions"} or read["schema"] != SCHEMA:
            raise ValueError(f"it is not of schema {SCHEMA}")
        if not isinstance(read["regions"], list) or len(read["regions"]) > MOST:
            raise ValueError(f"it does not list at most {MOST} regions")
        entries = [_entry(one) for one in read["regions"]]
        kept = {one.key: one for one in entries}
        if len(kept) != len(entries):
            raise ValueError("a source stands in it twice")
    except (ValueError, UserError, RecursionError) as error:  # JSON and its encoding raise ValueError
        raise UserError(
            f"{path}: is damaged ({error}); delete it, then find or set the regions again "
            "(`busi-kd device region find` or `set`)."
        ) from error
    return MappingProxyType(kept)


def store(new: Stored, path: Path = FILE) -> Stored:
    """Keep `new` in place of what stood for its source and frame size, and return what stands there then.

    Where a hand has set or confirmed the same region's source, a found one changes nothing. The file is written whole.
    When it is full the oldest found one goes. Raises UserError when it is damaged or full of regions by hand, OSError
    when it cannot be written.
    """
    kept = dict(load(path))
    old = kept.get(new.key)
    if old is not None and old.by_hand and not new.by_hand:
        return old
    kept.pop(new.key, None)
    if len(kept) >= MOST:
        oldest = next((key for key, one in kept.items() if not one.by_hand), None)
        if oldest is None:
            raise UserError(f"{path}: holds {MOST} regions; remove one first (`busi-kd device region clear`).")
        del kept[oldest]
    kept[new.key] = new
    _write(path, kept)
    return new


def clear(key: Key, path: Path = FILE) -> bool:
    """Forget the region of that source and frame size; False when there was none. Raises as `store` does."""
    kept = dict(load(path))
    if kept.pop(key, None) is None:
        return False
    _write(path, kept)
    return True


def _entry(read: object) -> Stored:
    if not isinstance(read, dict) or set(read) != {"source", "region", "state", "signature"}:
        raise ValueError("an entry does not have source, region, state and signature")
    for name, value in read.items():
        if not isinstance(value, str) and not (name == "signature" and value is None):
            raise ValueError(f"{name} is no text")
    return Stored(read["source"], parse(read["region"]), read["state"], read["signature"])


def _write(path: Path, kept: Mapping[Key, Stored]) -> None:
    entries = [
        {"source": one.source, "region": str(one.region), "state": one.state, "signature": one.signature}
        for one in kept.values()
    ]
    files.write_json(path, {"schema": SCHEMA, "regions": entries})
