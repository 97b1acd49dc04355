"""The figure of a comparison: accuracy over size, and over time, with the files that no other beats."""

import io
from collections.abc import Sequence

from convert.compare.table import Line, costs, frontier
from device import RESEARCH_NOTICE

_MARKS = {"float32": "s", "float16": "^", "int8-dynamic": "v", "int8-full": "o"}
_COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#777777",
    "#000000",
    "#8c510a",
    "#5e3c99",
    "#66a61e",
)
_TITLES = {"kilobytes": "file, kB", "milliseconds": "one inference, ms, this machine, one thread"}


def draw(found: Sequence[Line], metric: str, title: str, synthetic: bool) -> bytes:
    """PNG: each file's `metric` with its 95 % interval over kB and over ms (logarithmic); a line joins the frontier.
    Open marks: trainings are missing."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = Figure(figsize=(13, 6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    colours = {row: _COLOURS[n % len(_COLOURS)] for n, row in enumerate(dict.fromkeys(line.row for line in found))}
    shown = [line for line in found if line.variant and line.figures[metric].value is not None]
    for panel, cost in zip(figure.subplots(1, 2, sharey=True), _TITLES, strict=True):
        for line in shown:
            x, y = costs(line, cost), line.figures[metric]
            if x is None:
                continue
            colour, face = colours[line.row], colours[line.row] if line.trainings == line.planned else "white"
            if y.low is not None:
                panel.plot([x, x], [100 * y.low, 100 * y.high], color=colour, linewidth=1, alpha=0.5)
            mark = _MARKS[line.variant]
            panel.plot(x, 100 * y.value, mark, color=colour, markerfacecolor=face, markersize=8)
        best = frontier(shown, metric, cost)
        at = [costs(line, cost) for line in best]
        panel.plot(at, [100 * line.figures[metric].value for line in best], color="#777777", linewidth=1, zorder=0)
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        panel.xaxis.set_major_formatter("{x:g}")
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.set_xlabel(_TITLES[cost])
        panel.grid(alpha=0.3, which="both")
        panel.spines[["top", "right"]].set_visible(False)
        if cost == "kilobytes":
            panel.set_ylabel(f"{title}, %")
    drawn = {line.variant for line in shown}
    names = [*colours, *(variant for variant in _MARKS if variant in drawn)]
    from matplotlib.lines import Line2D

    keys = [Line2D([], [], marker="o", linestyle="", color=colour) for colour in colours.values()]
    keys += [Line2D([], [], marker=mark, linestyle="", color="black") for v, mark in _MARKS.items() if v in drawn]
    figure.legend(keys, names, loc="outside lower center", ncols=6, fontsize=8)
    figure.suptitle(
        ("SYNTHETIC phantoms. " if synthetic else "")
        + "Mean over folds and seeds; bars: 95 % over groups of pictures; line: no other file beats these; open: "
        + f"trainings are missing.\n{RESEARCH_NOTICE}",
        fontsize=9,
    )
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()
