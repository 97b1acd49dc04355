"""What a race came to: race.json, a table in Markdown, a plot."""

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

from convert.race.rounds import Load, Row
from convert.race.speed import OfRound, median_of_rounds, speedup
from device import RESEARCH_NOTICE, __version__

_COLOURS = {"float32": "#0072b2", "float16": "#56b4e9", "bfloat16": "#56b4e9", "int8-dynamic": "#e69f00"}
_COLOURS |= {"int8-full": "#d55e00"}


def machine() -> dict[str, Any]:
    """What it ran on: cpu, cores (usable), kernel, os_python."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "Model"))]
    flags = next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), [])
    known = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8") if flag in flags]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": names[0] if names else platform.machine(),
        "instructions": known,
        "cores": cores,
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def figures(rows: list[Row], base: str, of_round: OfRound = np.median) -> list[dict[str, Any]]:
    """Per row: key, threads, version, pieces, why; ms (median over the rounds of `of_round`), p95_ms (of all runs),
    cpu_ms, fps, speedup (value, low, high: times as fast as the row `base`); null where unknown."""
    against = next((row for row in rows if row.entry.key == base and row.wall is not None), None)
    found = []
    for row in rows:
        one: dict[str, Any] = {"key": row.entry.key, "threads": row.entry.threads, "version": row.version}
        one |= {"pieces": row.pieces, "why": row.why} | dict.fromkeys(("ms", "p95_ms", "cpu_ms", "fps", "speedup"))
        if row.wall is not None:
            seconds = median_of_rounds(row.wall, of_round)
            one |= {"ms": 1e3 * seconds, "p95_ms": 1e3 * float(np.percentile(row.wall, 95)), "fps": 1 / seconds}
            one["cpu_ms"] = 1e3 * median_of_rounds(row.cpu, of_round)
            if against is not None:
                ratio = speedup(against.wall, row.wall, of_round=of_round)
                one["speedup"] = {"value": ratio.value, "low": ratio.low, "high": ratio.high}
        found.append(one)
    return found


def content(
    kind: str, command: str, settings: dict[str, Any], load: Load, rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """The whole of race.json."""
    return {
        "schema_version": 1,
        "kind": kind,
        "notice": RESEARCH_NOTICE,
        "command": command,
        "machine": machine(),
        "software": {"busi-kd": __version__, "numpy": importlib.metadata.version("numpy")},
        "settings": settings,
        "load": {"average_before": load.average[0], "average_after": load.average[1], "other": load.other_cpu_percent},
        "rows": rows,
    }


def head(report: dict[str, Any]) -> list[str]:
    """The lines above a table."""
    of, load, settings = report["machine"], report["load"], report["settings"]
    other = "unknown" if load["other"] is None else f"{load['other']:.0f} %"
    return [
        RESEARCH_NOTICE,
        "",
        f"    $ {report['command']}",
        "",
        f"{of['cpu']} ({', '.join(of['instructions']) or 'no known extensions'}), {of['cores']} cores; "
        f"{settings['rounds']} rounds of {settings['runs']}, interleaved; load average {load['average_before']:.1f} to "
        f"{load['average_after']:.1f}, other programs took {other} of one core.",
        "",
    ]


def times(row: dict[str, Any]) -> str:
    """ms, p95, CPU ms and the speed-up as cells of a table."""
    ratio = row["speedup"]
    shown = "" if ratio is None else f"{ratio['value']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"
    if ratio is not None and ratio["low"] is None:
        shown = f"{ratio['value']:.2f}"
    return f"{row['ms']:.2f} | {row['p95_ms']:.2f} | {row['cpu_ms']:.2f} | {row['fps']:.0f} | {shown}"


def table(report: dict[str, Any]) -> str:
    """The race over engines in Markdown: one line a row, also for those that are out."""
    lines = [*head(report), f"Network: {report['settings']['network']}.", ""]
    lines += ["| row | engine | precision | threads | ms | p95 | CPU ms | per second | times as fast | |"]
    lines += ["|---|---|---|---|---|---|---|---|---|---|"]
    for row in _competitors(report):
        begins = f"| `{row['key']}` | {row['engine']} {row['version'] or ''} | {row['precision']} | {row['threads']}"
        if row["ms"] is None:
            lines.append(f"{begins} | | | | | | {row['why']} |")
            continue
        pieces = "" if row["pieces"] is None else f"{row['pieces']} delegated piece(s)"
        lines.append(f"{begins} | {times(row)} | {pieces} |")
    lines += [
        "",
        f"One row again, with the one that it is compared with: the command above and `--only ROW`. {ratio_note()}",
        "",
    ]
    return "\n".join(lines)


def _competitors(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows without the peaks, which convert.race.limit shows."""
    return [row for row in report["rows"] if not row["key"].startswith("peak-")]


def ratio_note(of_round: str = "medians") -> str:
    """What the columns of times mean, below a table. of_round: what was taken of a round, in the plural."""
    return (
        f"ms: the median of the rounds' {of_round}; p95: of all runs; CPU ms: of all threads; times as fast: as the "
        "first row, with the 95 % interval of a bootstrap over rounds."
    )


def plot(path: Path, report: dict[str, Any], of_round: str = "medians") -> None:
    """Bars of the times, the fastest above, with how many times as fast as the first row."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    rows = sorted((row for row in _competitors(report) if row["ms"] is not None), key=lambda row: row["ms"])
    figure, axis = plt.subplots(figsize=(10, 1.5 + 0.24 * len(rows)), layout="constrained")
    colours = [_COLOURS.get(row.get("precision", "float32"), "#777777") for row in rows]
    names = [f"{row.get('engine', '')} {row.get('precision', '')}, {row['threads']} thread(s)".strip() for row in rows]
    bars = axis.barh(range(len(rows)), [row["ms"] for row in rows], color=colours)
    ratios = [f"{row['ms']:.2f} ms, x{row['speedup']['value']:.1f}" if row["speedup"] else "" for row in rows]
    axis.bar_label(bars, ratios, padding=3, fontsize=7)
    axis.set_yticks(range(len(rows)), names, fontsize=7)
    axis.invert_yaxis()
    axis.set(xscale="log", xlabel=f"ms, median of the rounds' {of_round}")
    axis.set(xlim=(None, 3 * max(row["ms"] for row in rows)))
    axis.set_title(f"{report['settings']['network']}\n{report['machine']['cpu']}. {RESEARCH_NOTICE}", fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    plt.close(figure)
