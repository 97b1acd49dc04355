"""Prometheus text: read back by a strict parser of the format, written whole, absent where nothing is known."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device import RESEARCH_NOTICE, metrics
from device.bundle import Bundle, load_bundle
from device.capture import Frame
from device.errors import UserError
from device.governor import Decision
from device.judge import Judge, Snapshot
from device.machine import Condition, Machine
from device.metrics import Family, MetricsFile, of_machine, of_run, one, render
from device.over_time import OverTime
from device.runtime import open_bundle
from device.stages import Tally
from device.telemetry import Health, Memory
from device.telemetry.battery import Battery

UNKNOWN = Health(*[None] * 8)
_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)")
_PAIR = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)')


def unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: {"n": "\n"}.get(found[1], found[1]), text)


def parse(text: str) -> dict[str, tuple[str, str, dict[tuple, float]]]:
    """name -> (kind, help, {labels: value}). Stricter than the format: HELP, TYPE, then the samples of that name only,
    no metric twice, no labels twice, no NaN or infinity."""
    found: dict[str, tuple[str, str, dict[tuple, float]]] = {}
    assert text == "" or text.endswith("\n")
    lines = text.split("\n")[:-1]
    while lines:
        _, keyword, name, help_text = lines.pop(0).split(" ", 3)
        assert keyword == "HELP"
        assert name not in found
        first, keyword, same, kind = lines.pop(0).split(" ")
        assert (first, keyword, same) == ("#", "TYPE", name)
        assert kind in ("counter", "gauge")
        assert (kind == "counter") == name.endswith("_total")
        samples: dict[tuple, float] = {}
        while lines and not lines[0].startswith("#"):
            sample, inner, value = _SAMPLE.fullmatch(lines.pop(0)).groups()
            assert sample == name
            labels, at = [], 0
            while inner is not None and at < len(inner):
                pair = _PAIR.match(inner, at)
                labels.append((pair[1], unescaped(pair[2])))
                at = pair.end()
            assert tuple(labels) not in samples
            assert len(dict(labels)) == len(labels)
            assert math.isfinite(float(value))
            samples[tuple(labels)] = float(value)
        assert samples, f"{name} has no sample and should not be there"
        found[name] = kind, unescaped(help_text), samples
    return found


texts = st.text(st.characters(exclude_characters="\r", exclude_categories=["Cs"]), max_size=20)
values = st.none() | st.floats() | st.integers(0, 2**53)


@settings(deadline=None)
@given(texts, st.lists(st.tuples(texts, values), max_size=6, unique_by=lambda pair: pair[0]))
def test_what_is_written_is_read_back(help_text: str, samples: list[tuple[str, float | None]]) -> None:
    family = Family("busi_kd_x", "gauge", help_text, tuple(({"a": label, "b": ""}, value) for label, value in samples))
    found = parse(render([family]))
    known = {label: value for label, value in samples if value is not None and math.isfinite(value)}
    if not known:
        assert found == {}, "nothing known, nothing said"
        return
    kind, said, read = found["busi_kd_x"]
    assert (kind, said) == ("gauge", help_text)
    assert read == {(("a", label), ("b", "")): value for label, value in known.items()}


def test_golden_text() -> None:
    family = Family("busi_kd_x_total", "counter", 'A "b" \\ c\nd.', (({"a": 'q"\\\n'}, 3), ({}, 0.25)))
    assert render([family, one("busi_kd_y", "gauge", "Y.", None), one("busi_kd_z", "gauge", "Z.", 1e-7)]) == (
        '# HELP busi_kd_x_total A "b" \\\\ c\\nd.\n'
        "# TYPE busi_kd_x_total counter\n"
        'busi_kd_x_total{a="q\\"\\\\\\n"} 3\n'
        "busi_kd_x_total 0.25\n"
        "# HELP busi_kd_z Z.\n"
        "# TYPE busi_kd_z gauge\n"
        "busi_kd_z 1e-07\n"
    )


@pytest.mark.parametrize("name", ["", "busi kd", "9x", "busi-kd", "x\n"])
def test_names_that_prometheus_does_not_take_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="none of Prometheus's"):
        render([one(name, "gauge", "", 1.0)])
    with pytest.raises(ValueError, match="none of Prometheus's"):
        render([Family("x", "gauge", "", (({name: ""}, 1.0),))])


def test_bytes_that_are_no_text_do_not_stop_it() -> None:
    text = render([Family("x", "gauge", "", (({"source": "scan\udcff\r.png"}, 1.0),))])
    assert parse(text)["x"][2] == {(("source", "scan\\udcff .png"),): 1.0}


def test_what_is_unknown_of_the_machine_has_no_sample() -> None:
    found = parse(render(of_machine(Condition(UNKNOWN, None, Decision()))))
    assert set(found) == {"busi_kd_limited"}
    assert found["busi_kd_limited"][2] == {(): 0.0}


def test_units_are_those_of_the_names() -> None:
    flags = ("under-voltage", "throttled-since-boot")
    health = Health(50.0, 150.0, 76.5, 80.0, Memory(120.0, "pss"), 900.0, 1500.0, flags)
    decision = Decision(7.5, ("temperature", "under-voltage"))
    found = parse(render(of_machine(Condition(health, Battery(57.0, 3.8, False, 90.0, 4.5, "x"), decision))))
    assert {name: samples[()] for name, (_, _, samples) in found.items() if () in samples} == pytest.approx(
        {
            "busi_kd_temperature_celsius": 76.5,
            "busi_kd_clock_hertz": 1.5e9,
            "busi_kd_machine_cpu_ratio": 0.5,
            "busi_kd_cpu_cores": 1.5,
            "busi_kd_resident_memory_bytes": 80 * 2**20,
            "busi_kd_available_memory_bytes": 900 * 2**20,
            "busi_kd_throttle_flags": 2,
            "busi_kd_battery_ratio": 0.57,
            "busi_kd_battery_volts": 3.8,
            "busi_kd_battery_charging": 0,
            "busi_kd_battery_left_seconds": 5400,
            "busi_kd_battery_watts": 4.5,
            "busi_kd_limited": 1,
            "busi_kd_limit_frames_per_second": 7.5,
        }
    )
    assert found["busi_kd_memory_bytes"][2] == {(("by", "pss"),): 120.0 * 2**20}
    assert found["busi_kd_throttled"][2] == {(("flag", flag),): 1.0 for flag in flags}
    assert found["busi_kd_limited_by"][2] == {(("cause", cause),): 1.0 for cause in decision.limited_by}


@pytest.fixture(scope="module")
def bundle(bundle_dir: Path) -> Bundle:
    return load_bundle(bundle_dir / "float32")


def exported(bundle: Bundle, latest: Snapshot | None, tally: Tally) -> dict:
    frames = {"captured": 3, "judged": 2, "skipped": 1, "bad": 0, "undecodable": 0}
    known = {"source": "folder a\nb", "synthetic": None, "signal": "no signal"}
    parts = {"frames": frames, "total": tally, "second": tally, "latest": latest, "machine": Machine()}
    return parse(render(of_run(bundle=bundle, **known, **parts)))


def test_a_run_is_told(bundle: Bundle) -> None:
    judge = Judge(open_bundle(bundle), bundle.meta, OverTime(), None)
    snapshot = judge.judge(Frame(np.full((48, 64), 216, np.uint8), 0, 1.0, "bright"), 1.0, 1.0)
    tally = Tally()
    tally.add("malignant", {"infer": 2.0})
    tally.add("abstain", {"infer": 2.0})
    found = exported(bundle, snapshot, tally)
    (about,) = found["busi_kd_info"][2]
    assert dict(about)["id"] == bundle.id
    assert (dict(about)["synthetic"], dict(about)["source"]) == ("unknown", "folder a\nb")
    assert found["busi_kd_signal"][2] == {(("state", "no signal"),): 1.0}
    assert found["busi_kd_frames_judged_total"] == ("counter", "Frames with a verdict.", {(): 2.0})
    assert found["busi_kd_frames_bad_total"][2] == {(): 0.0}, "a count of none is known"
    assert found["busi_kd_verdicts_total"][2] == {(("verdict", "abstain"),): 1.0, (("verdict", "malignant"),): 1.0}
    stages = found["busi_kd_stage_seconds"][2]
    assert {dict(labels)["stage"] for labels in stages} == {"infer"}
    assert list(stages.values()) == pytest.approx([2e-3, 2e-3], rel=0.011)
    shown = {dict(labels)["verdict"]: value for labels, value in found["busi_kd_shown"][2].items()}
    assert shown == {"benign": 0.0, "malignant": 1.0, "normal": 0.0, "abstain": 0.0}
    assert found["busi_kd_shown_malignant_probability"][2][()] > 0.5
    for name in ("busi_kd_info", "busi_kd_shown", "busi_kd_shown_malignant_probability", "busi_kd_verdicts_total"):
        assert RESEARCH_NOTICE in found[name][1]


def test_without_a_frame_there_is_no_verdict_and_no_latency(bundle: Bundle) -> None:
    found = exported(bundle, None, Tally())
    assert not {"busi_kd_shown", "busi_kd_shown_malignant_probability", "busi_kd_stage_seconds"} & set(found)


# --- the file


def test_a_file_is_written_whole_seldom_and_taken_away(tmp_path: Path) -> None:
    said: list[str] = []
    path = tmp_path / "busi-kd.prom"
    file = MetricsFile(path, said.append, every_s=5.0)
    for at, wanted in ((0.0, 1.0), (4.9, 1.0), (5.0, 3.0)):
        file.write(lambda at=at: [one("x", "gauge", "", 1.0 if at == 0 else 3.0)], now=at)
        assert parse(path.read_text())["x"][2] == {(): wanted}
        assert [entry.name for entry in tmp_path.iterdir()] == ["busi-kd.prom"]
    file.close()
    file.close()
    assert list(tmp_path.iterdir()) == []
    assert said == []


def test_a_file_that_cannot_be_written_is_said_once(tmp_path: Path) -> None:
    said: list[str] = []
    folder = tmp_path / "run"
    folder.mkdir()
    path = folder / "m.prom"
    file = MetricsFile(path, said.append, every_s=1.0)
    path.mkdir()  # a folder cannot be replaced by a file, not even by root
    for at in range(3):
        file.write(lambda: [one("x", "gauge", "", 1.0)], now=float(at))
    assert len(said) == 1
    path.rmdir()
    file.write(lambda: [one("x", "gauge", "", 1.0)], now=10.0)
    assert said[1:] == [f"{path}: metrics are written again."]
    assert path.is_file()


@pytest.mark.parametrize(("name", "why"), [("m.txt", "end in .prom"), ("absent/m.prom", "its folder does not exist")])
def test_files_that_nobody_would_read_are_refused(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(UserError, match=why):
        MetricsFile(tmp_path / name, print)


def test_the_content_type_is_that_of_the_format() -> None:
    assert metrics.CONTENT_TYPE.startswith("text/plain; version=0.0.4")
