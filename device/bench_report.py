"""What the benchmark says: the machine it ran on, the rounds of a row as one figure, the table for people."""

import argparse
import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

from device import RESEARCH_NOTICE, __version__

SCHEMA_VERSION = 1
BUSY_PERCENT = 25.0  # of one core: more than a quiet system's own services take
_MEDIANS = ("load_ms", "first_ms", "fps", "process_cpu_percent", "other_cpu_percent")
_LATENCIES = ("prepare_ms", "interpreter_ms", "path_ms")
_COPIED = ("name", "bundle_id", "variant", "synthetic", "cautions", "interpreter", "file_kb", "metrics")
ROW_FIELDS = (
    *_COPIED,
    *_LATENCIES,
    *_MEDIANS,
    "p50_spread_percent",
    "peak_memory_mb",
    "temperature_c",
    "clock_mhz",
    "throttled",
    "valid",
    "reason",
    "rounds",
)


def describe_machine(root: Path = Path("/")) -> dict[str, Any]:
    """Model, cores, governor, memory (MiB), kernel, operating system, Python; None for what cannot be read."""
    cpuinfo = _text(root / "proc/cpuinfo") or ""
    memory = re.search(r"^MemTotal:\s+(\d+) kB$", _text(root / "proc/meminfo") or "", re.MULTILINE)
    system = re.search(r'^PRETTY_NAME="?([^"\n]*)"?$', _text(root / "etc/os-release") or "", re.MULTILINE)
    named = re.search(r"^(?:Model|model name)\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return {
        "model": _text(root / "proc/device-tree/model") or (named[1] if named else None),
        "architecture": platform.machine() or None,
        "cores": len(os.sched_getaffinity(0)),
        "governor": _text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "memory_mb": int(memory[1]) / 1024 if memory else None,
        "kernel": platform.release() or None,
        "os": system[1] if system else None,
        "python": platform.python_version(),
    }


def head(args: argparse.Namespace, inputs: str, warnings: list[str], **more: Any) -> dict[str, Any]:
    """What a report says before its rows. args: threads, seconds, runs, warmup, rounds, cooling of `device bench`.
    inputs: what was measured with. more: further settings."""
    return {
        "schema_version": SCHEMA_VERSION,
        "notice": RESEARCH_NOTICE,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe_machine() | {"cooling": args.cooling},
        "software": {"busi-kd": __version__, "numpy": np.__version__, "opencv": cv2.__version__},
        "settings": {
            "threads": list(args.threads),
            "seconds": args.seconds,
            "runs": args.runs,
            "warmup": args.warmup,
            "rounds": args.rounds,
            "inputs": inputs,
            **more,
        },
        "warnings": warnings,
    }


def without_paths(report: dict[str, Any]) -> dict[str, Any]:
    """The same report for others: folders by their last names wherever they are named, and own pictures by their number
    alone."""
    names = {row["folder"]: Path(row["folder"]).name for row in report["rows"]}
    settings = report["settings"]
    inputs = re.sub(r" pictures in .*", " own pictures", settings["inputs"], flags=re.DOTALL)
    return _replaced(report | {"settings": settings | {"inputs": inputs}}, names)


def _replaced(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(one, names) for key, one in value.items()}
    if isinstance(value, list):
        return [_replaced(one, names) for one in value]
    if isinstance(value, str):
        for path in sorted(names, key=len, reverse=True):
            value = value.replace(path, names[path])
    return value


def combine(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """The rounds of one row -> its ROW_FIELDS, as device.bench describes them.

    A percentile is the median over the rounds of that percentile, so that one disturbed round does not decide
    it; min and max are those of all rounds. A row is valid when all its rounds are.
    """
    row: dict[str, Any] = {key: rounds[0][key] for key in _COPIED}
    for key in _MEDIANS:
        known = [one[key] for one in rounds if one[key] is not None]
        row[key] = median(known) if known else None
    for key in _LATENCIES:
        fold = {name: median for name in rounds[0][key]} | {"min": min, "max": max}
        row[key] = {name: combined(one[key][name] for one in rounds) for name, combined in fold.items()}
    medians = [one["path_ms"]["p50"] for one in rounds]
    spread = 100.0 * (max(medians) - min(medians)) / median(medians)
    row["p50_spread_percent"] = spread if len(rounds) > 1 else None
    row["peak_memory_mb"] = _extreme(max, [one["peak_memory_mb"] for one in rounds])
    for key, extreme, fold in (("temperature_c", "max", max), ("clock_mhz", "min", min)):
        row[key] = {
            "before": rounds[0][key]["before"],
            "after": rounds[-1][key]["after"],
            extreme: _extreme(fold, [one[key][extreme] for one in rounds]),
        }
    parts = rounds[0]["throttled"]
    row["throttled"] = {part: _union([one["throttled"][part] for one in rounds]) for part in parts}
    verdicts = [one["valid"] for one in rounds]
    row["valid"] = False if False in verdicts else None if None in verdicts else True
    row["reason"] = next((one["reason"] for one in rounds if one["valid"] is row["valid"]), None)
    row["rounds"] = rounds
    return row


def failed() -> dict[str, Any]:
    """The fields of a row that gave no figure: all of them None."""
    return dict.fromkeys(ROW_FIELDS)


def table(report: dict[str, Any]) -> str:
    """A report (see device.bench) as text: what was measured where, a line per row, then what to know of them."""
    machine, settings = report["machine"], report["settings"]
    length = f"{settings['runs']} runs" if settings["runs"] is not None else f"{settings['seconds']:g} s"
    interpreters = sorted({row["interpreter"] for row in report["rows"] if row["interpreter"]})
    lines = [
        RESEARCH_NOTICE,
        f"{machine['model'] or 'unknown machine'}, {machine['cores']} cores {machine['architecture']}, "
        f"governor {machine['governor'] or 'unknown'}; {machine['os'] or 'unknown system'}, "
        f"Linux {machine['kernel']}",
        f"{', '.join(interpreters) or 'no interpreter'}, Python {machine['python']}; {settings['inputs']}; "
        f"{settings['rounds']} x {length} after {settings['warmup']} warm-up runs",
        "",
    ]
    columns = [_cells(row) for row in report["rows"]]
    header = list(columns[0]) if columns else []
    grid = [header, *([cells[name] for name in header] for cells in columns)]
    widths = [max(len(line[at]) for line in grid) for at in range(len(header))]
    for name, *figures in grid:
        aligned = [figure.rjust(width) for figure, width in zip(figures, widths[1:])]
        lines.append("  ".join([name.ljust(widths[0]), *aligned]))
    lines.append("")
    for row in report["rows"]:
        if row["error"] is not None or row["valid"] is False:
            what = f"not valid: {row['reason']}" if row["error"] is None else f"FAILED: {row['error']}"
            lines.append(f"{_name(row)}, {row['threads']} thread(s) {what}")
        if (row["other_cpu_percent"] or 0.0) > BUSY_PERCENT:
            what = f"{row['other_cpu_percent']:.0f} % of a core went to other programs; stop them and measure again"
            lines.append(f"{_name(row)}, {row['threads']} thread(s): {what}.")
    lines += dict.fromkeys(f"{row['name']}: {caution}" for row in report["rows"] for caution in row["cautions"] or ())
    lines += report["warnings"]
    lines.append("Times in ms, medians of the rounds; model: the interpreter alone; path: picture to verdict.")
    return "\n".join(lines)


def _cells(row: dict[str, Any]) -> dict[str, str]:
    model, path = row["interpreter_ms"] or {}, row["path_ms"] or {}
    temperature, clock = row["temperature_c"] or {}, row["clock_mhz"] or {}
    valid = "FAILED" if row["error"] else {True: "yes", False: "NO", None: "?"}[row["valid"]]
    return {
        "bundle": _name(row),
        "id": row["bundle_id"] or "-",
        "thr": str(row["threads"]),
        "kB": _figure(row["file_kb"], 0),
        "load ms": _figure(row["load_ms"], 1),
        "first": _figure(row["first_ms"], 2),
        "model p50": _figure(model.get("p50"), 2),
        "p90": _figure(model.get("p90"), 2),
        "p95": _figure(model.get("p95"), 2),
        "p99": _figure(model.get("p99"), 2),
        "max": _figure(model.get("max"), 2),
        "path p50": _figure(path.get("p50"), 2),
        "path p95": _figure(path.get("p95"), 2),
        "FPS": _figure(row["fps"], 1),
        "MiB": _figure(row["peak_memory_mb"], 1),
        "CPU %": _figure(row["process_cpu_percent"], 0),
        "°C": _figure(temperature.get("before"), 0),
        "after": _figure(temperature.get("after"), 0),
        "MHz": _figure(clock.get("after"), 0),
        "valid": valid,
    }


def _name(row: dict[str, Any]) -> str:
    """All variants of one student share its name."""
    return " ".join(filter(None, (row["name"], row["variant"]))) or Path(row["folder"]).name


def _figure(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _extreme(fold: Any, values: list[float | None]) -> float | None:
    return fold((value for value in values if value is not None), default=None)


def _union(flags: list[list[str] | None]) -> list[str] | None:
    return None if None in flags else sorted({flag for some in flags for flag in some})


def _text(path: Path) -> str | None:
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return None
    return text.strip(" \t\r\n\0") or None  # the device tree ends its texts with NUL
