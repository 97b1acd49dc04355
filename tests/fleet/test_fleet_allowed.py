"""The allow-list: what the daemon can tell is known to it, and nothing else can leave, whatever the text holds."""

import importlib
import json
import pkgutil
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metrics_text import SECRET, full_text

from device import capture
from device.bundle import VARIANTS
from device.capture import CaptureError
from device.capture.pump import ENDED, OK, STALLED, WAITING
from device.fleet import payload
from device.fleet.allowed import MAX_BYTES, METRICS, SIGNALS, WITHHELD, admit
from device.governor import BATTERY, TEMPERATURE
from device.stages import STAGES
from device.telemetry.firmware import parse_throttled


@pytest.fixture(scope="module")
def text(bundle_dir: Path) -> str:
    return full_text(bundle_dir / "int8-full")


def words(name: str, label: str) -> frozenset[str]:
    return METRICS[name].labels[label]


def test_each_of_the_daemons_metrics_is_allowed_or_withheld_on_purpose(text: str) -> None:
    names = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    assert names == set(METRICS) | WITHHELD
    assert {name for name, _, _ in admit(text)} == set(METRICS)


def test_the_allow_list_knows_every_word_that_the_daemon_says() -> None:
    def states(error: type[CaptureError]) -> set[str]:
        return {error.state} | {state for kind in error.__subclasses__() for state in states(kind)}

    for module in pkgutil.iter_modules(capture.__path__):  # a source's own failures are known once it is imported
        importlib.import_module(f"{capture.__name__}.{module.name}")
    assert states(capture.CaptureError) | {WAITING, OK, ENDED, STALLED} == SIGNALS
    flags = set(parse_throttled("throttled=0xf000f"))
    assert words("busi_kd_throttled", "flag") == flags
    assert words("busi_kd_limited_by", "cause") == flags | {TEMPERATURE, BATTERY}
    assert words("busi_kd_stage_seconds", "stage") == set(STAGES)
    assert words("busi_kd_info", "variant") == set(VARIANTS)


def test_names_and_the_verdicts_of_pictures_stay_behind(text: str) -> None:
    assert SECRET in text
    assert "malignant" in text
    samples = admit(text)
    told = json.dumps([payload.health(samples), payload.counts(samples), payload.about(samples)])
    assert SECRET not in told
    assert not re.search("malignant|benign|normal|folder|tiny", told)
    assert json.loads(told)[1]["abstained"] == 2


def test_golden() -> None:
    text = (
        'busi_kd_signal{state="no cable"} 1\n'
        'busi_kd_signal{state="Mueller"} 1\n'
        'busi_kd_signal{state="ok",patient="Mueller"} 1\n'
        "busi_kd_signal 1\n"
        "busi_kd_temperature_celsius 61.5 1700000000000\n"
        "busi_kd_temperature_celsius 99\n"
        "busi_kd_battery_volts 1e9\n"
        "busi_kd_battery_watts NaN\n"
        "busi_kd_battery_ratio +Inf\n"
        "busi_kd_frames_judged_total 7\n"
        "busi_kd_frames_bad_total 7.5\n"
        "busi_kd_frames_captured_total -1\n"
        "other_metric 5\n"
    )
    assert admit(text) == (
        ("busi_kd_signal", (("state", "no cable"),), 1.0),
        ("busi_kd_temperature_celsius", (), 61.5),
        ("busi_kd_frames_judged_total", (), 7.0),
    )


def allowed_words() -> set[str]:
    found = {word for metric in METRICS.values() for them in metric.labels.values() if isinstance(them, frozenset)
             for word in them}  # fmt: skip
    return found


names = st.sampled_from(sorted([*METRICS, *WITHHELD, "node_uname_info"]))
label_names = st.sampled_from(["state", "source", "bundle", "id", "version", "verdict", "flag", "cause", "by", "x"])
label_words = st.sampled_from(sorted(allowed_words())) | st.text(max_size=12) | st.just(SECRET)
numbers = st.floats().map(repr) | st.integers(-5, 2**54).map(str) | st.text(max_size=5)


def escaped(word: str) -> str:
    return word.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


@st.composite
def lines(draw: st.DrawFn) -> str:
    name = draw(names)
    labels = draw(st.dictionaries(label_names, label_words, max_size=3))
    if draw(st.booleans()) and name in METRICS:  # so that many of them do pass
        labels = {
            label: draw(st.sampled_from(sorted(them))) if isinstance(them, frozenset) else draw(st.from_regex(them))
            for label, them in METRICS[name].labels.items()
        }
    inner = ",".join(f'{label}="{escaped(word)}"' for label, word in labels.items())
    return f"{name}{{{inner}}} {draw(numbers)}"


def check(text: str) -> None:
    try:
        samples = admit(text)
    except ValueError:
        return
    for name, labels, value in samples:
        metric = METRICS[name]
        assert metric.low <= value <= metric.high
        assert [label for label, _ in labels] == list(metric.labels)
        for label, word in labels:
            them = metric.labels[label]
            assert word in them if isinstance(them, frozenset) else them.fullmatch(word)
    assert len({(name, labels) for name, labels, _ in samples}) == len(samples)
    known = allowed_words()
    for body in (payload.health(samples), payload.counts(samples)):
        for word in re.findall(r'"([^"]*)"', re.sub(r'"[^"]*":', "", json.dumps(body))):
            assert word in known
        assert len(payload.encoded(body)) <= payload.MAX_BYTES
    payload.encoded(payload.about(samples))


@settings(deadline=None, max_examples=300)
@given(st.lists(lines() | st.text(max_size=40), max_size=8).map("\n".join))
def test_whatever_the_text_holds_only_what_is_allowed_leaves(text: str) -> None:
    check(text)


@settings(deadline=None)
@given(st.text(alphabet='busi_kdglma{}="\\,# \n.0123456789e-+NaIfTYPEHLP', max_size=200))
def test_no_text_stops_it(text: str) -> None:
    check(text)


def test_no_text_is_too_long_to_be_refused() -> None:
    with pytest.raises(ValueError, match=r"more than"):
        admit("\n" * (MAX_BYTES + 1))
