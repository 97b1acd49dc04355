"""The benchmark's arithmetic, on figures known beforehand."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.bench_report import ROW_FIELDS, combine, describe_machine, table
from device.bench_row import summary, validity

STATISTICS = ("min", "p50", "p90", "p95", "p99", "max")


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=50))
def test_a_summary_is_ordered_and_within_its_values(values: list[float]) -> None:
    found = summary(np.array(values))
    ordered = [found[name] for name in STATISTICS]
    assert ordered == sorted(ordered)
    assert (ordered[0], ordered[-1]) == (min(values), max(values))
    assert found["p50"] == pytest.approx(float(np.median(values)))


@pytest.mark.parametrize(
    ("flags", "valid"),
    [
        ([(), ()], True),
        ([(), (), ()], True),
        ([("throttled-since-boot",), ("throttled-since-boot",)], True),  # an old story
        ([("throttled-since-boot",), ("throttled-since-boot", "under-voltage-since-boot")], False),
        ([(), ("under-voltage",), ()], False),
        ([("throttled",), ()], False),
        ([None, None], None),
        ([(), None], None),
        ([None, ("throttled",)], False),
    ],
)
def test_validity(flags: list[tuple[str, ...] | None], valid: bool | None) -> None:
    found, reason = validity(flags)
    assert found is valid
    assert (reason is None) is (valid is True)


def a_round(p50: float, **changes: Any) -> dict[str, Any]:
    latency = {"min": p50 - 1, "mean": p50, "p50": p50, "p90": p50, "p95": p50 + 1, "p99": p50 + 2, "max": p50 + 3}
    base: dict[str, Any] = {
        **dict.fromkeys(("name", "bundle_id", "variant", "synthetic", "interpreter", "file_kb", "metrics"), "x"),
        "cautions": [],
        **{key: dict(latency) for key in ("prepare_ms", "interpreter_ms", "path_ms")},
        **dict.fromkeys(("load_ms", "first_ms", "fps", "process_cpu_percent", "other_cpu_percent"), p50),
        "peak_memory_mb": p50,
        "temperature_c": {"before": p50, "after": p50 + 5, "max": p50 + 6},
        "clock_mhz": {"before": 1500.0, "after": 1500.0, "min": 1500.0 - p50},
        "throttled": {"before": [], "during": [], "after": []},
        "valid": True,
        "reason": None,
        "runs": 3,
    }
    return {**base, **changes}


def test_rounds_are_combined_by_their_medians() -> None:
    rounds = [a_round(10.0), a_round(90.0), a_round(12.0)]
    row = combine(copy.deepcopy(rounds))
    assert set(row) == set(ROW_FIELDS)
    assert row["path_ms"] == {"min": 9, "mean": 12, "p50": 12, "p90": 12, "p95": 13, "p99": 14, "max": 93}
    assert row["load_ms"] == 12
    assert row["peak_memory_mb"] == 90
    assert row["p50_spread_percent"] == pytest.approx(100 * 80 / 12)
    assert row["temperature_c"] == {"before": 10, "after": 17, "max": 96}
    assert row["clock_mhz"] == {"before": 1500, "after": 1500, "min": 1410}
    assert (row["valid"], row["reason"], row["rounds"]) == (True, None, rounds)


def test_one_bad_round_spoils_the_row_and_one_unknown_makes_it_unknown() -> None:
    unknown = a_round(1.0, valid=None, reason="unknown", peak_memory_mb=None, other_cpu_percent=None)
    unknown["throttled"] = dict.fromkeys(unknown["throttled"])
    bad = a_round(1.0, valid=False, reason="held back")
    row = combine([a_round(1.0), unknown])
    assert (row["valid"], row["reason"]) == (None, "unknown")
    assert row["throttled"] == {"before": None, "during": None, "after": None}
    assert (row["peak_memory_mb"], row["other_cpu_percent"]) == (1.0, 1.0)
    row = combine([unknown, bad, a_round(1.0)])
    assert (row["valid"], row["reason"]) == (False, "held back")
    row = combine([unknown])
    assert (row["peak_memory_mb"], row["other_cpu_percent"]) == (None, None)


def test_rows_of_one_student_are_told_apart_in_the_table_and_below_it() -> None:
    rounds = {
        "float32": a_round(1.0, name="student", variant="float32", file_kb=1.0, other_cpu_percent=70.0),
        "int8-full": a_round(1.0, name="student", variant="int8-full", file_kb=1.0, valid=False, reason="held back"),
    }
    rows = [{"folder": f"/b/{v}", "threads": 1, "error": None, **combine([one])} for v, one in rounds.items()]
    settings = {"runs": None, "seconds": 5.0, "rounds": 1, "warmup": 0, "inputs": "phantoms"}
    report = {"machine": describe_machine(), "settings": settings, "rows": rows, "warnings": []}
    lines = table(report).splitlines()
    for name in ("student float32", "student int8-full"):
        assert sum(line.startswith(f"{name}  ") for line in lines) == 1
    assert any(line.startswith("student float32, 1 thread(s): 70 % of a core") for line in lines)
    assert "student int8-full, 1 thread(s) not valid: held back" in lines
    for row in rows:
        row["cautions"] = ["LEAKY SPLIT: no."]
    assert table(report).splitlines().count("student: LEAKY SPLIT: no.") == 1, "once, not once a row"


def test_the_machine_of_a_pi(tmp_path: Path) -> None:
    for name, text in {
        "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
        "proc/cpuinfo": "processor\t: 0\nmodel name\t: ARMv8\n\nRevision\t: c03114\nModel\t\t: Raspberry Pi 4\n",
        "proc/meminfo": "MemTotal:        3884032 kB\n",
        "etc/os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\n',
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    machine = describe_machine(tmp_path)
    assert machine["model"] == "Raspberry Pi 4 Model B Rev 1.4"
    assert machine["memory_mb"] == 3793.0
    assert (machine["os"], machine["governor"]) == ("Debian GNU/Linux 12 (bookworm)", "ondemand")
    nothing = describe_machine(tmp_path / "nothing")
    assert [nothing[key] for key in ("model", "memory_mb", "os", "governor")] == [None] * 4
