"""The figure of a study: a line per row with its figures and its differences."""

import io

from device import RESEARCH_NOTICE
from train.studies.grid.table import Summary

_BLUE, _ORANGE, _GREY = "#0072b2", "#d55e00", "#777777"
_SHOWN = {"auc_benign_malignant": "AUC benign vs malignant", "accuracy": "accuracy, 3 classes"}


def draw(rows: list[Summary], synthetic: bool) -> bytes:
    """PNG: for AUC and accuracy each row's mean over folds and seeds with its 95 % interval, small ticks for the seeds,
    and beside it the paired difference to the row it is compared with. Open dots: trainings are missing."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 1.9 + 0.42 * len(rows)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2 * len(_SHOWN), sharey=True, width_ratios=[3, 2] * len(_SHOWN))
    for number, (metric, title) in enumerate(_SHOWN.items()):
        value, difference = panels[2 * number], panels[2 * number + 1]
        for y, row in enumerate(rows):
            face = _BLUE if not row.missing else "white"
            _bar(value, row.everywhere.mean[metric], y, _BLUE, face)
            seeds = [100 * found[metric] for found in row.seeds.values() if found[metric] is not None]
            value.plot(seeds, [y - 0.28] * len(seeds), "|", color="black", markersize=7)
            if row.everywhere.difference:
                one = row.everywhere.difference[metric]
                _bar(difference, one, y, _ORANGE, _ORANGE if not row.missing else "white")
        difference.axvline(0, color=_GREY, linewidth=1, linestyle="dotted")
        value.set_xlabel(f"{title}, %", fontsize=9)
        difference.set_xlabel("difference, points", fontsize=9)
    for panel in panels:
        panel.grid(axis="x", alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=8)
    names = [f"{r.row.name}\n(minus {r.row.against})" if r.row.against else r.row.name for r in rows]
    panels[0].set_yticks(range(len(rows)), names, fontsize=8)
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    figure.suptitle(
        ("SYNTHETIC phantoms. " if synthetic else "")
        + "Mean over folds and seeds; bars: 95 % over groups of pictures; ticks: seeds; open: trainings are missing.\n"
        + RESEARCH_NOTICE,
        fontsize=9,
    )
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def _bar(panel, estimate, y: float, colour: str, face: str) -> None:
    if estimate.value is None:
        return
    if estimate.low is not None and estimate.high is not None:
        panel.plot([100 * estimate.low, 100 * estimate.high], [y, y], color=colour, linewidth=2)
    panel.plot(100 * estimate.value, y, "o", color=colour, markersize=7, markerfacecolor=face)
