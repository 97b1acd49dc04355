"""The report of device.bench_pipeline as a table for people."""

from pathlib import Path
from typing import Any

from device import RESEARCH_NOTICE
from device.bench_report import BUSY_PERCENT

BAR_PERCENT = 30.0  # of the interpreter's time: what all around it should cost at most
BAR_FRAMES = 2.0  # frame times from glass to verdict


def table(report: dict[str, Any]) -> str:
    """A report (see device.bench_pipeline) as text: what was measured where, then a table per row."""
    machine, settings = report["machine"], report["settings"]
    height, width = settings["size"]
    lines = [
        RESEARCH_NOTICE,
        f"{machine['model'] or 'unknown machine'}, {machine['cores']} cores {machine['architecture']}, "
        f"governor {machine['governor'] or 'unknown'}; {machine['os'] or 'unknown system'}, Linux {machine['kernel']}",
        f"{settings['format']} {width}x{height}, {settings['frame_kb']:.0f} kB a frame; {settings['inputs']}",
    ]
    for row in report["rows"]:
        named = f"{row['name']} {row['variant']}" if row["name"] else Path(row["folder"]).name
        lines += ["", f"{named}, {row['threads']} thread(s)"]
        if row["error"] is not None:
            lines.append(f"FAILED: {row['error']}")
            continue
        lines[-1] += f", {row['interpreter']}, {row['frames']} frames"
        lines += _stages(row) + _live(row["live"])
        if (row["other_cpu_percent"] or 0.0) > BUSY_PERCENT:
            lines.append(
                f"{row['other_cpu_percent']:.0f} % of a core went to other programs: use the ratios, or stop those."
            )
        lines += row["cautions"]
    lines += ["", *report["warnings"]]
    lines.append("Times in ms: once; per frame: the mean by how often it is due; %: of the interpreter's, per frame.")
    return "\n".join(lines)


def _stages(row: dict[str, Any]) -> list[str]:
    grid = [["stage", "due", "wall p50", "p95", "CPU p50", "p95", "per frame", "wall %", "CPU %"]]
    for stage, found in row["stages"].items():
        wall, cpu = found["wall_ms"], found["cpu_ms"]
        times = [f"{value:.3f}" for value in (wall["p50"], wall["p95"], cpu["p50"], cpu["p95"])]
        shares = [f"{found['per_frame_wall_ms']:.3f}", f"{found['wall_percent']:.1f}", f"{found['cpu_percent']:.1f}"]
        grid.append([stage.replace("_", "-"), f"1/{found['every']}", *times, *shares])
    around = row["overhead"]
    shares = [f"{around['wall_ms']:.3f}", f"{around['wall_percent']:.1f}", f"{around['cpu_percent']:.1f}"]
    grid.append(["all but infer", "", "", "", "", "", *shares])
    widths = [max(len(line[at]) for line in grid) for at in range(len(grid[0]))]
    lines = [
        "  ".join([first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:]))])
        for first, *rest in grid
    ]
    met = "met" if around["cpu_percent"] <= BAR_PERCENT else "NOT met"
    return [*lines, f"Overhead at most {BAR_PERCENT:.0f} % of the interpreter's CPU time: {met}."]


def _live(found: dict[str, Any]) -> list[str]:
    frames, total, times = found["frames"], found["total_ms"], found["total_frame_times"]
    counted = ", ".join(f"{count} {name}" for name, count in frames.items())
    used = f"{found['process_cpu_percent']:.0f} % of a core for both processes"
    lines = [f"Live at {found['fps']:.0f} frames a second for {found['seconds']:.1f} s: {counted}; {used}"]
    if total["p50"] is None:
        return [*lines, "Glass to verdict: unknown, no frame was judged."]
    values = ", ".join(f"{name} {total[name]:.1f} ms ({times[name]:.2f} frame times)" for name in total)
    met = "met" if times["p99"] < BAR_FRAMES else "NOT met"
    return [*lines, f"Glass to verdict: {values}", f"Below {BAR_FRAMES:.0f} frame times in 99 of 100: {met}."]
