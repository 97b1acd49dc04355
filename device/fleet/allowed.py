"""The allow-list: every metric that may leave a unit, with its labels and the words and numbers that those may hold.

Nothing of the daemon's text is passed on as it is. A sample leaves only where its name, each label, each label's word
and its number are allowed here; help texts are this file's own. So no name of a file (busi_kd_info has the source's in
a label), a patient or a place can leave, whatever the text holds.

Left out on purpose
    busi_kd_shown and busi_kd_shown_malignant_probability, the verdict on the picture just now; and of
    busi_kd_verdicts_total all but `abstain`: beside a clinic's appointments, a count of `malignant` that has just risen
    says what one patient's picture was judged.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

MAX_BYTES = 1 << 18
_COUNT = 2.0**53


@dataclass(frozen=True)
class Allowed:
    """One metric. labels: name -> the words allowed there; a sample lacks none of them. drops: labels that are taken
    off. low, high: the range of its numbers, both ends included."""

    kind: str
    help: str
    low: float
    high: float
    labels: dict[str, frozenset[str] | re.Pattern[str]] = field(default_factory=dict)
    drops: frozenset[str] = frozenset()


Sample = tuple[str, tuple[tuple[str, str], ...], float]
"""(name of the metric, (label, word) pairs in the order of the allow-list, number)."""


def _words(*words: str) -> frozenset[str]:
    return frozenset(words)


def _flags() -> frozenset[str]:
    now = ("under-voltage", "frequency-capped", "throttled", "soft-temperature-limit")
    return frozenset([*now, *(f"{flag}-since-boot" for flag in now)])


def _counter(help: str, **labels: frozenset[str]) -> Allowed:
    return Allowed("counter", help, 0.0, _COUNT, labels)


def _gauge(help: str, low: float, high: float, **labels: frozenset[str]) -> Allowed:
    return Allowed("gauge", help, low, high, labels)


SIGNALS = _words(
    *("waiting", "ok", "stalled", "ended", "failed", "no device", "no signal", "no cable", "no sync", "busy"),
    *("changed", "no data", "no region", "unsupported", "undecodable", "hung", "died"),
)
_INFO = {
    "version": re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){1,3}((a|b|rc|\.post|\.dev)[0-9]{1,4})?"),
    "id": re.compile(r"[0-9a-f]{12}"),
    "variant": _words("float32", "float16", "int8-dynamic", "int8-full"),
    "synthetic": _words("true", "false", "unknown"),
    "use": _words("research-only"),
}

METRICS: dict[str, Allowed] = {
    "busi_kd_info": Allowed(
        *("gauge", "Version of the software, id and variant of the model. Research use only."),
        *(1.0, 1.0, _INFO, _words("bundle", "source")),
    ),
    "busi_kd_signal": _gauge("1 for the state that the source is in.", 1.0, 1.0, state=SIGNALS),
    "busi_kd_frames_captured_total": _counter("Frames that came from the source."),
    "busi_kd_frames_judged_total": _counter("Frames with a verdict."),
    "busi_kd_frames_skipped_total": _counter("Frames that gave way to newer ones."),
    "busi_kd_frames_bad_total": _counter("Frames of a shape that cannot be judged."),
    "busi_kd_frames_undecodable_total": _counter("Pictures that do not decode."),
    "busi_kd_frames_unchanged_total": _counter("Judged frames that needed no inference."),
    "busi_kd_verdicts_total": _counter("Judged frames on which the system could not say.", verdict=_words("abstain")),
    "busi_kd_stage_seconds": _gauge(
        *("Latency of a stage in the last second.", 0.0, 1000.0),
        stage=_words("grab", "age", "prepare", "infer", "decide", "total"),
        percentile=_words("50", "95"),
    ),
    "busi_kd_temperature_celsius": _gauge("Of the processor.", -60.0, 200.0),
    "busi_kd_clock_hertz": _gauge("Of the processor.", 0.0, 1e11),
    "busi_kd_machine_cpu_ratio": _gauge("Of all cores, 0 to 1.", 0.0, 1.0),
    "busi_kd_cpu_cores": _gauge("Cores kept busy, with children.", 0.0, 1024.0),
    "busi_kd_resident_memory_bytes": _gauge("Of the main process.", 0.0, 1e15),
    "busi_kd_memory_bytes": _gauge("Of the main process and its children.", 0.0, 1e15, by=_words("pss", "rss")),
    "busi_kd_available_memory_bytes": _gauge("Of the machine.", 0.0, 1e15),
    "busi_kd_throttle_flags": _gauge("How many of the firmware's flags are set.", 0.0, 32.0),
    "busi_kd_throttled": _gauge("1 for each flag of the firmware that is set.", 1.0, 1.0, flag=_flags()),
    "busi_kd_battery_ratio": _gauge("Charge, 0 to 1.", 0.0, 1.0),
    "busi_kd_battery_volts": _gauge("At its poles.", 0.0, 100.0),
    "busi_kd_battery_charging": _gauge("1 while it charges or is full at the mains.", 0.0, 1.0),
    "busi_kd_battery_left_seconds": _gauge("Until it is empty.", 0.0, 1e7),
    "busi_kd_battery_watts": _gauge("Drawn from it.", -1000.0, 1000.0),
    "busi_kd_limited": _gauge("1 while the governor limits.", 0.0, 1.0),
    "busi_kd_limit_frames_per_second": _gauge("Frames that may be judged; absent without a limit.", 0.0, 1000.0),
    "busi_kd_limited_by": _gauge(
        "1 for each cause of the limit.", 1.0, 1.0, cause=_words("temperature", "battery") | _flags()
    ),
}
WITHHELD = frozenset({"busi_kd_shown", "busi_kd_shown_malignant_probability"})


def admit(text: str) -> tuple[Sample, ...]:
    """The samples of Prometheus's text that may leave, in its order, each once: of two alike the first.

    What is not allowed is left out. Raises ValueError where the text is none of the format or too long.
    """
    if len(text) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES} characters")
    found: dict[tuple, Sample] = {}
    for name, labels, value in _parsed(text):
        allowed = METRICS.get(name)
        if allowed is None or not set(labels) - allowed.drops == set(allowed.labels):
            continue
        if not all(_may(words, labels[label]) for label, words in allowed.labels.items()):
            continue
        if not allowed.low <= value <= allowed.high or (allowed.kind == "counter" and value != int(value)):
            continue  # not a number, too: it compares as false
        told = tuple((label, labels[label]) for label in allowed.labels)
        found.setdefault((name, told), (name, told, value))
    return tuple(found.values())


def _may(words: frozenset[str] | re.Pattern[str], word: str) -> bool:
    return word in words if isinstance(words, frozenset) else words.fullmatch(word) is not None


def _parsed(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    from prometheus_client.parser import text_string_to_metric_families

    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                yield sample.name, sample.labels, float(sample.value)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:  # the parser's own, on broken text
        raise ValueError(f"no text of Prometheus ({' '.join(str(error).split())[:80]})") from error
