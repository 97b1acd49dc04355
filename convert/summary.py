"""The whole path's one page: sizes, accuracy, latency, FPS, CPU, temperature, and where everything was written."""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

from convert import summary_picture
from device import RESEARCH_NOTICE, __version__, files, schema, shipped
from device.bundle import VARIANTS, Estimate, load_bundle
from device.phantom_clip import PhantomClip
from train.evaluation.metrics import percent
from train.options import warnings

_METRICS = ("accuracy", "balanced_accuracy", "auc_benign_malignant")
SHIPPED_FILE = "shipped.json"  # the daemon's run with the model that ships with busi-kd; only the demonstration has it
_KINDS = ("teacher", "student", "student-alone")


def write(out: Path, timings: dict[str, float], seconds: float) -> Path:
    """Write summary.md, summary.png and summary.json into `out` from what the steps left there; returns the .md.

    timings: seconds per step; seconds: all together.
    """
    facts = collect(out, timings, seconds)
    files.write_json(out / "summary.json", facts)
    summary_picture.draw(out / "summary.png", out, facts)
    files.write_text(out / "summary.md", page(out, facts))
    return out / "summary.md"


def collect(out: Path, timings: dict[str, float], seconds: float) -> dict[str, Any]:
    """Everything the page says, as plain data."""
    evaluation, bench, daemon = (_read(out / f"{name}.json") for name in ("evaluation", "bench", "daemon"))
    models, metas = {}, {}
    for kind in _KINDS:
        found = evaluation["models"].get(str(out / kind))
        if found is None:
            continue
        metas[kind] = meta = _read(out / kind / "meta.json")
        models[kind.replace("-alone", " without teacher") + " (PyTorch)"] = {
            "kb": meta["mebibytes"] * 2**20 / 1000,
            "parameters": meta["parameters"],
            "metrics": found["metrics"],
        }
    for variant in VARIANTS:
        if not (out / "bundles" / variant).is_dir():  # one that the recipe does not make
            continue
        bundle = load_bundle(out / "bundles" / variant)
        models[variant] = {
            "kb": bundle.model_path.stat().st_size / 1000,
            "parameters": metas["student"]["parameters"],
            "metrics": schema.dump(bundle.meta.metrics),
            "agreement": bundle.meta.parity["top1_agreement"],
            "latency": {
                str(row["threads"]): {**row["interpreter_ms"], "valid": row["valid"], "reason": row["reason"]}
                for row in bench["rows"]
                if row["variant"] == variant and row["error"] is None
            },
        }
    student = metas["student"]
    return {
        "notice": RESEARCH_NOTICE,
        "synthetic": student["synthetic"],
        "data": student["data_name"],
        "recipe": student["recipe"]["name"],
        "seed": student["recipe"]["seed"],
        "split": student["split"],
        "weights": {kind: meta["initial_weights"] for kind, meta in metas.items()},
        "trained_on": {kind: f"{meta['hardware']}, {meta['seconds']:.0f} s" for kind, meta in metas.items()},
        "version": __version__,
        "machine": bench["machine"],
        "pictures": evaluation["models"][str(out / "student")]["pictures"],
        "models": models,
        "daemon": daemon,
        "clip": daemon["source"].startswith("phantom"),
        "verdicts": verdicts_by_truth(out / "verdicts.csv", daemon["source"].startswith("phantom")),
        "shipped": shipped_facts(out),
        "warnings": bench["warnings"],
        "seconds": {**timings, "all": seconds},
    }


def shipped_facts(out: Path) -> dict[str, Any] | None:
    """What the daemon's run with the shipped model left in `out`, with the model in words; None without such a run."""
    if not (out / SHIPPED_FILE).is_file():
        return None
    bundle = load_bundle(shipped.default_bundle())
    daemon = _read(out / SHIPPED_FILE)
    del daemon["verdicts"]  # of a model for patients' pictures about phantoms: figures that somebody might believe
    return {"model": shipped.describe(bundle), "synthetic": bundle.meta.synthetic, "daemon": daemon}


def verdicts_by_truth(path: Path, of_clip: bool) -> dict[str, dict[str, int]]:
    """The daemon's verdicts by what was really in view: true label -> verdict -> frames.

    The phantom clip is deterministic, so a frame's truth follows from its number; a replayed picture's truth is its
    class folder.
    """
    clip = PhantomClip() if of_clip else None
    with open(path, newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(line for line in stream if not line.startswith("#")))
    counts = Counter(
        (clip.frame(int(row["sequence"])).label if clip else row["name"].split("/")[0], row["verdict"]) for row in rows
    )
    truths = sorted({truth for truth, _ in counts})
    return {truth: {verdict: n for (t, verdict), n in sorted(counts.items()) if t == truth} for truth in truths}


def page(out: Path, facts: dict[str, Any]) -> str:
    """The page as Markdown."""
    machine, split = facts["machine"], facts["split"]
    if facts["synthetic"]:
        title = f"busi-kd on phantoms, recipe {facts['recipe']}"
        about = "All pictures are SYNTHETIC phantoms: the figures show that the path works, not how it reads patients."
    else:
        title = f"busi-kd on {facts['data']}, recipe {facts['recipe']}"
        pictures = split["pictures"]
        about = (
            f"Split: {split['protocol']}, test fold {split['test_fold']} of {split['folds']}, seed {split['seed']}: "
            f"{pictures['train']} training, {pictures['val']} validation, {pictures['test']} test pictures, "
            f"{split['left_out']} left out (conflicting labels, excluded); training seed {facts['seed']}."
        )
        about += "".join(f" **{sentence}**" for sentence in warnings(split, facts["synthetic"]))
    folders = ", ".join(f"{name}/" for name in ("teacher", "soft", "student") if (out / name).is_dir())
    lines = [
        f"# {title}",
        "",
        f"**{RESEARCH_NOTICE}** {about}",
        "",
        f"{facts['pictures']} test pictures; percent [95 % interval over groups]. Interpreter latency p50, batch 1, on "
        f"{machine['model']} ({machine['cores']} cores).",
        "",
        "| model | kB | same class as PyTorch | accuracy | balanced accuracy | AUC benign vs malignant | ms, 1 thread "
        "| ms, 2 threads |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(name, model) for name, model in facts["models"].items()),
        "",
        *_daemon(facts),
        "",
        *(
            f"- {kind}: first weights {', '.join(names)}; trained on {facts['trained_on'][kind]}"
            for kind, names in facts["weights"].items()
        ),
        *(f"- benchmark: {sentence}" for sentence in facts["warnings"]),
        "",
        f"Time: {facts['seconds']['all']:.0f} s, this time. Written to {out}: {folders}, bundles/ (one per variant, "
        "report.md), evaluation.json, bench.json, daemon.json, verdicts.csv, logs/.",
        *(_shipped(facts["shipped"]) if facts["shipped"] else ()),
    ]
    return "\n".join(lines) + "\n"


def _row(name: str, model: dict[str, Any]) -> str:
    latency = model.get("latency", {})
    # valid is False for a run that was held back by heat or a weak supply, None where no sensor knows.
    cells = [
        f"{latency[n]['p50']:.2f}{' NOT VALID' * (latency[n]['valid'] is False)}" if n in latency else ""
        for n in ("1", "2")
    ]
    agreement = f"{100 * model['agreement']:.1f} %" if "agreement" in model else ""
    metrics = [percent(Estimate(**model["metrics"][metric])) for metric in _METRICS]
    return f"| {name} | {model['kb']:.0f} | {agreement} | {' | '.join([*metrics, *cells])} |"


def _daemon(facts: dict[str, Any]) -> list[str]:
    daemon, health, stages = facts["daemon"], facts["daemon"]["health"], facts["daemon"]["stages_ms"]
    median = {stage: _unit(stages[stage]["p50"], "ms", 2) for stage in ("prepare", "infer")}
    return [
        f"Daemon, {daemon['bundle']['variant']} bundle, {daemon['source']}, {daemon['seconds']:.0f} s: "
        f"{_unit(daemon['fps_judged'], 'frames per second', 1)}, {daemon['frames']['judged']} frames judged, "
        f"{daemon['frames']['skipped']} skipped; prepare {median['prepare']}, infer {median['infer']}, frame to "
        f"verdict p95 {_unit(stages['total']['p95'], 'ms', 2)}; "
        f"CPU {_unit(health['process_cpu_percent_mean'], '%', 0)} of one core, temperature "
        f"{_unit(health['temperature_c_highest'], 'C', 1)}, memory {_unit(health['memory_rss_mb_highest'], 'MiB', 0)}, "
        f"throttled: {_flags(health['throttled'])}. Verdicts by what was in view:",
        "",
        *(f"- {truth}: " + ", ".join(f"{v} {n}" for v, n in said.items()) for truth, said in facts["verdicts"].items()),
    ]


def _shipped(facts: dict[str, Any]) -> list[str]:
    daemon, stages = facts["daemon"], facts["daemon"]["stages_ms"]
    shown = "synthetic phantoms" if facts["synthetic"] else "patients' pictures"
    return [
        "",
        "## The model that ships with busi-kd",
        "",
        facts["model"],
        "",
        f"It is none of the models above: it was trained on {shown}, and its figure is from its own test pictures, not "
        "from this demonstration. Here it passed every check that a device makes, and the daemon judged "
        f"{daemon['frames']['judged']} frames of the phantom clip with it in {daemon['seconds']:.0f} s: infer "
        f"{_unit(stages['infer']['p50'], 'ms', 2)}, frame to verdict p95 {_unit(stages['total']['p95'], 'ms', 2)}. The "
        f"clip shows nobody: the verdicts on it say nothing about this model and are not shown. ({SHIPPED_FILE})",
    ]


def _unit(value: float | None, unit: str, digits: int) -> str:
    return "unknown" if value is None else f"{value:.{digits}f} {unit}"


def _flags(flags: list[str] | None) -> str:
    return "unknown (no sensor)" if flags is None else ", ".join(flags) or "no"


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))
