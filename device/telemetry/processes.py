"""CPU time and memory of the calling process and of its children, the source's process above all: proc(5)."""

import os
import resource
from dataclasses import dataclass
from pathlib import Path

from device.telemetry import read

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Memory:
    """mb: MiB of this process and its living children together. by: how they were counted.

    "pss": a page that n processes share counts 1/n in each (smaps_rollup), so the sum is what they take. "rss": each
    process counts what it shares as its own, so the sum is too high.
    """

    mb: float
    by: str


def children(root: Path) -> list[str] | None:
    """Process ids of this process's living children; None in kernels without CONFIG_PROC_CHILDREN."""
    lists = [read.text(task / "children") for task in read.folders(root / "proc/self/task", "*")]
    known = [text for text in lists if text is not None]  # a thread may end meanwhile
    return [word for text in known for word in text.split() if word.isdecimal()] if known else None


def ticks(root: Path, pid: str) -> float | None:
    """User and system ticks of a process and of the children it has reaped."""
    text = read.text(root / "proc" / pid / "stat") or ""
    words = text.rpartition(")")[2].split()  # the name before it may hold blanks and brackets
    found = [read.number(word) for word in words[11:15]]
    return None if len(found) < 4 or None in found else sum(found)


def ticks_of_all(root: Path) -> float | None:
    """`ticks` of this process and of its living children, as far as they are known."""
    own = ticks(root, "self")
    return None if own is None else own + sum(ticks(root, child) or 0.0 for child in children(root) or ())


def memory(root: Path) -> Memory | None:
    """Memory of this process and its living children; None when the kernel does not tell of all of them."""
    below = children(root)
    if below is None:
        return None
    pids = ["self", *below]
    for by, file, key in (("pss", "smaps_rollup", "Pss"), ("rss", "status", "VmRSS")):
        found = [read.kib_as_mib(root / "proc" / pid / file, key) for pid in pids]
        # A child that has just ended has neither. By PSS all or none: half of each would be no sum of anything.
        known = [value for value in found if value is not None]
        if found[0] is not None and (by == "rss" or len(known) == len(found)):
            return Memory(sum(known), by)
    return None


def cpu_seconds(root: Path = Path("/")) -> tuple[float, float | None]:
    """CPU seconds so far (of this process, of its children: those that ended and the living ones, to 10 ms).

    The second is None where the kernel does not list living children.
    """
    own, ended = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    below = children(root)
    if below is None:
        return own.ru_utime + own.ru_stime, None
    # The ones that a living child has reaped are in its ticks, not in RUSAGE_CHILDREN yet.
    living = sum(ticks(root, child) or 0.0 for child in below) / TICKS_PER_S
    return own.ru_utime + own.ru_stime, ended.ru_utime + ended.ru_stime + living
