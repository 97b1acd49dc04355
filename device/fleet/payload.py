"""What is sent: JSON objects of schema version 1, described field by field in docs/fleet.md. Unknown is absent."""

import datetime
import json
from collections.abc import Iterable
from typing import Any

from device import RESEARCH_NOTICE, __version__
from device.fleet.allowed import Sample
from device.fleet.watch import Reading

SCHEMA_VERSION = 1
MAX_BYTES = 8192  # far more than any of them has
LEAVES = ("status", "health", "counts", "about")

# Fields of `health` that are one metric without labels each.
GAUGES = (
    *("temperature_celsius", "clock_hertz", "machine_cpu_ratio", "cpu_cores", "resident_memory_bytes"),
    *("available_memory_bytes", "battery_ratio", "battery_volts", "battery_left_seconds", "battery_watts"),
    "limit_frames_per_second",
)
FLAGS = ("battery_charging", "limited")  # the same, true or false
FRAMES = ("captured", "judged", "skipped", "bad", "undecodable", "unchanged")


def topic(site: str, unit: str, leaf: str) -> str:
    """busi-kd/SITE/UNIT/LEAF."""
    return f"busi-kd/{site}/{unit}/{leaf}"


def now_utc() -> str:
    """The unit's own clock, to the second, such as 2026-11-22T07:05:07Z."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def encoded(body: dict[str, Any]) -> bytes:
    """The bytes that are sent: schema version and time of sending in front."""
    head = {"schema_version": SCHEMA_VERSION, "sent": now_utc()}
    return json.dumps(head | body, allow_nan=False, separators=(",", ":")).encode()


def status(reading: Reading, since: str, dropped: int) -> dict[str, Any]:
    """The unit is online, and the daemon is in this state since then. dropped: state changes lost to a full queue."""
    why = {"why": reading.why} if reading.why else {}
    return {"online": True, "daemon": reading.state, **why, "since": since, "changes_dropped": dropped}


def offline(why: str, since: str) -> dict[str, Any]:
    """The unit is not heard any more; of the daemon nothing is known. since: for a Last Will, of its connection."""
    return {"online": False, "why": why, "since": since}


def health(samples: tuple[Sample, ...]) -> dict[str, Any]:
    """The machine and the source, from the samples that may leave; numbers with six digits."""
    plain, labelled = _sorted((name, labels, float(f"{value:.6g}")) for name, labels, value in samples)
    body: dict[str, Any] = {name: plain[name] for name in GAUGES if name in plain}
    body |= {name: bool(plain[name]) for name in FLAGS if name in plain}
    signal = [labels["state"] for labels, _ in labelled.get("signal", [])]
    if len(signal) == 1:
        body["signal"] = signal[0]
    for labels, value in labelled.get("memory_bytes", []):
        body |= {"memory_bytes": value, "memory_by": labels["by"]}
    flags = sorted(labels["flag"] for labels, _ in labelled.get("throttled", []))
    if plain.get("throttle_flags") == len(flags):  # none set is known, and not the same as unknown
        body["throttled"] = flags
    if "limited" in plain:
        body["limited_by"] = sorted(labels["cause"] for labels, _ in labelled.get("limited_by", []))
    stages: dict[str, dict[str, float]] = {}
    for labels, value in labelled.get("stage_seconds", []):
        stages.setdefault(labels["stage"], {})[f"p{labels['percentile']}"] = value
    return body | ({"stage_seconds": stages} if stages else {})


def counts(samples: tuple[Sample, ...]) -> dict[str, Any]:
    """Frames since the daemon started, and on how many of them it could not say."""
    plain, labelled = _sorted(samples)
    body = {f"frames_{name}": plain.get(f"frames_{name}_total") for name in FRAMES}
    body["abstained"] = next((value for _, value in labelled.get("verdicts_total", [])), None)
    return {name: int(value) for name, value in body.items() if value is not None}


def about(samples: tuple[Sample, ...]) -> dict[str, Any]:
    """Which software and which model; without a running daemon only this process's own version."""
    _, labelled = _sorted(samples)
    body: dict[str, Any] = {"notice": RESEARCH_NOTICE, "version": __version__}
    found = labelled.get("info", [])
    if len(found) == 1:
        info = found[0][0]
        body["daemon_version"] = info["version"]
        body["model"] = {"id": info["id"], "variant": info["variant"]}
        if info["synthetic"] != "unknown":
            body["synthetic"] = info["synthetic"] == "true"
    return body


def _sorted(samples: Iterable[Sample]) -> tuple[dict[str, float], dict[str, list[tuple[dict[str, str], float]]]]:
    """Numbers without labels by name, and the others; names without busi_kd_."""
    plain: dict[str, float] = {}
    labelled: dict[str, list[tuple[dict[str, str], float]]] = {}
    for name, labels, value in samples:
        short = name.removeprefix("busi_kd_")
        if labels:
            labelled.setdefault(short, []).append((dict(labels), value))
        else:
            plain[short] = value
    return plain, labelled
