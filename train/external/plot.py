"""The forest plot of the cross-data-set table."""

import io
from collections.abc import Sequence

from device import RESEARCH_NOTICE
from train.external.table import REFERENCE, Row


def forest(rows: Sequence[Row]) -> bytes:
    """PNG: a line per model and set, accuracy with 95 % interval, the reference as a band. rows: of labelled parts."""
    from matplotlib.figure import Figure

    sets = list(dict.fromkeys(row.part.name for row in rows))
    models = list(dict.fromkeys(row.model for row in rows))
    lines = [(name, [row for row in rows if row.part.name == name]) for name in sets]
    height = sum(len(found) + 1 for _, found in lines)
    figure = Figure(figsize=(9.5, 1.9 + 0.27 * height), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    axes.axvspan(100 * REFERENCE.low, 100 * REFERENCE.high, color="0.92", zorder=0)
    axes.axvline(
        100 * REFERENCE.value,
        color="0.6",
        linewidth=1,
        zorder=1,
        label="LMIC study: mean and interval over its own sets",
    )
    y, ticks, names = 0.0, [], []
    for name, found in lines:
        axes.text(
            0.005,
            -y,
            f"{name}, {found[0].part.view}, {len(found[0].part.pictures)} pictures",
            transform=axes.get_yaxis_transform(),
            va="center",
            fontsize=9,
            fontweight="bold",
        )
        for row in found:
            y += 1
            figures = row.figures["accuracy"]
            colour = f"C{models.index(row.model) % 10}"
            if figures.low is not None:
                axes.plot([100 * figures.low, 100 * figures.high], [-y, -y], color=colour, linewidth=2)
            axes.plot(
                100 * figures.value,
                -y,
                "D" if row.models > 1 else "o",
                color=colour,
                markersize=6,
                markerfacecolor=colour if row.matched else "white",
            )
            ticks.append(-y)
            names.append(row.model + (" SYNTHETIC" if row.synthetic else "") + ("" if row.matched else " †"))
        y += 1
    axes.set_yticks(ticks, names, fontsize=8)
    axes.set_ylim(-y + 0.3, 0.8)
    axes.set_xlim(0, 100)
    axes.set_xlabel("accuracy, benign against malignant, percent with 95 % interval")
    axes.grid(axis="x", color="0.9", linewidth=0.6, zorder=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title("External data sets: never trained on", fontsize=11, loc="left")
    axes.legend(loc="lower left", bbox_to_anchor=(0.52, 1.0), frameon=False, fontsize=8, borderaxespad=0.2)
    note = RESEARCH_NOTICE
    if any(row.models > 1 for row in rows):
        note += "   Diamond: mean of several models."
    if not all(row.matched for row in rows):
        note += "   † and hollow: trained on the other view."
    figure.supxlabel(note, fontsize=7, color="0.4", x=0.01, ha="left")
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", metadata={"Software": None})
    return drawn.getvalue()
