"""The machine below the daemon: what it says, what it limits, and what it reports a frame to cost."""

import json
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from test_daemon import run, second_lines
from test_daemon_loop import Scripted, grey

from device import daemon
from device.bundle import Bundle, load_bundle
from device.governor import GovernorSettings
from device.machine import Machine
from device.notify import Notifier
from device.power import PowerMeter
from device.runtime import open_bundle
from device.telemetry import Health, Memory, Telemetry
from device.telemetry.battery import Battery, Gauges

HEALTHY = Health(10.0, 20.0, 50.0, 80.0, Memory(120.0, "pss"), 900.0, 1500.0, ())


@pytest.fixture(scope="module")
def bundle(bundle_dir: Path) -> Bundle:
    return load_bundle(bundle_dir / "int8-full")


class Scene(Telemetry):
    """A telemetry that reads the health that the test sets."""

    def __init__(self, health: Health) -> None:
        self.health = health

    def sample(self) -> Health:
        return self.health


def hot(temperature: float | None) -> Health:
    return Health(10.0, 20.0, temperature, 80.0, None, 900.0, 1500.0, ())


def no_gauge(tmp_path: Path) -> Gauges:
    return Gauges(tmp_path)


UPS = Battery(50.0, 3.7, None, None, None, "test")


def with_battery(found: Battery) -> Gauges:
    return Gauges(every_s=0.0, readers=(lambda root: found,))


def test_decisions_are_said_once_and_shown(tmp_path: Path) -> None:
    lines: list[str] = []
    scene = Scene(hot(50.0))
    machine = Machine(telemetry=scene, gauges=no_gauge(tmp_path), say=lines.append)
    for at, temperature in enumerate([50.0, 50.0, 76.2, 76.3, 79.5, None, None]):
        scene.health = hot(temperature)
        machine.sample(float(at))
    assert lines == [
        "governor: unknown, so no reason for a limit: battery",
        "governor: no limit -> 15 frames per second (temperature)",
        "governor: 15 frames per second (temperature) -> 2 frames per second (temperature)",
        "governor: unknown, so no reason for a limit: temperature, battery",
    ]
    assert machine.pairs() | {"mem_all_mb": None} == {
        "unchanged": 0,
        **{"mem_all_mb": None, "mem_all_by": None, "battery": None, "battery_v": None, "charging": None},
        **{"battery_min": None, "limit_fps": 2.0, "limited_by": "temperature"},
    }
    assert machine.status() == "Limited to 2 frames per second (temperature). "
    assert machine.summary()["governor"]["lowest_fps"] == 2.0
    assert machine.summary()["governor"]["limited_s"] == 4.0


def test_without_a_governor_nothing_is_limited() -> None:
    lines: list[str] = []
    machine = Machine(None, Scene(hot(90.0)), with_battery(Battery(3.0, 3.2, False, 7.0, 4.0, "test")), lines.append)
    condition = machine.sample(0.0)
    assert (machine.pause(1.0), machine.status(), lines) == (0.0, "", [])
    assert machine.summary()["governor"] is None
    assert condition.pairs() == {
        **{"mem_all_mb": None, "mem_all_by": None, "battery": 3.0, "battery_v": 3.2, "charging": False},
        **{"battery_min": 7.0, "limit_fps": None, "limited_by": None},
    }


def test_a_limit_paces_the_judging(bundle: Bundle) -> None:
    """No frame is lost to a limit where every frame counts; each waits for its turn."""
    rules = GovernorSettings(full_fps=80.0, floor_fps=40.0)
    machine = Machine(rules, Scene(hot(90.0)), with_battery(UPS), lambda _: None)
    machine.sample()
    source = Scripted([grey(luma) for luma in range(40, 60)], live=False)
    judge = daemon.Daemon(bundle, open_bundle(bundle), source, Notifier({}), say=lambda line: None, machine=machine)
    began = time.monotonic()
    judge.run()
    assert judge.frames()["judged"] == 20
    assert time.monotonic() - began >= 18 / 40, "any 20 frames take 18 periods of the limit at least"


def test_a_limit_leaves_out_frames_of_a_live_source(bundle: Bundle) -> None:
    machine = Machine(telemetry=Scene(hot(90.0)), gauges=with_battery(UPS))
    machine.say = lambda line: None
    machine.sample()
    source = Scripted([grey(luma) for luma in range(40, 140)])
    judge = daemon.Daemon(bundle, open_bundle(bundle), source, Notifier({}), say=lambda line: None, machine=machine)
    judge.run()
    frames = judge.frames()
    assert frames["captured"] == 100 == frames["judged"] + frames["skipped"]
    assert judge.latest.sequence == 99, "the newest one is judged"


# --- what a frame costs


class Times:
    """A clock and a CPU meter that the test sets."""

    def __init__(self) -> None:
        self.now, self.cpu = 100.0, (5.0, 2.0)

    def meter(self) -> PowerMeter:
        return PowerMeter(lambda: self.now, lambda: self.cpu)


def test_the_report_is_of_the_time_after_the_first_frame() -> None:
    times = Times()
    meter = times.meter()
    meter.waited(50.0)
    meter.sampled(1.0, HEALTHY, None)
    meter.judged({"infer": 9000.0}, False)
    for n in range(4):
        meter.judged({"prepare": 10.0, "decide": 5.0, "age": 999.0} | ({"infer": 100.0} if n else {}), n == 0)
    for watts, temperature in ((4.0, 60.0), (6.0, 70.0)):
        meter.sampled(1.0, hot(temperature), Battery(50.0, 3.7, False, None, watts, "test"))
    meter.waited(1.5)
    times.now, times.cpu = 102.0, (5.4, 2.2)
    meter.finish()
    found = meter.report
    assert (found.seconds, found.judged, found.unchanged) == (2.0, 4, 1)
    assert found.duty == pytest.approx(0.25)
    assert found.stages == pytest.approx({"prepare": 0.02, "infer": 0.15, "decide": 0.01})
    plain = found.as_dict()
    assert plain["main_cpu_s_per_frame"] == pytest.approx(0.1)
    assert plain["children_cpu_s_per_frame"] == pytest.approx(0.05)
    assert plain["cpu_s_per_frame"] == pytest.approx(0.15)
    assert (plain["fps_judged"], plain["temperature_c"]) == (2.0, 65.0)
    assert (plain["energy_j"], plain["energy_j_per_frame"]) == (10.0, 2.5)
    assert found.lines() == [
        "power report: 2.0 s, 4 frames judged, 2.0 per second; 1 of them were unchanged and needed no inference.",
        "power report: CPU-seconds per judged frame: 0.10000 main process, 0.05000 source's process, 0.15000 together.",
        "power report: duty cycle of the judging thread: 25.0 % "
        "(prepare 2.0 %, infer 15.0 %, decide 1.0 %, other 7.0 %).",
        "power report: mean temperature: 65.0 C; energy from the battery: 10.0 J, 2.50000 J per judged frame.",
    ]


def test_what_is_unknown_is_said_to_be() -> None:
    times = Times()
    meter = times.meter()
    meter.finish()
    assert meter.report is None
    meter.judged({}, False)
    times.now, times.cpu = 101.0, (6.0, None)
    meter.sampled(1.0, hot(None), Battery(50.0, 3.7, False, None, 4.0, "test"))
    meter.sampled(1.0, hot(None), Battery(50.0, 3.7, None, None, None, "test"))
    meter.finish()
    plain = meter.report.as_dict()
    unknown = ("main_cpu_s_per_frame", "children_cpu_s", "cpu_s_per_frame", "temperature_c", "energy_j")
    assert [plain[name] for name in unknown] == [None] * 5, "energy: one second without the power, and the sum is none"
    assert "unknown source's process, unknown together" in meter.report.lines()[1]
    assert "mean temperature: unknown; energy from the battery: unknown" in meter.report.lines()[3]


def test_the_report_of_a_real_run(bundle: Bundle, tmp_path: Path) -> None:
    summary_file, metrics_file = tmp_path / "s.json", tmp_path / "m.prom"
    file = tmp_path / "c.toml"
    file.write_text(
        f"[log]\npower_report = true\nsummary = '{summary_file}'\nmetrics = '{metrics_file}'\n"
        "[governor]\nenabled = false\n[judgement]\nunchanged = '0 s'\n"
    )
    done = run("--config", file, "--bundle", bundle.folder, "--duration", 8, "--fps", 0)
    assert done.returncode == 0, done.stderr
    report = [line for line in done.stdout.splitlines() if line.startswith("power report: ")]
    assert len(report) == 4
    summary = json.loads(summary_file.read_text())
    power = summary["power"]
    assert power["judged"] == summary["frames"]["judged"] - 1, "all but the first frame, where it begins"
    assert power["main_cpu_s_per_frame"] > 0
    assert power["children_cpu_s_per_frame"] > 0
    assert 0 < sum(power["stages"].values()) <= power["duty"] <= 1
    assert (summary["governor"], summary["unchanged"]) == (None, 0)
    assert {"unchanged", "limit_fps", "limited_by", "battery", "mem_all_mb"} <= set(second_lines(done.stdout)[0])
    assert not metrics_file.exists(), "what stayed would tell of a healthy run"


def test_a_replay_of_one_picture_infers_it_once(bundle: Bundle, tmp_path: Path) -> None:
    folder, summary_file = tmp_path / "pictures", tmp_path / "s.json"
    folder.mkdir()
    for n in range(6):
        cv2.imwrite(str(folder / f"{n}.png"), np.full((48, 64), 40, np.uint8))
    done = run("--bundle", bundle.folder, "--source", "folder", "--path", folder, "--fps", 0, "--summary", summary_file)
    assert done.returncode == 0, done.stderr
    summary = json.loads(summary_file.read_text())
    counted = {name: summary["stages_ms"][name]["count"] for name in ("prepare", "infer")}
    assert counted == {"prepare": 6, "infer": 6 - summary["unchanged"]}
    assert summary["verdicts"]["normal"] == 6
