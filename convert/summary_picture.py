"""The picture of the whole path's page: frames with their verdicts, sizes, latencies, accuracies."""

from pathlib import Path
from typing import Any

import numpy as np

from device import RESEARCH_NOTICE
from device.bundle import load_bundle
from device.decide import decide
from device.phantom_clip import PhantomClip
from device.preprocess import prepare
from device.runtime import open_bundle

_COLORS = {"benign": "#0072b2", "malignant": "#d55e00", "normal": "#009e73", "abstain": "#777777"}


def draw(path: Path, out: Path, facts: dict[str, Any]) -> None:
    """The page's picture: frames with their verdicts, sizes, latencies, accuracies."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    clip = facts["clip"]
    subject = "SYNTHETIC phantoms" if facts["synthetic"] else f"{facts['data']}, recipe {facts['recipe']}"
    figure = plt.figure(figsize=(12, 7.6 if clip else 4.2), layout="constrained")
    figure.suptitle(f"busi-kd {facts['version']}: the whole path on {subject}\n{RESEARCH_NOTICE}", fontsize=13)
    charts = figure
    if clip:  # patients' pictures are not drawn: a page like this is passed on
        top, charts = figure.subfigures(2, 1, height_ratios=(1.05, 1))
        _draw_frames(top.subplots(1, 4), out)
    _draw_models(*charts.subplots(1, 3), facts)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def _draw_frames(axes: np.ndarray, out: Path) -> None:
    """Four frames of the clip, judged by the int8 bundle just as the daemon does."""
    bundle = load_bundle(out / "bundles" / "int8-full")
    model, clip = open_bundle(bundle), PhantomClip()
    for axis, frame in zip(axes, _frames_to_show(clip, len(axes))):
        verdict = decide(model.logits(prepare(frame.image, bundle.meta.preprocess)), bundle.meta)
        axis.imshow(frame.image, cmap="gray", vmin=0, vmax=255)
        if frame.mask.any():
            axis.contour(frame.mask, levels=[0.5], colors="white", linewidths=0.8, linestyles="dotted")
        shown = " ".join(f"{name[:3]} {100 * p:.0f} %" for name, p in verdict.probabilities.items())
        axis.set_title(f"says {verdict.label.upper()}\n{shown}", color=_COLORS[verdict.label], fontsize=10)
        axis.set_xlabel(f"in view: {frame.label}", fontsize=9)
        axis.set_xticks([])
        axis.set_yticks([])


def _frames_to_show(clip: PhantomClip, count: int) -> list:
    """The frame in the middle of each of the clip's first stretches of one label, chosen by truth, never by verdict."""
    stretches, previous = [], None
    for index in range(0, 60 * 30, 15):
        label = clip.frame(index).label
        if label != previous:
            stretches.append([])
        stretches[-1].append(index)
        previous = label
    lesions_first = sorted(stretches, key=lambda s: (clip.frame(s[0]).label == "normal", s[0]))
    normal = next(s for s in stretches if clip.frame(s[0]).label == "normal")
    chosen = [*lesions_first[: count - 1], normal]
    return [clip.frame(stretch[len(stretch) // 2]) for stretch in chosen]


def _draw_models(sizes, latency, accuracy, facts: dict[str, Any]) -> None:
    models = facts["models"]
    names = list(models)
    bars = sizes.barh(names, [model["kb"] for model in models.values()], color="#56b4e9")
    sizes.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize=8)
    sizes.set(xscale="log", title="size, kB", xlim=(500, max(model["kb"] for model in models.values()) * 6))
    timed = {name: model["latency"]["1"]["p50"] for name, model in models.items() if "1" in model.get("latency", {})}
    bars = latency.barh(list(timed), list(timed.values()), color="#e69f00")
    latency.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    latency.set(title="interpreter p50, ms, 1 thread", xlim=(0, max(timed.values(), default=1) * 1.25))
    for row, model in enumerate(models.values()):
        value = model["metrics"]["accuracy"]
        low, high = (value[k] if value[k] is not None else value["value"] for k in ("low", "high"))
        accuracy.plot([100 * low, 100 * high], [row, row], color="#009e73", linewidth=2)
        accuracy.plot(100 * value["value"], row, "o", color="#009e73")
    accuracy.set(title=f"accuracy, %, {facts['pictures']} test pictures", xlim=(30, 101), yticks=range(len(names)))
    accuracy.set_yticklabels(names)
    for axis in (sizes, latency, accuracy):
        axis.invert_yaxis()
        axis.tick_params(labelsize=8)
        axis.title.set_fontsize(10)
        axis.spines[["top", "right"]].set_visible(False)
