"""The page's part on int8 noise: signal-to-quantisation-noise ratio of every layer, as a plot and a table."""

import io
from typing import Any

PICTURE = "noise.png"
_WORST = 12


def section(layers: list[dict[str, Any]]) -> list[str]:
    """Markdown lines: the plot and the noisiest layers; nothing without layers."""
    if not layers:
        return []
    known = [layer for layer in layers if layer["decibel"] is not None]
    worst = sorted(known, key=lambda layer: layer["decibel"])[:_WORST]
    return [
        "",
        "## Noise of int8-full, layer by layer",
        "",
        "Signal-to-quantisation-noise ratio of what each operator gives, against the float network on calibration",
        "pictures, all noise before it included: 6 dB are one bit. Shift: mean error, in standard deviations of the",
        f"signal. The {len(worst)} noisiest of {len(layers)} layers:",
        "",
        "| operator | kind | shape | int8 range | dB | shift |",
        "|---|---|---|---|---|---|",
        *(_row(layer) for layer in worst),
        "",
        f"![Signal-to-quantisation-noise ratio of each operator]({PICTURE})",
    ]


def _row(layer: dict[str, Any]) -> str:
    shape = "x".join(str(n) for n in layer["shape"][1:])
    shift = "unknown" if layer["mean"] is None else f"{layer['mean']:+.3f}"
    span = f"{layer['low']:.3g} to {layer['high']:.3g}"
    return f"| {layer['number']} | {layer['kind']} | {shape} | {span} | {layer['decibel']:.1f} | {shift} |"


def picture(layers: list[dict[str, Any]]) -> bytes:
    """A PNG: decibels over the operators in the order in which they run, a colour for each kind."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots()
    known = [layer for layer in layers if layer["decibel"] is not None]
    axes.plot([one["number"] for one in known], [one["decibel"] for one in known], color="0.75", linewidth=1)
    for place, kind in enumerate(sorted({one["kind"] for one in known})):
        points = [(one["number"], one["decibel"]) for one in known if one["kind"] == kind]
        axes.scatter(*zip(*points), s=22, color=f"C{place}", label=kind, zorder=2)
    axes.set(xlabel="operator, in the order in which they run", ylabel="signal-to-quantisation-noise ratio, dB")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, ncols=4)
    png = io.BytesIO()
    FigureCanvasAgg(figure).print_png(png)
    return png.getvalue()
