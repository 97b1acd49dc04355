"""The drawn part of an evaluation: confusion matrices, ROC curves with bands, reliability diagram, worst errors."""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from device import RESEARCH_NOTICE
from device.decide import ABSTAIN
from device.preprocess import read_picture, to_luma
from train.data.busi import CLASSES, load_mask
from train.evaluation.curves import GRID, Roc
from train.evaluation.evaluate import Evaluation
from train.evaluation.intervals import number, percent
from train.evaluation.reliability import Reliability

_BLUE, _ORANGE, _GREY = "#0072b2", "#d55e00", "#777777"
_COLUMNS, _ROWS = 6, 4  # of the contact sheet
_PANELS = {"malignant_rest": "malignant against the rest", "benign_malignant": "malignant against benign"}


def headline(evaluation: Evaluation) -> str:
    """What every figure says above itself: model, data, part, size, notice."""
    model, n, groups = evaluation.model, len(evaluation.targets), len(np.unique(evaluation.groups))
    data = f"{'SYNTHETIC ' if evaluation.synthetic else ''}{evaluation.data_name}"
    leaks = ", THIS SPLIT LEAKS" if evaluation.split and evaluation.split["leaks"] else ""
    return f"{model.title}\n{data}, {evaluation.part} part, {n} pictures in {groups} groups{leaks}\n{RESEARCH_NOTICE}"


def _figure(evaluation: Evaluation, width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    figure.suptitle(headline(evaluation), fontsize=9)
    return figure


def confusion_figure(evaluation: Evaluation) -> Figure:
    """Two matrices: the class with the largest logit, and the verdict at the operating point."""
    figure = _figure(evaluation, 10, 4.6)
    figure.get_layout_engine().set(wspace=0.08)
    left, right = figure.subplots(1, 2, width_ratios=(3, 4))
    present = [k for k in range(len(CLASSES)) if (evaluation.targets == k).any()]
    _matrix(left, evaluation.confusion(), present, list(CLASSES), "likeliest class")
    title = f"verdict: malignant from calibrated P(malignant) = {evaluation.calibration.threshold:.3g} on"
    verdicts, said = evaluation.verdicts(), [*CLASSES, ABSTAIN]
    if evaluation.model.kind != "bundle":  # a run folder's verdicts know no abstention
        verdicts, said = verdicts[:, :-1], said[:-1]
    _matrix(right, verdicts, present, said, title)
    return figure


def _matrix(axis: Axes, counts: np.ndarray, present: list[int], columns: list[str], title: str) -> None:
    counts = counts[present]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(*counts.shape):
        text = f"{counts[row, column]}\n{100 * shares[row, column]:.0f} %"
        axis.text(column, row, text, ha="center", va="center", color="white" if shares[row, column] > 0.55 else "black")
    axis.set_xticks(range(len(columns)), columns)
    axis.set_yticks(range(len(present)), [f"{CLASSES[k]}\n({n})" for k, n in zip(present, counts.sum(axis=1))])
    axis.set_title(title, fontsize=10)
    axis.set_xlabel("said")
    axis.set_ylabel("truth")
    axis.spines[:].set_visible(False)


def roc_figure(evaluation: Evaluation) -> Figure:
    """Both ROC curves with their bands; the operating point where it lies on the curve."""
    figure = _figure(evaluation, 10, 5.7)
    for axis, name in zip(figure.subplots(1, 2), _PANELS):
        _roc(axis, evaluation.roc[name], f"AUC {percent(evaluation.metrics[f'auc_{name}'])} %")
        axis.set_title(_PANELS[name], fontsize=10)
        if name == "malignant_rest" and evaluation.roc[name] is not None:
            sensitivity, specificity = (evaluation.metrics[m] for m in ("sensitivity", "specificity"))
            label = f"operating point: sensitivity {percent(sensitivity)} %,\nspecificity {percent(specificity)} %"
            axis.plot(1 - specificity.value, sensitivity.value, "o", color=_ORANGE, markersize=7, label=label)
        if evaluation.roc[name] is not None:
            axis.legend(loc="lower right", fontsize=8, frameon=False)
    return figure


def _roc(axis: Axes, roc: Roc | None, label: str) -> None:
    axis.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, linestyle="dotted")
    for wanted in (0.90, 0.95):
        axis.axhline(wanted, color=_GREY, linewidth=0.5, linestyle="dashed")
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), aspect="equal", xlabel="1 - specificity", ylabel="sensitivity")
    axis.spines[["top", "right"]].set_visible(False)
    if roc is None:
        axis.text(0.5, 0.5, "undefined: one of the two\nkinds has no picture", ha="center", va="center")
        return
    axis.fill_between(1 - GRID, roc.low, roc.high, color=_BLUE, alpha=0.2, linewidth=0, label="95 % band over groups")
    axis.plot(1 - roc.specificity, roc.sensitivity, color=_BLUE, linewidth=1.6, label=label)


def reliability_figure(evaluation: Evaluation) -> Figure:
    """Accuracy by confidence, before and after temperature scaling, and how many pictures each bin holds."""
    figure = _figure(evaluation, 6.5, 6.8)
    top, bottom = figure.subplots(2, 1, height_ratios=(4, 1), sharex=True)
    after, before = evaluation.reliability, evaluation.uncalibrated
    top.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, linestyle="dotted", label="perfect")
    top.plot(before.confidence, before.accuracy, "o", mfc="none", color=_GREY, markersize=6, label="temperature 1")
    low, high = (np.where(np.isnan(v), after.accuracy, v) for v in (after.low, after.high))
    # A bin that is hit by few groups can have an interval that its own value falls out of.
    spread = np.stack([after.accuracy - low, high - after.accuracy]).clip(0)
    filled = after.pictures > 0
    top.errorbar(
        after.confidence[filled],
        after.accuracy[filled],
        spread[:, filled],
        fmt="o",
        color=_BLUE,
        markersize=5,
        linewidth=1,
        label=f"temperature {evaluation.calibration.temperature:.3g}: ECE {number(evaluation.metrics['ece'])}",
    )
    top.set(ylim=(-0.02, 1.02), ylabel="share that is right, 95 % interval over groups", xlim=(0.28, 1.01))
    figure.legend(*top.get_legend_handles_labels(), loc="outside lower center", fontsize=8, frameon=False, ncols=3)
    _counts(bottom, after)
    for axis in (top, bottom):
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def _counts(axis: Axes, bins: Reliability) -> None:
    edges = np.linspace(0, 1, len(bins.pictures) + 1)
    bars = axis.bar(
        edges[:-1], bins.pictures, width=np.diff(edges), align="edge", color=_BLUE, alpha=0.5, edgecolor="w"
    )
    axis.bar_label(bars, [str(n) if n else "" for n in bins.pictures], fontsize=7)
    axis.set(xlabel="calibrated probability of the likeliest class", ylabel="pictures")
    axis.margins(y=0.25)


def errors_figure(evaluation: Evaluation) -> Figure:
    """Contact sheet of the worst errors, the most confident first, with the lesion's outline."""
    worst = evaluation.errors()
    shown = worst[: _COLUMNS * _ROWS]
    rows = max(1, -(-len(shown) // _COLUMNS))
    figure = _figure(evaluation, 2.1 * _COLUMNS, 1.1 + 2.3 * rows)
    if not shown:
        figure.text(0.5, 0.4, f"No error among {len(evaluation.targets)} pictures.", ha="center", fontsize=12)
        return figure
    whose = "" if evaluation.synthetic else " These are patients' pictures: keep the sheet where the data are."
    which = (
        f"The {len(shown)} most confident of {len(worst)} wrong answers; orange: malignant, and not called so.{whose}"
    )
    figure.supxlabel(which, fontsize=9)
    axes = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, index in zip(axes, shown):
        _picture(axis, evaluation, index)
    return figure


def _picture(axis: Axes, evaluation: Evaluation, index: int) -> None:
    picture, said = evaluation.pictures[index], CLASSES[evaluation.chosen[index]]
    luma = to_luma(read_picture(picture.path))
    mask = load_mask(picture, luma.shape)
    axis.imshow(luma, cmap="gray", vmin=0, vmax=255)
    if mask.any():
        axis.contour(mask, levels=[0.5], colors="yellow", linewidths=0.7, linestyles="dotted")
    copies = sum(other.name == picture.name for other in evaluation.pictures)
    name = f"{picture.name.removesuffix('.png')}{f' ({copies} times)' if copies > 1 else ''}"
    confidence = evaluation.probabilities[index].max()
    color = _ORANGE if picture.label == "malignant" else "black"
    axis.set_title(f"{name}\nis {picture.label}\nsaid {said}, {100 * confidence:.1f} %", fontsize=8, color=color)


FIGURES: dict[str, Callable[[Evaluation], Figure]] = {
    "confusion": confusion_figure,
    "roc": roc_figure,
    "reliability": reliability_figure,
    "errors": errors_figure,
}
