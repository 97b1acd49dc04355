"""The page of the protocol study: Markdown for people, JSON for programs, one figure."""

from pathlib import Path

from device import RESEARCH_NOTICE, files, schema
from train.data.busi import DataSet
from train.evaluation.metrics import percent
from train.recipe import Recipe
from train.runs import versions
from train.studies.protocols import Row, Trial, summarise

# Published: test accuracy of the distilled student and of the student without a teacher, on the paper's own split.
PAPER = {"distilled": 0.9506, "no teacher": 0.8846}
_TITLES = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "auc_benign_malignant": "AUC"}


def write(out: Path, data: DataSet, recipe: Recipe, done: list[Trial], with_teacher: bool, repeats: int) -> Path:
    """Write protocols.json, protocols.png and protocols.md into `out`; returns the last."""
    rows = summarise(done, repeats)
    files.write_json(
        out / "protocols.json",
        {
            "notice": RESEARCH_NOTICE,
            "data": {"name": data.name, "fingerprint": data.fingerprint, "synthetic": data.synthetic},
            "recipe": schema.dump(recipe),
            "with_teacher": with_teacher,
            "repeats": repeats,
            "rows": schema.dump(rows),
            "splits": [{"protocol": t.protocol, "seed": t.seed, **t.split} for t in done],
            "hardware": sorted({t.hardware for t in done}),
            "versions": versions(),
        },
    )
    draw(out / "protocols.png", rows, data.synthetic)
    files.write_text(out / "protocols.md", markdown(data, recipe, done, rows, with_teacher, repeats))
    return out / "protocols.md"


def markdown(
    data: DataSet, recipe: Recipe, done: list[Trial], rows: list[Row], with_teacher: bool, repeats: int
) -> str:
    """The page: one table of means, one of the excess over `grouped`, one of seeds."""
    seeds = list(dict.fromkeys(trial.seed for trial in done))
    student = recipe.student
    lines = [
        f"# The same student under each split protocol: {data.name}, recipe {recipe.name}",
        "",
        f"**{RESEARCH_NOTICE}** "
        + ("All pictures are SYNTHETIC phantoms. " if data.synthetic else "")
        + f"Student {student.network.name} from {student.network.weights}, {student.fit.epochs} epochs, "
        + ("distilled from a teacher trained on the same split" if with_teacher else "from labels alone, no teacher")
        + f"; seeds {', '.join(map(str, seeds))} of split and training; trained on "
        + f"{'; '.join(sorted({t.hardware for t in done}))}. Percent; mean over the seeds [95 % interval, {repeats} "
        + "resamplings of groups]; AUC: benign against malignant.",
        "",
        "| protocol | leaks | test entries | of them with a copy in training or validation | accuracy "
        "| balanced accuracy | AUC | accuracy with a copy | accuracy without |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_line(row) for row in rows),
    ]
    if any(row.excess for row in rows):
        lines += [
            "",
            "Difference to `grouped`, in percentage points. It is not the leak alone: `paper` also trains on twice the "
            "entries and judges classes of equal size (balanced accuracy is the fair column), and both keep the "
            "pictures with contradicting labels, which `grouped` leaves out.",
            "",
            "| protocol | accuracy | balanced accuracy | AUC |",
            "|---|---|---|---|",
            *(
                f"| {row.protocol} | {' | '.join(percent(row.excess[name]) for name in _TITLES)} |"
                for row in rows
                if row.excess
            ),
        ]
    lines += [
        "",
        "| protocol | seed | " + " | ".join(_TITLES.values()) + " |",
        "|---|---|---|---|---|",
        *(
            f"| {row.protocol} | {seed} | {' | '.join(_percent(row.seeds[name][s]) for name in _TITLES)} |"
            for row in rows
            for s, seed in enumerate(seeds)
        ),
    ]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    cells = [
        row.protocol,
        "no" if row.protocol == "grouped" else "by construction",
        _counts(row.test_entries),
        _counts(row.known_entries),
        *(percent(row.mean[name]) for name in _TITLES),
        _percent(row.known),
        _percent(row.unknown),
    ]
    return f"| {' | '.join(cells)} |"


def _counts(values: tuple[int, ...]) -> str:
    return ", ".join(map(str, values)) if len(set(values)) > 1 else str(values[0])


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def draw(path: Path, rows: list[Row], synthetic: bool) -> None:
    """One panel per metric: the seeds as dots, their mean with its interval."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(_TITLES))
    for panel, (name, title) in zip(panels, _TITLES.items()):
        for x, row in enumerate(rows):
            mean, colour = row.mean[name], "tab:blue" if row.protocol == "grouped" else "tab:red"
            if mean.value is not None and mean.low is not None and mean.high is not None:
                spread = [[100 * (mean.value - mean.low)], [100 * (mean.high - mean.value)]]
                panel.errorbar(x, 100 * mean.value, spread, fmt="o", color=colour, capsize=5, markersize=8)
            values = [100 * value for value in row.seeds[name] if value is not None]
            panel.plot([x + 0.18] * len(values), values, "_", color="black", markersize=9)
        panel.set_xticks(range(len(rows)), [row.protocol for row in rows])
        panel.set_xlim(-0.5, len(rows) - 0.5)
        panel.set_title(f"{title}, %")
        panel.grid(axis="y", alpha=0.3)
    for what, value in PAPER.items() if not synthetic else ():
        panels[0].axhline(100 * value, color="grey", linestyle=":")
        panels[0].annotate(f"published, {what}", (-0.45, 100 * value), va="bottom", fontsize=7, color="grey")
    figure.suptitle(
        ("SYNTHETIC phantoms. " if synthetic else "") + "Same student, same recipe; only the split differs. "
        f"Red: protocols that leak. Bars: 95 %; dashes: seeds.\n{RESEARCH_NOTICE}",
        fontsize=9,
    )
    figure.savefig(path, dpi=110)
