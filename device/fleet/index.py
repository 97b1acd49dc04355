"""What an update server says: which bundle is the newest. A static web server, and one signed file (docs/fleet.md).

`index.json.sig` is the Ed25519 signature of index.json's bytes by the maker of the bundles (device/signing.py). Its
number grows with every index, and a unit keeps the highest that it has seen of an address: an old index, validly signed
once, cannot be played again (the roll-back attack of Samuel et al., "Survivable Key Compromise in Software Update
Systems", CCS 2010, whose framework TUF does more than a single maker needs).
"""

import datetime
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from device import __version__, files, schema, signing
from device.errors import Refused, UserError

SCHEMA_VERSION = 1
KIND = "busi-kd-models"
INDEX_FILE, SIGNATURE_FILE = "index.json", "index.json.sig"
MAX_INDEX_BYTES = 1 << 16
MAX_BUNDLE_BYTES = 200_000_000
MAX_ADDRESSES = 16
_VERSION = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){0,3}")
_PATH = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


@dataclass(frozen=True)
class Entry:
    """A bundle on the server. path: of its archive, below the index's own address; bytes, sha256: of the archive.

    id, name, variant, created: as the bundle itself says. minimum_version: of busi-kd, such as 0.2.
    """

    id: str
    name: str
    variant: str
    created: str
    path: str
    bytes: int
    sha256: str
    minimum_version: str

    def __post_init__(self) -> None:
        for name, pattern in (("id", r"[0-9a-f]{12}"), ("sha256", r"[0-9a-f]{64}")):
            if re.fullmatch(pattern, getattr(self, name)) is None:
                raise ValueError(f"the key {name!r} must match {pattern}.")
        if len(self.path) > 200 or _PATH.fullmatch(self.path) is None:
            raise ValueError("the key 'path' must name a file below the index.")
        if not 0 < self.bytes <= MAX_BUNDLE_BYTES:
            raise ValueError(f"the key 'bytes' must lie in 1..{MAX_BUNDLE_BYTES}, not {self.bytes}.")
        if _VERSION.fullmatch(self.minimum_version) is None:
            raise ValueError("the key 'minimum_version' must be numbers with points between.")
        moment(self.created)


@dataclass(frozen=True)
class Index:
    """The content of index.json. sequence: higher in every index of an address. percent: of the units, 0 to 100."""

    schema_version: int
    kind: Literal["busi-kd-models"]
    notice: str
    sequence: int
    created: str
    percent: int
    bundle: Entry

    def __post_init__(self) -> None:
        if not 0 < self.sequence < 2**53:
            raise ValueError("the key 'sequence' must lie in 1..2^53.")
        if not 0 <= self.percent <= 100:
            raise ValueError(f"the key 'percent' must lie in 0..100, not {self.percent}.")
        moment(self.created)


def moment(text: str) -> datetime.datetime:
    """A time of ISO 8601 with its offset from UTC. Raises ValueError."""
    found = datetime.datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"the time {text!r} has no offset from UTC.")
    return found


def read(written: bytes, signature: bytes, where: str, trusted: tuple[Path, ...]) -> Index:
    """Check the signature, then read. where: names the index in messages; trusted: folders of keys.

    Raises signing.NotTrusted where no trusted key signed these bytes, and UserError where they are no index.
    """
    if signing.signer(written, signature, trusted) is None:
        places = " and ".join(map(str, trusted))
        raise signing.NotTrusted(
            f"{where}: signed by none of the keys in {places}, or altered since; nothing was installed. Is the address "
            "right, and its maker's public key there?"
        )
    matching = "update busi-kd, or publish with the matching one"
    return schema.parse(Index, written, where, SCHEMA_VERSION, "publish it again", matching)


def new_enough(entry: Entry) -> bool:
    """Whether this software is at least as new as the bundle asks."""

    def numbers(version: str) -> list[int]:
        found = [int(part) for part in re.match(r"[0-9.]+", version)[0].strip(".").split(".")]
        return found + [0] * (4 - len(found))

    return numbers(__version__) >= numbers(entry.minimum_version)


def in_rollout(unit: str, entry: Entry, percent: int) -> bool:
    """Whether this unit is among the first `percent` of a hundred for this bundle.

    By SHA-256 of both, so that the order of units is another one for each bundle, and who is in at 10 is in at 50.
    """
    drawn = int.from_bytes(hashlib.sha256(f"{entry.id}:{unit}".encode()).digest()[:8], "big")
    return drawn * 100 < percent << 64


class Seen:
    """The highest index seen of each address, in a file: number and SHA-256. Of MAX_ADDRESSES the latest are kept."""

    def __init__(self, path: Path) -> None:
        """Read it. Raises UserError where it is there and not readable: forgetting would let an old index in."""
        self._path = path
        try:
            data = json.loads(path.read_bytes())
            self._seen = {str(at): (int(one["sequence"]), str(one["sha256"])) for at, one in data.items()}
        except FileNotFoundError:
            self._seen = {}
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(
                f"{path}: cannot be read ({' '.join(str(error).split())}); remove it if the update server is trusted "
                "to have sent nothing old meanwhile."
            ) from error

    def take(self, address: str, written: bytes, index: Index) -> None:
        """Note it. Raises Refused for an index that is older than one seen before, or another of the same number."""
        number, digest = self._seen.get(address, (0, ""))
        found = hashlib.sha256(written).hexdigest()
        if index.sequence < number or (index.sequence == number and found != digest):
            raise Refused(
                f"{address}: sends index {index.sequence}, but {'another ' if index.sequence == number else ''}"
                f"{number} was seen before: somebody plays an old one again, or the server was set up anew; in that "
                f"case remove {self._path}. Nothing was installed."
            )
        if (number, digest) == (index.sequence, found):
            return
        self._seen.pop(address, None)
        self._seen[address] = (index.sequence, found)
        kept = list(self._seen.items())[-MAX_ADDRESSES:]
        files.write_json(self._path, {at: {"sequence": one, "sha256": digest} for at, (one, digest) in kept})
