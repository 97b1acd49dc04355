"""The conversion's report: JSON for programs, one Markdown page for people. It is left behind by a refusal, too."""

from pathlib import Path

from device import RESEARCH_NOTICE, files, schema
from train.evaluation.metrics import percent
from train.options import warnings
from train.recipe import ConvertRecipe
from train.runs import Run

FILE = "report.json"
_METRICS = ("accuracy", "balanced_accuracy", "auc_benign_malignant")


def write(folder: Path, run: Run, recipe: ConvertRecipe, results: list, val: int, test: int) -> None:
    """Write report.json and report.md into `folder`. results: convert.pipeline.Result rows."""
    files.write_json(
        folder / FILE,
        {
            "notice": RESEARCH_NOTICE,
            "student": run.meta.weights_sha256,
            "split": run.meta.split,
            "synthetic": run.meta.synthetic,
            "recipe": schema.dump(recipe),
            "pictures": {"validation": val, "test": test},
            "variants": [schema.dump(result) for result in results],
        },
    )
    files.write_text(folder / "report.md", markdown(run, results, val, test))


def markdown(run: Run, results: list, val: int, test: int) -> str:
    """The page: sizes, parity with PyTorch on held-out pictures, metrics on the test part, refusals."""
    kind = "synthetic phantoms" if run.meta.synthetic else run.meta.data_name
    lines = [
        f"# Conversion of {run.meta.recipe.name}",
        "",
        f"{RESEARCH_NOTICE} Data: {kind}. Parity: against PyTorch on {val + test} held-out pictures. "
        f"Metrics: {test} test pictures, percent [95 % interval over groups].",
        *(line for said in warnings(run.meta.split, run.meta.synthetic) for line in ("", f"**{said}**")),
        "",
        "| file | kB | largest logit difference | agree | accuracy | balanced accuracy | AUC benign vs malignant |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in results:
        largest = "not finite" if row.parity.max_difference is None else f"{row.parity.max_difference:.3g}"
        cells = [percent(row.metrics[name]) if name in row.metrics else "" for name in _METRICS]
        lines.append(
            f"| {row.variant} | {row.bytes / 1000:.0f} | {largest} | "
            f"{100 * row.parity.agreement:.1f} % | {' | '.join(cells)} |"
        )
    reasons = [reason for row in results for reason in row.reasons]
    lines += ["", "## Refused", "", *(f"- {reason}" for reason in reasons)] if reasons else []
    flips = [(row.variant, *flip) for row in results for flip in row.parity.flips]
    if flips:
        lines += [
            "",
            "## Pictures whose top class changed",
            "",
            "| file | picture | PyTorch | became |",
            "|---|---|---|---|",
        ]
        lines += [f"| {variant} | {name} | {was} | {became} |" for variant, name, was, became in flips]
    return "\n".join(lines) + "\n"
