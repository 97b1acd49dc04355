"""The conversion's report: JSON for programs, one Markdown page for people. It is left behind by a refusal, too."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convert import report_masks, report_noise
from convert.report_masks import FileMasks
from convert.verify.examine import Result
from convert.verify.held_out import HeldOut
from convert.verify.masks import Outlined
from convert.verify.parity import Flip, Parity
from device import RESEARCH_NOTICE, files, schema
from train.audit.sheets import Tile, write_sheets
from train.evaluation.intervals import signed
from train.evaluation.metrics import percent
from train.options import warnings
from train.recipe import ConvertRecipe
from train.runs import Run

FILE = "report.json"
_METRICS = ("accuracy", "balanced_accuracy", "auc_benign_malignant")
_SHEETS = "flips"


@dataclass(frozen=True)
class Content:
    """What a conversion found. reasons: why nothing ships. again: int8-full of a second calibration against the first,
    None without. layers: noise of int8-full's layers (convert/quantise/noise.py). calibration: the manifest. masks: of
    each TFLite file of a network with a mask head."""

    rows: list[Result]
    reasons: list[str]
    again: Parity | None
    layers: list[dict[str, Any]]
    calibration: dict[str, Any]
    masks: list[FileMasks] = field(default_factory=list)


def write(
    folder: Path,
    run: Run,
    recipe: ConvertRecipe,
    content: Content,
    held_out: HeldOut,
    outlined: Outlined | None = None,
) -> None:
    """Write report.json and report.md into `folder`, and pictures of the flips, of the masks that differ most and of
    the layers' noise. outlined: what the masks were compared with."""
    parts = {"validation": held_out.val, "test": len(held_out.names) - held_out.val}
    files.write_json(
        folder / FILE,
        {
            "notice": RESEARCH_NOTICE,
            "student": run.meta.weights_sha256,
            "split": run.meta.split,
            "synthetic": run.meta.synthetic,
            "recipe": schema.dump(recipe),
            "pictures": parts,
            "variants": [schema.dump(row) for row in content.rows],
            "refused": content.reasons,
            "calibration": {**content.calibration, "again": schema.dump(content.again) if content.again else None},
            "layers": content.layers,
        },
    )
    sheets = _flip_sheets(folder, content.rows, held_out)
    if content.layers:
        files.write_bytes(folder / report_noise.PICTURE, report_noise.picture(content.layers))
    drawn = [] if outlined is None else report_masks.write_mask_sheets(folder, content.masks, outlined)
    lines = [*_head(run, content, parts), *_refused(content), *_flips(content.rows, sheets)]
    lines += report_masks.section(content.masks, drawn)
    files.write_text(folder / "report.md", "\n".join([*lines, *report_noise.section(content.layers)]) + "\n")


def _head(run: Run, content: Content, parts: dict[str, int]) -> list[str]:
    kind = "synthetic phantoms" if run.meta.synthetic else run.meta.data_name
    held_out = sum(parts.values())
    lines = [
        f"# Conversion of {run.meta.recipe.name}",
        "",
        f"{RESEARCH_NOTICE} Data: {kind}. Parity: against PyTorch on {held_out} held-out pictures. "
        f"Metrics: {parts['test']} test pictures, percent [95 % interval over groups].",
        *(line for said in warnings(run.meta.split, run.meta.synthetic) for line in ("", f"**{said}**")),
        "",
        "| file | kB | largest logit difference | agree | same verdict | accuracy | balanced accuracy "
        "| AUC benign vs malignant |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in content.rows:
        largest = "not finite" if row.parity.max_difference is None else f"{row.parity.max_difference:.3g}"
        same = "" if row.verdict_agreement is None else f"{100 * row.verdict_agreement:.1f} %"
        cells = [percent(row.metrics[name]) if name in row.metrics else "" for name in _METRICS]
        lines.append(
            f"| {row.variant} | {row.bytes / 1000:.0f} | {largest} | {100 * row.parity.agreement:.1f} % | {same} | "
            f"{' | '.join(cells)} |"
        )
    lines += [
        "",
        f"Minus PyTorch, on all {held_out} held-out pictures, percentage points; and on {_hard(content)} frames that "
        "no training holds (phantoms, single colours, noise, bars, colour Doppler):",
        "",
        "| file | accuracy | AUC benign vs malignant | hard frames: largest logit difference | agree |",
        "|---|---|---|---|---|",
    ]
    for row in content.rows:
        lost = [signed(found) for found in row.differences.values()] or ["", ""]
        largest = "not finite" if row.hard.max_difference is None else f"{row.hard.max_difference:.3g}"
        lines.append(f"| {row.variant} | {' | '.join(lost)} | {largest} | {100 * row.hard.agreement:.1f} % |")
    return [*lines, "", _calibration(content)]


def _hard(content: Content) -> int:
    return content.rows[0].hard.pictures


def _calibration(content: Content) -> str:
    said = f"Calibration: {content.calibration['pictures']} training pictures."
    if content.again is None:
        return (
            said
            if all(row.variant != "int8-full" for row in content.rows)
            else (f"{said} Too few are left for a second draw: whether these are enough is unknown.")
        )
    return (
        f"{said} As many others give int8-full the same answer to {100 * content.again.agreement:.1f} % of "
        f"{content.again.pictures} held-out pictures."
    )


def _refused(content: Content) -> list[str]:
    return ["", "## Refused", "", *(f"- {reason}" for reason in content.reasons)] if content.reasons else []


def _flips(rows: list[Result], sheets: list[str]) -> list[str]:
    flips = [(row.variant, flip) for row in rows for flip in (*row.parity.flips, *row.hard.flips)]
    if not flips:
        return []
    return [
        "",
        "## Pictures whose top class changed",
        "",
        "Margin: how far apart PyTorch's two probabilities were.",
        "",
        "| file | picture | PyTorch | became | margin |",
        "|---|---|---|---|---|",
        *(f"| {variant} | {f.picture} | {f.was} | {f.became} | {f.margin:.2f} |" for variant, f in flips),
        *(line for sheet in sheets for line in ("", f"![Pictures whose top class changed]({sheet})")),
    ]


def _flip_sheets(folder: Path, rows: list[Result], held_out: HeldOut) -> list[str]:
    """Contact sheets of the held-out pictures whose top class changed, each once, with the files that changed it."""
    place = {name: number for number, name in enumerate(held_out.names)}
    changed: dict[str, list[tuple[str, Flip]]] = {}
    for row in rows:
        for flip in row.parity.flips:
            changed.setdefault(flip.picture, []).append((row.variant, flip))
    tiles = [
        Tile(
            (held_out.lumas[place[name]],),
            ((name, "; ".join(f"{variant}: {flip.was} -> {flip.became}" for variant, flip in found[:2])),),
        )
        for name, found in changed.items()
    ]
    return write_sheets(folder, _SHEETS, f"Top class changed. {RESEARCH_NOTICE}", tiles)
