"""The demonstration's one page: sizes, accuracy, latency, FPS, CPU, temperature, and where everything was written."""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from device import RESEARCH_NOTICE, __version__, files, schema
from device.bundle import VARIANTS, Estimate, load_bundle
from device.decide import decide
from device.phantom_clip import PhantomClip
from device.preprocess import prepare
from device.runtime import open_bundle
from train.metrics import percent

_METRICS = ("accuracy", "balanced_accuracy", "auc_benign_malignant")
_COLORS = {"benign": "#0072b2", "malignant": "#d55e00", "normal": "#009e73", "abstain": "#777777"}


def write(out: Path, timings: dict[str, float], seconds: float) -> Path:
    """Write summary.md, summary.png and summary.json into `out` from what the steps left there; returns the .md."""
    facts = collect(out, timings, seconds)
    files.write_json(out / "summary.json", facts)
    draw(out / "summary.png", out, facts)
    files.write_text(out / "summary.md", page(out, facts))
    return out / "summary.md"


def collect(out: Path, timings: dict[str, float], seconds: float) -> dict[str, Any]:
    """Everything the page says, as plain data."""
    evaluation, bench, daemon = (_read(out / f"{name}.json") for name in ("evaluation", "bench", "daemon"))
    models = {}
    for kind in ("teacher", "student"):
        meta = _read(out / kind / "meta.json")
        found = evaluation["models"][str(out / kind)]
        models[f"{kind} (PyTorch)"] = {
            "kb": meta["mebibytes"] * 2**20 / 1000,
            "parameters": meta["parameters"],
            "metrics": found["metrics"],
        }
    for variant in VARIANTS:
        bundle = load_bundle(out / "bundles" / variant)
        models[variant] = {
            "kb": bundle.model_path.stat().st_size / 1000,
            "parameters": models["student (PyTorch)"]["parameters"],
            "metrics": schema.dump(bundle.meta.metrics),
            "agreement": bundle.meta.parity["top1_agreement"],
            "latency": {
                row["threads"]: row["interpreter_ms"]
                for row in bench["rows"]
                if row["variant"] == variant and row["error"] is None
            },
        }
    return {
        "notice": RESEARCH_NOTICE,
        "synthetic": True,
        "version": __version__,
        "machine": bench["machine"],
        "pictures": evaluation["models"][str(out / "student")]["pictures"],
        "models": models,
        "daemon": daemon,
        "clip": clip_confusion(out / "verdicts.csv"),
        "seconds": {**timings, "all": seconds},
    }


def clip_confusion(path: Path) -> dict[str, dict[str, int]]:
    """The daemon's verdicts on the phantom clip by what was in view: true label -> verdict -> frames.

    The clip is deterministic, so the truth of each judged frame is computed again from its number.
    """
    clip = PhantomClip()
    with open(path, newline="") as stream:
        rows = list(csv.DictReader(line for line in stream if not line.startswith("#")))
    counts = Counter((clip.frame(int(row["sequence"])).label, row["verdict"]) for row in rows)
    truths = sorted({truth for truth, _ in counts})
    return {truth: {verdict: n for (t, verdict), n in sorted(counts.items()) if t == truth} for truth in truths}


def page(out: Path, facts: dict[str, Any]) -> str:
    """The page as Markdown."""
    machine, daemon, health = facts["machine"], facts["daemon"], facts["daemon"]["health"]
    stages = daemon["stages_ms"]
    lines = [
        "# busi-kd demonstration",
        "",
        f"**{RESEARCH_NOTICE}** All pictures are SYNTHETIC phantoms: these figures show that the path works, not how "
        "well it reads patients.",
        "",
        f"{facts['pictures']} test phantoms; percent [95 % interval]. Interpreter latency p50, batch 1, on "
        f"{machine['model']} ({machine['cores']} cores).",
        "",
        "| model | kB | same class as PyTorch | accuracy | AUC benign vs malignant | ms, 1 thread | ms, 2 threads |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, model in facts["models"].items():
        latency = model.get("latency", {})
        cells = [f"{latency[n]['p50']:.2f}" if n in latency else "" for n in (1, 2)]
        agreement = f"{100 * model['agreement']:.1f} %" if "agreement" in model else ""
        accuracy, auc = (percent(Estimate(**model["metrics"][metric])) for metric in (_METRICS[0], _METRICS[2]))
        lines.append(f"| {name} | {model['kb']:.0f} | {agreement} | {accuracy} | {auc} | {' | '.join(cells)} |")
    verdicts = ", ".join(f"{name} {count}" for name, count in daemon["verdicts"].items())
    lines += [
        "",
        f"Daemon, {daemon['seconds']:.0f} s of a phantom clip with the {daemon['bundle']['variant']} bundle: "
        f"{_unit(daemon['fps_judged'], 'frames per second', 1)}, {daemon['frames']['skipped']} frames skipped; "
        f"prepare {_unit(stages['prepare']['p50'], 'ms', 2)}, infer {_unit(stages['infer']['p50'], 'ms', 2)}, frame to "
        f"verdict p95 {_unit(stages['total']['p95'], 'ms', 2)}; CPU {_unit(health['process_cpu_percent_mean'], '%', 0)} "
        f"of one core, temperature {_unit(health['temperature_c_highest'], 'C', 1)}, memory "
        f"{_unit(health['memory_rss_mb_highest'], 'MiB', 0)}, throttled: {_flags(health['throttled'])}.",
        "",
        f"Verdicts: {verdicts}. By what was in view:",
        "",
        *(f"- {truth}: " + ", ".join(f"{v} {n}" for v, n in said.items()) for truth, said in facts["clip"].items()),
        "",
        f"Time: {facts['seconds']['all']:.0f} s in all. Written to {out}: phantoms/, teacher/, student/, bundles/ (one "
        "folder per variant, report.md), evaluation.json, bench.json, daemon.json, verdicts.csv, logs/.",
    ]
    return "\n".join(lines) + "\n"


def draw(path: Path, out: Path, facts: dict[str, Any]) -> None:
    """The page's picture: frames with their verdicts, sizes, latencies, accuracies."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure = plt.figure(figsize=(12, 7.6), layout="constrained")
    figure.suptitle(f"busi-kd {facts['version']}: the whole path on SYNTHETIC phantoms\n{RESEARCH_NOTICE}", fontsize=13)
    top, bottom = figure.subfigures(2, 1, height_ratios=(1.05, 1))
    _draw_frames(top.subplots(1, 4), out)
    sizes, latency, accuracy = bottom.subplots(1, 3)
    _draw_models(sizes, latency, accuracy, facts["models"])
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
    chosen = lesions_first[: count - 1] + [next(s for s in stretches if clip.frame(s[0]).label == "normal")]
    return [clip.frame(stretch[len(stretch) // 2]) for stretch in chosen]


def _draw_models(sizes, latency, accuracy, models: dict[str, Any]) -> None:
    names = list(models)
    bars = sizes.barh(names, [model["kb"] for model in models.values()], color="#56b4e9")
    sizes.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize=8)
    sizes.set(xscale="log", title="size in kB", xlim=(500, max(model["kb"] for model in models.values()) * 6))
    timed = {name: model["latency"][1]["p50"] for name, model in models.items() if 1 in model.get("latency", {})}
    bars = latency.barh(list(timed), list(timed.values()), color="#e69f00")
    latency.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    latency.set(title="interpreter p50, ms, 1 thread", xlim=(0, max(timed.values(), default=1) * 1.25))
    for row, model in enumerate(models.values()):
        value = model["metrics"]["accuracy"]
        low, high = (value[k] if value[k] is not None else value["value"] for k in ("low", "high"))
        accuracy.plot([100 * low, 100 * high], [row, row], color="#009e73", linewidth=2)
        accuracy.plot(100 * value["value"], row, "o", color="#009e73")
    accuracy.set(title="accuracy on test phantoms, %", xlim=(30, 101), yticks=range(len(names)))
    accuracy.set_yticklabels(names)
    for axis in (sizes, latency, accuracy):
        axis.invert_yaxis()
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)


def _unit(value: float | None, unit: str, digits: int) -> str:
    return "unknown" if value is None else f"{value:.{digits}f} {unit}"


def _flags(flags: list[str] | None) -> str:
    return "unknown (no sensor)" if flags is None else ", ".join(flags) or "no"


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())
