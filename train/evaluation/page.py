"""An evaluation in words: the rows and lines that the command prints, and the Markdown page."""

from collections.abc import Callable

import numpy as np

from device import RESEARCH_NOTICE, __version__
from device.bundle import Estimate
from train.data.busi import CLASSES
from train.evaluation.evaluate import Evaluation, differences
from train.evaluation.figures import FIGURES
from train.evaluation.intervals import number, percent, signed
from train.options import warnings as split_warnings

Row = list[tuple[str, str]]  # (column, metric)
TABLE: Row = [
    ("accuracy", "accuracy"),
    ("balanced accuracy", "balanced_accuracy"),
    ("AUC benign vs malignant", "auc_benign_malignant"),
]
_COMPARED: Row = [
    ("accuracy", "accuracy"),
    ("balanced accuracy", "balanced_accuracy"),
    ("macro-F1", "macro_f1"),
    ("AUC benign vs malignant", "auc_benign_malignant"),
    ("AUC malignant vs rest", "auc_malignant_rest"),
    ("sensitivity", "sensitivity"),
    ("specificity", "specificity"),
]
_PAIRED = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "auc_benign_malignant": "AUC benign vs malignant",
    "auc_malignant_rest": "AUC malignant vs rest",
}
_CURVES = (("malignant vs rest", "malignant_rest"), ("benign vs malignant", "benign_malignant"))
_VERDICTS = (
    ("answered, not abstained", "verdict_coverage"),
    ("right among the answered", "verdict_accuracy"),
    ("malignant pictures called malignant", "malignant_called"),
    ("malignant pictures called benign or normal", "malignant_missed"),
    ("benign pictures called malignant", "benign_called_malignant"),
)


def table_head() -> list[str]:
    """The two head lines of the table that grows model by model."""
    names = ["model", "part", "pictures", *(column for column, _ in TABLE)]
    return [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]


def table_row(evaluation: Evaluation) -> str:
    """One model's row of it; percent [95 % interval]."""
    cells = [percent(evaluation.metrics[metric]) for _, metric in TABLE]
    return f"| {evaluation.model.title} | {evaluation.part} | {len(evaluation.targets)} | {' | '.join(cells)} |"


def warnings(evaluation: Evaluation) -> list[str]:
    """Sentences without which the figures would mislead."""
    split = evaluation.split
    said = split_warnings(split, evaluation.model.synthetic) if split else []
    if evaluation.part == "all":
        said.append(
            "Another data set than the training's: whether it holds copies of training pictures was not checked."
        )
    if evaluation.part == "train":
        said.append("The model was trained on these very pictures: the figures do not say how it reads others.")
    if evaluation.part == "val":
        said.append(
            "Epoch, temperature and threshold were chosen on these very pictures: the figures flatter the model."
        )
    if evaluation.model.synthetic and not evaluation.synthetic:
        said.append("The model was trained on SYNTHETIC phantoms: it knows no patient.")
    if evaluation.synthetic:
        said.append(
            "The pictures are SYNTHETIC phantoms: the figures show that the path works, not how patients are read."
        )
    return said


def lines(evaluation: Evaluation) -> list[str]:
    """The fuller figures of one model in a few lines, for the terminal."""
    m, path, calibration = evaluation.metrics, evaluation.model.path, evaluation.calibration

    def shown(text: Callable[[Estimate], str], *pairs: tuple[str, str]) -> str:
        return ", ".join(f"{label} {text(m[name])}" for label, name in pairs)

    found = [f"{evaluation.model.title} ({path}), {evaluation.part} part, {_size(evaluation)}; {calibration.source}"]
    found.append(shown(percent, ("macro-F1", "macro_f1"), ("AUC malignant vs rest", "auc_malignant_rest")))
    for label in _present(evaluation):
        names = [(name, f"{name.lower()}_{label}") for name in ("precision", "recall", "F1")]
        found.append(f"{label}: {shown(percent, *names)}")
    point = shown(percent, ("sensitivity", "sensitivity"), ("specificity", "specificity"))
    of_benign = percent(m["specificity_benign"])
    found.append(f"at P(malignant) >= {calibration.threshold:.3g}: {point}, of the benign alone {of_benign}")
    for title, name in _CURVES:
        at = (f"{wanted} % sensitivity {percent(m[_specificity(wanted, name)])}" for wanted in (90, 95))
        found.append(f"specificity, {title}, at {', at '.join(at)}")
    if "verdict_coverage" in m:
        found.append(f"verdicts as on the device: {shown(percent, *_VERDICTS)}")
    reliability = shown(number, ("ECE", "ece"), ("Brier score", "brier"), ("NLL", "nll"))
    found.append(f"at temperature {calibration.temperature:.3g}: {reliability}")
    return [found[0], *(f"  {line}" for line in found[1:])]


def difference_lines(evaluations: list[Evaluation]) -> list[str]:
    """Each later model minus the first, paired, in percentage points."""
    first, said = evaluations[0], []
    for other in evaluations[1:]:
        found = differences(first, other)
        what = f"{_name(other, evaluations)} minus {_name(first, evaluations)}"
        if found is None:
            said.append(f"{what}: not compared, they were evaluated on different pictures or groups")
        else:
            cells = ", ".join(f"{_PAIRED[name]} {signed(estimate)}" for name, estimate in found.items())
            said.append(f"{what}: {cells}")
    return said


def page(evaluations: list[Evaluation], folders: list[str]) -> str:
    """report.md. folders: where each model's figures lie, such as `tiny-student/`, or the empty text."""
    first = evaluations[0]
    synthetic = "SYNTHETIC " if first.synthetic else ""
    parts = [
        f"# Evaluation on {synthetic}{first.data_name}, {first.part} part",
        f"**{RESEARCH_NOTICE}**",
        *(f"**{sentence}**" for sentence in dict.fromkeys(s for e in evaluations for s in warnings(e))),
        f"Percent, in brackets 95 % intervals: percentiles of {len(first.drawn['accuracy'])} resamplings of whole "
        "groups (near-copies are not independent). What each figure means and which paper it is "
        f"from stands in docs/evaluation.md of busi-kd; this page was written by busi-kd {__version__}.",
        "## Models",
        _table(
            ["model", *(column for column, _ in _COMPARED), "ECE", "Brier score"], [_compared(e) for e in evaluations]
        ),
        "Accuracy, balanced accuracy and F1 are of the likeliest class; sensitivity and specificity of malignant "
        "against all others at the threshold, without abstention. ECE 0..1 and Brier score 0..2: less is better.",
    ]
    if len(evaluations) > 1:
        parts += [
            f"## Differences to {_name(first, evaluations)}",
            "Percentage points, paired: the same resamplings for both, so what is hard for both cancels out. An "
            "interval that holds 0 shows no difference.",
            _table(["model", *_PAIRED.values()], [_difference(first, other, evaluations) for other in evaluations[1:]]),
        ]
    for evaluation, folder in zip(evaluations, folders):
        parts += _section(evaluation, folder, _name(evaluation, evaluations))
    return "\n\n".join(parts) + "\n"


def _section(evaluation: Evaluation, folder: str, name: str) -> list[str]:
    m, calibration, model = evaluation.metrics, evaluation.calibration, evaluation.model
    source = calibration.source[0].upper() + calibration.source[1:]
    parts = [
        f"## {name}",
        f"`{model.path}`, a {model.kind}. {_split(evaluation)} {source}: "
        f"temperature {calibration.temperature:.3g}, malignant from a calibrated P(malignant) of "
        f"{calibration.threshold:.3g} on.",
        _table(
            ["class", "pictures", "precision", "recall", "F1"],
            [
                [
                    label,
                    str(int((evaluation.targets == CLASSES.index(label)).sum())),
                    *(percent(m[f"{metric}_{label}"]) for metric in ("precision", "recall", "f1")),
                ]
                for label in _present(evaluation)
            ],
        ),
        _table(
            ["malignant", "AUC", "specificity at 90 % sensitivity", "at 95 % sensitivity"],
            [
                [title, percent(m[f"auc_{name}"]), *(percent(m[_specificity(wanted, name)]) for wanted in (90, 95))]
                for title, name in _CURVES
            ],
        ),
        _table(
            ["at the threshold", ""],
            [
                ["sensitivity, malignant pictures", percent(m["sensitivity"])],
                ["specificity, all other pictures", percent(m["specificity"])],
                ["specificity, benign pictures", percent(m["specificity_benign"])],
            ],
        ),
    ]
    if "verdict_coverage" in m:
        rows = [[label, percent(m[name])] for label, name in _VERDICTS]
        parts.append(_table(["verdicts as on the device, with abstention", ""], rows))
    parts.append(
        f"Probabilities at temperature {calibration.temperature:.3g}: expected calibration error {number(m['ece'])}, "
        f"Brier score {number(m['brier'])}, negative log-likelihood {number(m['nll'])}."
    )
    parts += [f"![{_ALT[figure]}]({folder}{figure}.png)" for figure in FIGURES]
    wrong = len(evaluation.errors())
    parts.append(f"Wrong by the likeliest class: {wrong}. Every answer is in `{folder}predictions.csv`.")
    return parts


_ALT = {
    "confusion": "Confusion matrices",
    "roc": "ROC curves with bands",
    "reliability": "Reliability diagram",
    "errors": "Worst errors",
}


def _split(evaluation: Evaluation) -> str:
    split, size = evaluation.split, _size(evaluation)
    if split is None:
        return f"{size}."
    only = ", a list given with --only" if split["only"] and evaluation.part == "test" else ""
    return (
        f"{size}{only}; protocol `{split['protocol']}`, test fold {split['test_fold']} of {split['folds']}, seed "
        f"{split['seed']}, fingerprint `{split['fingerprint'][:12]}`, groups: {_groups(split['groups'])}."
    )


def _groups(source: str) -> str:
    return f"`{source[:19]}`" if source.startswith("sha256:") else source


def _size(evaluation: Evaluation) -> str:
    different = len({picture.name for picture in evaluation.pictures})
    copies = f" ({different} different ones)" if different < len(evaluation.pictures) else ""
    return f"{len(evaluation.pictures)} pictures{copies} in {len(np.unique(evaluation.groups))} groups"


def _present(evaluation: Evaluation) -> list[str]:
    return [CLASSES[k] for k in np.unique(evaluation.targets)]


def _specificity(wanted: int, curve: str) -> str:
    return f"specificity_at_sensitivity_{wanted}_{curve}"


def _compared(evaluation: Evaluation) -> list[str]:
    m = evaluation.metrics
    shares = [percent(m[metric]) for _, metric in _COMPARED]
    return [evaluation.model.title, *shares, number(m["ece"]), number(m["brier"])]


def _difference(first: Evaluation, other: Evaluation, evaluations: list[Evaluation]) -> list[str]:
    found = differences(first, other)
    cells = ["other pictures"] * len(_PAIRED) if found is None else [signed(found[name]) for name in _PAIRED]
    return [_name(other, evaluations), *cells]


def _name(evaluation: Evaluation, evaluations: list[Evaluation]) -> str:
    """The title, with the folder's name where two models share a title."""
    title = evaluation.model.title
    alike = sum(other.model.title == title for other in evaluations) > 1
    return f"{title} ({evaluation.model.path})" if alike else title


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])
