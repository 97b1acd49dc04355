"""The page of a comparison: Markdown, CSV, JSON, a figure."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from convert.boards.sent import Sent
from convert.compare import plot, sections
from convert.compare.elsewhere import External
from convert.compare.table import Line, frontier, recommended
from device import RESEARCH_NOTICE, files, schema
from device.bundle import Estimate
from train.evaluation.intervals import percent, signed
from train.studies.grid.results import Pictures
from train.studies.grid.study import Study
from train.studies.grid.table import METRICS, TITLES

PAGE, TABLE, NUMBERS, FIGURE = "README.md", "compare.csv", "compare.json", "compare.png"


@dataclass(frozen=True)
class About:
    """How a comparison was made. command: gives all of it again. hardware: of the times. external, board: what was
    asked of other hospitals' pictures, and measured on a board; None where nobody did."""

    command: str
    hardware: str
    external: External | None = None
    board: Sent | None = None


def write(out: Path, study: Study, pictures: Pictures, found: Sequence[Line], metric: str, about: About) -> Path:
    """Write the page and its companions into `out`, each whole or not at all; returns the page.

    metric: what the recommendation goes by."""
    files.write_bytes(out / FIGURE, plot.draw(found, metric, TITLES[metric], pictures.synthetic))
    files.write_text(out / TABLE, _csv(found, about))
    content = {
        "notice": RESEARCH_NOTICE,
        "name": study.name,
        "data": {"name": pictures.data, "fingerprint": pictures.fingerprint, "synthetic": pictures.synthetic},
        "hardware": about.hardware,
        "command": about.command,
        **sections.told(about.external, about.board),
        "lines": [{"name": line.name, **schema.dump(line)} for line in found],
    }
    files.write_json(out / NUMBERS, content)
    files.write_text(out / PAGE, markdown(study, pictures, found, metric, about))
    return out / PAGE


def markdown(study: Study, pictures: Pictures, found: Sequence[Line], metric: str, about: About) -> str:
    """The page."""
    known = {name for line in found for name in line.elsewhere}
    sets = [one.name for one in (about.external.sets if about.external else ()) if one.name in known]
    text = [
        f"# {study.name}, as files: {pictures.data}",
        "",
        f"**{RESEARCH_NOTICE}**" + (" All pictures are SYNTHETIC phantoms." if pictures.synthetic else ""),
        "",
        "Each row is trained as the study file says, and converted without gates. Figures are percent, means over "
        "folds and seeds on pictures that the training did not see, with a 95 % interval over groups of near-copies; "
        "`lost` is a file minus its own network, in points, taken within each resampling. Times are of one thread on "
        f"{about.hardware}, all files in turn in one run; they say nothing of a Raspberry Pi, where `busi-kd device "
        "bench` measures (`--bench`).",
        "",
        f"    {about.command}",
        "",
        f"![Accuracy of each file over its size and its time]({FIGURE})",
        "",
        "| row | file | trainings | "
        + " | ".join([*(TITLES[name] for name in METRICS), *(f"accuracy on {name}" for name in sets)])
        + f" | lost, {TITLES[metric]} | kB | parameters | MMAC | input | ms p50 | p95 | ratio |",
        "|" + "---|" * (11 + len(METRICS) + len(sets)),
        *(_row(line, metric, sets) for line in found),
        "",
        *_missing(found),
        *sections.loads(found),
        *(sections.on_board(found, about.board) if about.board else []),
        *(sections.elsewhere(found, about.external) if about.external else []),
        *_choice(found, metric),
    ]
    return "\n".join(text) + "\n"


def _row(line: Line, metric: str, sets: Sequence[str]) -> str:
    time = line.time
    cells = [
        line.row,
        line.variant or "PyTorch",
        f"{line.trainings} of {line.planned}" if line.trainings != line.planned else str(line.planned),
        *(percent(line.figures[name]) for name in METRICS),
        *(percent(line.elsewhere[name].figures["accuracy"]) if name in line.elsewhere else "unknown" for name in sets),
        signed(line.lost[metric]) if line.lost else "",
        _number(line.kilobytes, ".2f" if line.kilobytes is not None and line.kilobytes < 100 else ".0f"),
        _number(line.parameters, ",d"),
        _number(None if line.multiply_adds is None else line.multiply_adds / 1e6, ".2f"),
        f"{line.size[0]} x {line.size[1]}" if line.size else "",
        *(["", "", ""] if time is None else [f"{time.p50:.3f}", f"{time.p95:.3f}", f"{time.ratio:.2f}"]),
    ]
    return f"| {' | '.join(cells)} |"


def _number(value: float | None, how: str) -> str:
    return "" if value is None else format(value, how)


def _missing(found: Sequence[Line]) -> list[str]:
    why = [(line.name, line.why) for line in found if line.why]
    if not why:
        return []
    return ["What is not there:", "", *(f"- {name}: {reason}" for name, reason in why), ""]


def _choice(found: Sequence[Line], metric: str) -> list[str]:
    choice, known = recommended(found, metric), [line for line in found if line.variant]
    text = ["## Which one", ""]
    if choice is None:
        return [*text, "No row has all its trainings yet; there is nothing to recommend."]
    small, best = choice
    text.append(
        f"**{small.name}** ({small.kilobytes:.2f} kB): the smallest file whose {TITLES[metric]} "
        f"({percent(small.figures[metric])}) lies within one standard error of the best, {best.name} "
        f"({percent(best.figures[metric])}). Breiman et al. 1984, section 3.4.3; rows with missing "
        "trainings are left out."
    )
    for cost, what in (("kilobytes", "size"), ("milliseconds", "time")):
        names = "; ".join(line.name for line in frontier(known, metric, cost))
        text += ["", f"No other file beats these in both {TITLES[metric]} and {what}: {names}."]
    return text


def _csv(found: Sequence[Line], about: About) -> str:
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    ends = ("", "_low", "_high")
    sets = list(dict.fromkeys(name for line in found for name in line.elsewhere))
    table.writerow(
        "row file trainings planned".split()
        + [f"{name}{end}" for name in METRICS for end in ends]
        + [f"lost_{name}{end}" for name in METRICS for end in ends]
        + "kilobytes parameters multiply_adds height width ms_p50 ms_p95 ratio".split()
        + list(sections.LOAD)
        + [f"{name} {metric}{end}" for name in sets for metric in sections.EXTERNAL for end in ends]
        + (["board", "board_governor", *(f"board_{name}" for name in sections.BOARD)] if about.board else [])
        + ["why"]
    )
    for line in found:
        unknown = Estimate(None)
        numbers = [n for name in METRICS for n in _ends(line.figures[name])]
        lost = [n for name in METRICS for n in _ends(line.lost[name] if line.lost else unknown)]
        time = ["", "", ""] if line.time is None else [line.time.p50, line.time.p95, line.time.ratio]
        costs = [line.kilobytes, line.parameters, line.multiply_adds, *(line.size or ("", ""))]
        away = [line.elsewhere[name].figures if name in line.elsewhere else {} for name in sets]
        table.writerow(
            [
                line.row,
                line.variant or "PyTorch",
                line.trainings,
                line.planned,
                *numbers,
                *lost,
                *costs,
                *time,
                *sections.values(line.load, sections.LOAD),
                *(n for figures in away for name in sections.EXTERNAL for n in _ends(figures.get(name, unknown))),
                *(_board(line, about.board) if about.board else ()),
                line.why,
            ]
        )
    return stream.getvalue()


def _board(line: Line, sent: Sent) -> list[object]:
    named = [sent.machine.model, sent.machine.governor] if line.board else [None, None]
    return [*named, *sections.values(line.board, sections.BOARD)]


def _ends(estimate: Estimate) -> list[float | None]:
    return [estimate.value, estimate.low, estimate.high]
