"""`busi-kd device doctor`: is this machine fit to run the daemon, and what is to be done where it is not?

Each check looks and says what it found; it changes nothing. What it cannot find out is `unknown`, never `ok`. Functions
that read the system's files take `root`, a folder that stands before proc, sys, dev, etc, run and var.
"""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "problem", "unknown"]
STATES: tuple[State, ...] = ("ok", "note", "problem", "unknown")


@dataclass(frozen=True)
class Finding:
    """What a check found. name: of the check. says: one sentence. do: what a person can do; None where all is well.

    state: ok; note: works, and somebody should know; problem: does not work, or not for long; unknown: not to be told.
    """

    name: str
    state: State
    says: str
    do: str | None = None
