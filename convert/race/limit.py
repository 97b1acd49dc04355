"""How far each engine is from what this CPU can do: multiplications and bytes against peaks measured in the same run.

After S. Williams, A. Waterman, D. Patterson, "Roofline: An Insightful Visual Performance Model for Multicore
Architectures", Communications of the ACM 52(4), 2009: no network can take less time than its multiplications at the
peak rate, nor than its bytes at the peak bandwidth.
"""

from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

import onnx

from convert.race.runner import SIDE

ONNX = "student.onnx"
# Engines compute these together with the operator before them; no byte is moved for them.
FREE = ("Relu", "Clip", "HardSwish", "HardSigmoid", "Identity", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Cast")
BYTES = {"float32": 4, "int8-full": 1}  # precisions that a peak was measured for
COPIED = {"memory": 256 * 2**20, "cache": 64 * 2**19}  # bytes in each thread, by convert.race.engines


@dataclass(frozen=True)
class Work:
    """Of one picture: macs, multiplications with addition; weights, and activations that are written and read again by
    another operator, in numbers (a number has 4 bytes in float32, 1 in int8)."""

    macs: int
    weights: int
    activations: int


def work(path: Path) -> Work:
    """Count the operators of an ONNX file whose shapes are fixed."""
    graph = onnx.shape_inference.infer_shapes(onnx.load(path)).graph
    constants = {one.name: tuple(one.dims) for one in graph.initializer}
    known = {value.name: _shape(value) for value in (*graph.input, *graph.value_info, *graph.output)}
    macs = moved = 0
    for node in graph.node:
        out = prod(known[node.output[0]])
        if node.op_type == "Conv":
            macs += out * prod(constants[node.input[1]][1:])
        elif node.op_type in ("Gemm", "MatMul"):
            macs += out * known.get(node.input[0], (1,))[-1]
        if node.op_type not in FREE:
            moved += out + sum(prod(known[name]) for name in node.input if name in known and name not in constants)
    return Work(macs, sum(map(prod, constants.values())), moved)


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(one.dim_value for one in value.type.tensor_type.shape.dim)


def limits(of: Work, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """`work`; `peaks` by threads: gmacs of float32 and int8-full, gigabytes a second of memory and cache (read and
    written); `limits`: key, gmacs, least_ms (the larger of its multiplications and its bytes at the peaks), share (of
    the peak, 0..1), bound (which of the two is larger). rows: as report.figures has them, with `precision`."""
    ms = {row["key"]: row["ms"] for row in rows}
    peaks: dict[str, dict[str, float]] = {}
    for threads in {row["threads"] for row in rows}:
        found = {
            precision: SIDE**3 / taken / 1e6
            for precision, key in (("float32", "float32"), ("int8-full", "int8"))
            if (taken := ms.get(f"peak-{key}/{threads}"))
        }
        found |= {
            name: 2 * threads * size / taken / 1e6
            for name, size in COPIED.items()
            if (taken := ms.get(f"peak-{name}/{threads}"))
        }
        peaks[str(threads)] = found
    lines = []
    for row in rows:
        peak, width = peaks[str(row["threads"])], BYTES.get(row["precision"])
        if row["ms"] is None or width is None or row["key"].startswith("peak-"):
            continue
        if row["precision"] in peak and "cache" in peak:
            sums = of.macs / peak[row["precision"]] / 1e6
            carried = width * (of.weights + of.activations) / peak["cache"] / 1e6
            least, gmacs = max(sums, carried), of.macs / row["ms"] / 1e6
            one = {"key": row["key"], "gmacs": gmacs, "share": gmacs / peak[row["precision"]], "least_ms": least}
            lines.append(one | {"bound": "multiplications" if sums >= carried else "bytes"})
    return {"work": asdict(of), "peaks": peaks, "limits": lines}


def table(whole: dict[str, Any]) -> str:
    """Markdown: the peaks, and each engine's share of them; empty without figures."""
    if not whole.get("limits"):
        return ""
    of = whole["work"]
    lines = ["", "## The limit", ""]
    lines += [
        f"One picture: {of['macs'] / 1e6:.1f} million multiplications with addition, {of['weights'] / 1e6:.2f} million"
    ]
    lines[-1] += f" weights, {of['activations'] / 1e6:.2f} million activations written and read."
    lines += ["", "| threads | float32, GMAC/s | int8, GMAC/s | memory, GB/s | cache, GB/s |", "|---|---|---|---|---|"]
    for threads, peak in sorted(whole["peaks"].items()):
        shown = [f"{peak[name]:.0f}" if name in peak else "unknown" for name in ("float32", "int8-full", *COPIED)]
        lines.append(f"| {threads} | {' | '.join(shown)} |")
    lines += ["", "| row | GMAC/s | of the peak | ms | least ms | which is set by |", "|---|---|---|---|---|---|"]
    ms = {row["key"]: row["ms"] for row in whole["rows"]}
    for one in sorted(whole["limits"], key=lambda one: ms[one["key"]]):
        lines.append(
            f"| `{one['key']}` | {one['gmacs']:.1f} | {100 * one['share']:.1f} % | {ms[one['key']]:.2f} | "
            f"{one['least_ms']:.2f} | {one['bound']} |"
        )
    return "\n".join([*lines, ""])
