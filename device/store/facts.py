"""What is known when something is saved, as the database's columns have it."""

import math
from dataclasses import dataclass
from typing import Any

from device import __version__
from device.judge import Snapshot


@dataclass(frozen=True)
class Origin:
    """What made the verdicts. classes: in the order of the logits. settings: plain data, all that formed them."""

    model: str
    bundle: str
    classes: tuple[str, ...]
    settings: dict[str, Any]
    synthetic: bool | None
    software: str = __version__


def facts_of(snapshot: Snapshot) -> dict[str, Any]:
    """The columns of a judged frame. Its name is left out: a file's name may hold a patient's."""
    belief, verdict = snapshot.belief, snapshot.verdict
    unusual = snapshot.quality.unusual
    return {
        "sequence": snapshot.sequence,
        "captured": snapshot.captured,
        "scene": belief.scene,
        "frames": belief.frames,
        "shown": belief.verdict.label,
        "shown_reason": belief.verdict.reason,
        "shown_probabilities": belief.verdict.probabilities or None,
        "verdict": verdict.label,
        "reason": verdict.reason,
        "probabilities": verdict.probabilities or None,
        "logits": [float(z) if math.isfinite(z) else None for z in snapshot.logits],
        "quality": snapshot.quality.state,
        "unusual": None if unusual is None or not math.isfinite(unusual) else unusual,
    }
