"""How much the recorder may take, and what goes when that is not enough.

The rule of a bedside tool is to lose nothing: what was not exported is never deleted by itself, and when there is no
room the next save is refused and says so. `when_full="oldest"` is for who would rather lose the oldest study.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from device.store import NotSaved, Stamp
from device.store.database import Study

ROW_BYTES = 128 * 1024  # what one save may add besides its picture: a row, audit entries, the write-ahead log's pages


@dataclass(frozen=True)
class Limits:
    """max_bytes: pictures and rows together. max_age_days: older studies go (None: none does). reserve_bytes: of the
    file system, always left free. when_full: refuse, or let the oldest study go."""

    max_bytes: int = 4_000_000_000
    max_age_days: float | None = 90.0
    reserve_bytes: int = 500_000_000
    when_full: Literal["refuse", "oldest"] = "refuse"

    def __post_init__(self) -> None:
        if self.max_bytes <= 0 or self.reserve_bytes < 0 or (self.max_age_days is not None and self.max_age_days <= 0):
            raise ValueError("max_bytes and max_age_days must be above 0, reserve_bytes 0 or more.")
        if self.when_full not in ("refuse", "oldest"):
            raise ValueError(f"when_full is 'refuse' or 'oldest', not {self.when_full!r}.")


@dataclass(frozen=True)
class Sized:
    """A study and the bytes of its pictures."""

    study: Study
    bytes: int


def may_go(found: list[Sized], limits: Limits, open_study: str | None) -> list[Sized]:
    """What may be deleted when there is no room, in that order: exported studies, oldest first, then, where the limits
    say so, the others. Never the open one."""
    closed = [one for one in found if one.study.id != open_study]
    exported = [one for one in closed if one.study.exported is not None]
    others = [one for one in closed if one.study.exported is None]
    return exported + (others if limits.when_full == "oldest" else [])


def too_old(found: list[Sized], limits: Limits, now: Stamp, open_study: str | None) -> list[Sized]:
    """What may go because of its age. Only where the clock is known to be set, now and when the study was made: a clock
    that jumps ahead by years must not delete anything."""
    if limits.max_age_days is None or now.synchronised is not True:
        return []
    before = now.utc - timedelta(days=limits.max_age_days)
    return [
        one
        for one in may_go(found, limits, open_study)
        if one.study.clock_synchronised is True and datetime.fromisoformat(one.study.begun) < before
    ]


def make_room(
    found: list[Sized], limits: Limits, open_study: str | None, needed: int, used: int, free: int, lent: int
) -> list[Sized]:
    """What has to be deleted before `needed` bytes are written; mostly nothing.

    used: bytes of the store, free: of its file system, lent: what exports hold of that until they have ended; for as
    long they may take of the reserve, and no study goes for them. Raises NotSaved when deleting what may go would not
    be enough, or while an export takes the last room: then nothing is to be deleted at all.
    """
    over_size = used + needed - limits.max_bytes
    over_free = needed + limits.reserve_bytes - free - lent
    missing = max(over_size, over_free)
    chosen, gained = [], 0
    for one in may_go(found, limits, open_study):
        if gained >= missing:
            break
        chosen.append(one)
        gained += one.bytes
    if gained < missing:
        raise NotSaved(_refusal(limits, over_size > over_free, free))
    if free + gained < needed:
        raise NotSaved("Not saved: an export takes the last room on the card; save again once it has ended.")
    return chosen


def _refusal(limits: Limits, by_size: bool, free: int) -> str:
    why = (
        f"the studies have reached their bound of {limits.max_bytes / 1e6:.0f} MB"
        if by_size
        else f"only {free / 1e6:.0f} MB are free and {limits.reserve_bytes / 1e6:.0f} MB of them stay in reserve"
    )
    kept = "no study that was exported is left to delete" if limits.when_full == "refuse" else "nothing may be deleted"
    return f"Not saved: {why}, and {kept}; export studies and delete them, or free room on the card."
