"""The page of a study: Markdown for people, CSV and JSON for programs, one figure."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from device import RESEARCH_NOTICE, files, schema
from device.bundle import Estimate
from train.evaluation.intervals import percent, signed
from train.studies.grid import plot
from train.studies.grid.results import Pictures, Result
from train.studies.grid.study import Key, Row, Study
from train.studies.grid.table import METRICS, TITLES, Mean, Summary, summarise
from train.studies.grid.teachers import Teachers, judged

PAGE, TABLE, NUMBERS, FIGURE = "README.md", "table.csv", "study.json", "study.png"
SCOPES = {
    "everywhere": "mean over all folds and seeds",
    "decide": "mean over the deciding folds and seeds",
    "held_out": "mean over the held-out folds and seeds",
    "pooled": "out-of-fold predictions pooled, mean over seeds",
}


def write(out: Path, study: Study, pictures: Pictures, results: dict[Key, Result], repeats: int) -> Path:
    """Write README.md, table.csv, study.json and study.png into `out`, each whole or not at all; returns the first."""
    rows, teachers = summarise(study, pictures, results, repeats), judged(study, pictures, results, repeats)
    files.write_bytes(out / FIGURE, plot.draw(rows, pictures.synthetic))
    files.write_text(out / TABLE, table_csv(rows))
    files.write_json(
        out / NUMBERS,
        {
            "notice": RESEARCH_NOTICE,
            "name": study.name,
            "data": {"name": pictures.data, "fingerprint": pictures.fingerprint, "synthetic": pictures.synthetic},
            "groups": pictures.groups,
            "recipe": study.recipe,
            "decide": list(study.decide),
            "repeats": repeats,
            "rows": [_facts(row) for row in rows],
            "teachers": [schema.dump(one) for one in teachers],
            "hardware": sorted({result.hardware for result in results.values()}),
            "versions": _versions(results),
        },
    )
    files.write_text(out / PAGE, markdown(study, pictures, results, rows, teachers, repeats))
    return out / PAGE


def _facts(summary: Summary) -> dict[str, Any]:
    facts, row = schema.dump(summary), summary.row
    facts["seeds"] = {str(seed): values for seed, values in summary.seeds.items()}
    facts["row"] = {
        "name": row.name,
        "folder": row.slug,
        "base": row.base,
        "against": row.against,
        "change": row.change,
        "soft": bool(row.soft),
        "living": row.living,
        "recipe": schema.dump(row.recipe),
    }
    return facts


def _versions(results: dict[Key, Result]) -> list[dict[str, str]]:
    found = {json.dumps(result.versions, sort_keys=True) for result in results.values()}
    return [json.loads(text) for text in sorted(found)]


def table_csv(rows: list[Summary]) -> str:
    """One line per row, scope and metric; shares 0..1, unknown is empty."""
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(
        "row scope metric trainings planned value low high against shared difference difference_low "
        "difference_high".split()
    )
    for row in rows:
        for scope in SCOPES:
            one: Mean = getattr(row, scope)
            for metric in METRICS:
                there = one.difference[metric] if one.difference else Estimate(None)
                table.writerow(
                    [
                        *(row.row.name, scope, metric),
                        *(one.trainings, row.planned if scope == "everywhere" else ""),
                        *_numbers(one.mean[metric]),
                        *(row.row.against or "", one.shared if row.row.against else ""),
                        *_numbers(there),
                    ]
                )
    return stream.getvalue()


def _numbers(estimate: Estimate) -> list[str]:
    return ["" if v is None else f"{v:.6f}" for v in (estimate.value, estimate.low, estimate.high)]


def markdown(
    study: Study,
    pictures: Pictures,
    results: dict[Key, Result],
    rows: list[Summary],
    teachers: list[Teachers],
    repeats: int,
) -> str:
    """The page: what was trained, the headline table, the teachers, deciding and held-out folds, pooled figures, seeds,
    changes."""
    lines = [
        f"# {study.name}: {pictures.data}, base recipe {study.recipe}",
        "",
        f"**{RESEARCH_NOTICE}**" + (" All pictures are SYNTHETIC phantoms." if pictures.synthetic else ""),
        "",
        _about(study, results, rows, repeats),
        "",
        f"![AUC and accuracy of each row, and its difference to the row it is compared with]({FIGURE})",
        "",
        "## Mean over folds and seeds",
        "",
        *_table(
            ["row", "trainings", "seeds", *TITLES.values()],
            (
                [r.row.name, _count(r), _list(r.row.seeds), *(percent(r.everywhere.mean[m]) for m in METRICS)]
                for r in rows
            ),
        ),
        "",
        "Difference to another row, in percentage points, on the seeds and folds that both have:",
        "",
        *_table(["row", "minus", "shared trainings", *TITLES.values()], _differences(rows, "everywhere")),
        "",
        *_teachers(teachers),
        f"## Deciding folds ({_list(study.decide)}) and held-out folds ({_list(_held_out(study, rows)) or 'none'})",
        "",
        "Rows are chosen by the deciding folds alone; the held-out folds are only reported.",
        "",
        *_table(
            ["row", *(f"{title}, {where}" for title in TITLES.values() for where in ("deciding", "held out"))],
            ([r.row.name, *(percent(s.mean[m]) for m in METRICS for s in (r.decide, r.held_out))] for r in rows),
        ),
        "",
        "Difference on the deciding folds:",
        "",
        *_table(["row", "minus", "shared trainings", *TITLES.values()], _differences(rows, "decide")),
        "",
        "## Out-of-fold predictions pooled",
        "",
        "All folds' test predictions of a seed judged together, mean over the seeds that are complete. Logits of "
        "different folds are from different networks, so this AUC is mostly lower than the mean over folds.",
        "",
        *_table(
            ["row", "complete seeds", *TITLES.values()],
            ([r.row.name, str(r.pooled.trainings), *(percent(r.pooled.mean[m]) for m in METRICS)] for r in rows),
        ),
        "",
        "## Each seed",
        "",
        "Mean over folds, for seeds that are complete; SD: standard deviation over them, in percentage points.",
        "",
        *_seeds(rows),
        "",
        "## The rows",
        "",
        *_table(
            ["row", "starts from", "learns from", "changes to that recipe"],
            ([r.row.name, r.row.base or study.recipe, _teacher(r.row), _changes(r.row)] for r in rows),
        ),
        "",
        *_missing(rows),
        "## Again",
        "",
        f"    busi-kd train grid {study.path.name} DATA --groups CSV --weights-dir DIR --out DIR",
        "",
        "goes on with what is missing; with `--table-only` it writes this page from `results/`, without the data.",
    ]
    return "\n".join(lines) + "\n"


def _about(study: Study, results: dict[Key, Result], rows: list[Summary], repeats: int) -> str:
    hours = sum(row.seconds for row in rows) / 3600
    took = f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.0f} minutes"
    ran = "; ".join(sorted({result.hardware for result in results.values()})) or "nothing yet"
    return (
        f"{sum(r.everywhere.trainings for r in rows)} of {sum(r.planned for r in rows)} trainings are done, "
        f"{took} in all, on {ran}. A training's test part is one fold, its validation part the next, "
        "and it trains on the others; a fold is the same pictures for all rows and seeds. Figures are percent, with a "
        f"95 % interval from {repeats} resamplings of the groups of near-copies, the same for all rows. The interval "
        "speaks of the pictures, for these very networks; how far networks differ shows in the seeds. Of many "
        "differences to a row, some exclude 0 by chance. AUC is of lesions alone."
    )


def _differences(rows: list[Summary], scope: str) -> Iterator[list[str]]:
    for row in rows:
        one: Mean = getattr(row, scope)
        if row.row.against:
            cells = [signed(one.difference[m]) if one.difference else "unknown" for m in METRICS]
            yield [row.row.name, row.row.against, str(one.shared), *cells]


def _teachers(found: list[Teachers]) -> list[str]:
    if not found:
        return []
    lines = ["## The teachers themselves", ""]
    for one in found:
        if one.why_not:
            lines += [f"`{_list(one.folders)}`: not judged. {one.why_not}", ""]
    cells = [
        [_list(one.folders), str(one.teachers), _list(one.folds), *(percent(one.mean[m]) for m in METRICS)]
        for one in found
        if one.mean
    ]
    minus = [
        [row.row, _list(one.folders), _list(row.folds), *(signed(row.difference[m]) for m in METRICS)]
        for one in found
        for row in one.rows
    ]
    if cells:
        lines += [
            "Those whose cached answers rows learn from. A teacher has learnt from all folds but the two that it "
            "answers, and is judged on these by its answer to the picture as it is: in each fold the mean over its "
            "teachers, then the mean over folds.",
            "",
            *_table(["answers", "teachers", "folds", *TITLES.values()], cells),
            "",
        ]
    if minus:
        lines += [
            "A row minus its teachers, in percentage points, on the folds that both answered; folds weigh the same:",
            "",
            *_table(["row", "minus the teachers of", "folds", *TITLES.values()], minus),
            "",
        ]
    return lines


def _seeds(rows: list[Summary]) -> list[str]:
    seeds = list(dict.fromkeys(seed for row in rows for seed in row.seeds))
    lines = []
    for row in rows:
        for metric, title in TITLES.items():
            values = [row.seeds.get(seed, {}).get(metric) for seed in seeds]
            spread = row.spread[metric]
            cells = ["" if value is None else f"{100 * value:.1f}" for value in values]
            lines.append([row.row.name, title, *cells, "" if spread is None else f"{100 * spread:.2f}"])
    return _table(["row", "figure", *(f"seed {seed}" for seed in seeds), "SD"], lines)


def _missing(rows: list[Summary]) -> list[str]:
    found = [(r.row.name, r.missing) for r in rows if r.missing]
    if not found:
        return []
    cells = ([name, ", ".join(f"{seed}-{fold}" for seed, fold in missing)] for name, missing in found)
    return ["## Missing", "", *_table(["row", "trainings that are not there, seed-fold"], cells), ""]


def _held_out(study: Study, rows: list[Summary]) -> list[int]:
    return sorted({fold for row in rows for fold in row.row.folds} - set(study.decide))


def _count(row: Summary) -> str:
    return f"{row.everywhere.trainings} of {row.planned}" if row.missing else str(row.planned)


def _list(values) -> str:
    return ", ".join(map(str, values))


def _teacher(row: Row) -> str:
    if row.living:
        return "labels and a living teacher, trained on the same split"
    if not row.soft:
        return "labels"
    return f"labels and cached answers of teachers: {_list(folder.name for folder in row.soft)}"


def _changes(row: Row) -> str:
    return "; ".join(f"`{key} = {_toml(value)}`" for key, value in _flat(row.change)) or "none"


def _flat(change: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in change.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _table(head: list[str], rows) -> list[str]:
    body = (" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows)
    return [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(f"| {line} |" for line in body)]
