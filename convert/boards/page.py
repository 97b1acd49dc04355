"""The collected results as a page, with what was published beside them."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from convert.boards.sent import Machine, Measured, Sent
from device import RESEARCH_NOTICE
from device.bench_report import BUSY_PERCENT

UNKNOWN = "?"


@dataclass(frozen=True)
class Published:
    """A figure of somebody else's, as printed; kb, ms, fps: text, empty where none is given."""

    source: str
    what: str
    where: str
    kb: str
    ms: str
    fps: str


PUBLISHED = (
    Published("the paper that this follows", "MobileNetV3 student, PyTorch eager", "not named here", "", "", "61.46"),
    Published("the LMIC study", "distilled student, TFLite", "Raspberry Pi 4", "5.21", "3.3", ""),
    Published("the LMIC study", "pruned", "Raspberry Pi 4", "2,924", "13.68", ""),
    Published("the LMIC study", "quantised", "Raspberry Pi 4", "746 to 751", "4 to 5", ""),
)
COLUMNS = (
    *("bundle", "id", "threads", "kB", "model ms", "path ms", "p95", "FPS", "CPU %", "MiB", "°C", "MHz", "held back"),
)


def markdown(found: Sequence[Sent], command: str) -> str:
    """The page. command: makes it again."""
    text = [
        "# Results by board",
        "",
        f"**{RESEARCH_NOTICE}**",
        "",
        "Of the files in this folder, as `busi-kd device bench --result` wrote them; each names its bundle by the id,",
        "so that accuracy and time are those of one file. Model: the interpreter alone; path: picture to verdict; both",
        "p50 in ms. °C: before, and at most. MHz: the least seen. `?` is unknown.",
        "",
        f"    {command}",
        "",
    ]
    for _, sent in groupby(found, key=lambda one: one.machine):
        text += _board(list(sent))
    if not any("raspberry" in (one.machine.model or "").lower() for one in found):
        text += ["**No result of a Raspberry Pi has been sent in yet.**", ""]
    text += [
        "## Published by others",
        "",
        "Other networks, frames, programs and clocks: for orientation, not a race.",
        "",
    ]
    text += ["| source | what | where | kB | ms | FPS |", "|---|---|---|---|---|---|"]
    text += [f"| {p.source} | {p.what} | {p.where} | {p.kb} | {p.ms} | {p.fps} |" for p in PUBLISHED]
    text += [
        "",
        "## Send yours",
        "",
        '    busi-kd device bench --threads 1,2,4 --cooling "heat sink, no fan" --result my-board.json',
        "",
        "holds the board's model, its system and the figures, and no paths, names or pictures. Put it here and run the",
        "command above.",
        "",
    ]
    return "\n".join(text)


def _board(sent: Sequence[Sent]) -> list[str]:
    machine = sent[0].machine
    lines = [f"## {safe(machine.model)}", "", _about(machine), ""]
    for one in sent:
        interpreters = ", ".join(sorted({safe(row.interpreter) for row in one.rows}))
        lines += [f"`{one.file}`: {one.created:%Y-%m-%d}, busi-kd {safe(one.version)}, {interpreters}.", ""]
        lines += ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
        lines += [_row(row) for row in one.rows]
        lines.append("")
        busy = [row.other_percent for row in one.rows if (row.other_percent or 0.0) > BUSY_PERCENT]
        if busy:
            lines += [f"Other programs took up to {max(busy):.0f} % of a core meanwhile.", ""]
    return lines


def _about(machine: Machine) -> str:
    memory = UNKNOWN if machine.memory_mb is None else f"{machine.memory_mb:.0f} MiB"
    return (
        f"{machine.cores or UNKNOWN} cores {safe(machine.architecture)}, {memory}; {safe(machine.os)}, Linux "
        f"{safe(machine.kernel)}, Python {safe(machine.python)}; governor {safe(machine.governor)}; cooling: "
        f"{safe(machine.cooling)}."
    )


def _row(row: Measured) -> str:
    begins = [f"{safe(row.name)} {safe(row.variant)}", safe(row.bundle_id), str(row.threads)]
    if row.error is not None:
        return f"| {' | '.join(begins)} | {safe(row.error)} |{' |' * (len(COLUMNS) - 4)}"
    heat = UNKNOWN if row.cool_c is None or row.hot_c is None else f"{row.cool_c:.0f}, {row.hot_c:.0f}"
    figures = [
        *(_figure(row.file_kb, 0 if (row.file_kb or 0) >= 100 else 2), _figure(row.model_p50, 2)),
        *(_figure(row.path_p50, 2), _figure(row.path_p95, 2), _figure(row.fps, 1), _figure(row.cpu_percent, 0)),
        *(_figure(row.memory_mb, 0), heat, _figure(row.mhz, 0)),
        {True: "no", False: "**yes**", None: UNKNOWN}[row.valid],
    ]
    return f"| {' | '.join([*begins, *figures])} |"


def _figure(value: float | None, digits: int) -> str:
    return UNKNOWN if value is None else f"{value:,.{digits}f}"


def safe(text: str | None) -> str:
    """A stranger's text within a table's cell: one line, and nothing that Markdown or a browser takes for its own."""
    if text is None or not (plain := " ".join(text.split())):
        return UNKNOWN
    printable = " ".join("".join(sign if sign.isprintable() else " " for sign in plain).split())[:100]
    return "".join(f"\\{sign}" if sign in "\\|`[]*_#!~" else html.escape(sign) for sign in printable) or UNKNOWN
