"""The parts of a comparison's page below its table: what a file takes of this machine, of a board, and how it reads
other hospitals' pictures."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from convert.boards.page import safe
from convert.boards.sent import Sent
from convert.compare.elsewhere import METRICS as EXTERNAL
from convert.compare.elsewhere import External
from convert.compare.table import Line
from device import schema
from device.bench_report import BUSY_PERCENT
from train.evaluation.intervals import percent
from train.external.page import copies_said

# The figures of a Load and of an OnBoard, and how they are written.
LOAD = {"fps": ".0f", "cpu_ms": ".3f", "cpu_percent": ".0f", "memory_mb": ".1f", "own_mb": ".1f", "warmer_c": "+.1f"}
BOARD = {"threads": "d", "p50": ".3f", "p95": ".3f", "path_p50": ".3f", "fps": ".1f", "cpu_percent": ".0f"}
BOARD |= {"cpu_ms": ".3f", "memory_mb": ".1f", "warmer_c": "+.1f", "held_back": ""}
_UNKNOWN = "unknown"


def values(of: Any, names: Iterable[str]) -> list[Any]:
    """Attributes of a Load or an OnBoard; all None where there is none."""
    return [None if of is None else getattr(of, name) for name in names]


def _cells(of: Any, how: Mapping[str, str]) -> str:
    cells = []
    for name, value in zip(how, values(of, how), strict=True):
        if isinstance(value, bool):
            cells.append("**yes**" if value else "no")
        else:
            cells.append(_UNKNOWN if value is None else format(value, how[name]))
    return " | ".join(cells)


def _said(text: str | None) -> str:
    return safe(text) if text else _UNKNOWN


def loads(found: Sequence[Line]) -> list[str]:
    """What each file takes of this machine; nothing where no file was measured."""
    known = [line for line in found if line.load]
    if not known:
        return []
    return [
        "## What each file takes of the machine",
        "",
        "Without a pause, one thread, each file in a process of its own, one after the other. CPU ms: of an inference, "
        "what energy goes by where no gauge tells the watts. CPU: 100 = a core. Memory: the most that the process with "
        "interpreter and file ever had, and the part of it since before the file was opened.",
        "",
        "| row | file | FPS | CPU ms | CPU % | peak MiB | of these for the file | warmer, C |",
        "|" + "---|" * (2 + len(LOAD)),
        *(f"| {line.row} | {line.variant} | {_cells(line.load, LOAD)} |" for line in known),
        "",
    ]


def on_board(found: Sequence[Line], sent: Sent) -> list[str]:
    """What each file takes of the board that `sent` is from; a file that was not measured there is unknown."""
    machine, busy = sent.machine, max((row.other_percent or 0.0 for row in sent.rows), default=0.0)
    return [
        f"## On a board: {_said(machine.model)}",
        "",
        f"{_said(machine.os)}, governor {_said(machine.governor)}, cooling: {_said(machine.cooling)}; measured "
        f"{sent.created:%Y-%m-%d} by `busi-kd device bench`, busi-kd {safe(sent.version)}. ms: the interpreter alone; "
        "path and all else: with preparing the picture. CPU ms: of a picture, what energy goes by where no gauge tells "
        "the watts. Warmer: from the beginning to the end of a round, the median of the rounds. Held back: by heat or "
        "a weak supply; such figures do not count.",
        "",
        "| row | file | threads | ms p50 | p95 | path p50 | FPS | CPU % | CPU ms | peak MiB | warmer, C | held back |",
        "|" + "---|" * (2 + len(BOARD)),
        *(f"| {line.row} | {line.variant} | {_cells(line.board, BOARD)} |" for line in found if line.variant),
        "",
        *([f"Other programs took up to {busy:.0f} % of a core meanwhile.", ""] if busy > BUSY_PERCENT else []),
    ]


def elsewhere(found: Sequence[Line], external: External) -> list[str]:
    """How each form reads other hospitals' pictures."""
    copies = copies_said(external.copies, external.whole)
    if external.copies is None:
        copies = [
            "Nobody looked for pictures of the training among these, which cannot be found in crops; `--whole` says "
            "what they were cut from. The figures may be too good."
        ]
    text = [
        "## On other hospitals' pictures",
        "",
        "These sets are for testing only: nothing is trained, chosen or calibrated on them. The decision is the larger "
        "of the two lesion logits. Percent, means over the trainings; intervals: 95 %, by resampling the lesions of "
        "the set; they do not say what yet another hospital would give.",
        "",
        *copies,
        "",
        "| row | file | set | pictures | trainings | " + " | ".join(EXTERNAL.values()) + " |",
        "|" + "---|" * (5 + len(EXTERNAL)),
    ]
    for line in found:
        begins = f"| {line.row} | {line.variant or 'PyTorch'} |"
        for name, one in line.elsewhere.items():
            count = f"{one.pictures} ({one.pictures - one.malignant} / {one.malignant})"
            figures = " | ".join(percent(one.figures[key]) for key in EXTERNAL)
            text.append(f"{begins} {name} | {count} | {one.trainings} | {figures} |")
        if not line.elsewhere:
            text.append(f"{begins} {' | '.join([_UNKNOWN] * (3 + len(EXTERNAL)))} |")
    judged = {name for line in found for name in line.elsewhere}
    sources = [f"- {one.source}" for one in external.sets if one.name in judged]
    return [*text, "", "Pictures: benign / malignant in brackets.", "", *sources, ""]


def told(external: External | None, sent: Sent | None) -> dict[str, Any]:
    """The same for programs, of the whole page; a key is absent where nobody asked."""
    found: dict[str, Any] = {}
    if external is not None:
        whole = external.whole
        found["external"] = {
            "sets": {one.name: {"fingerprint": one.fingerprint, "source": one.source} for one in external.sets},
            "copies_looked_for_in": None if whole is None else {"name": whole.name, "fingerprint": whole.fingerprint},
            "copies": None if external.copies is None else schema.dump(external.copies),
        }
    if sent is not None:
        found["board"] = {"created": sent.created.isoformat(), "busi-kd": sent.version, **schema.dump(sent.machine)}
    return found
