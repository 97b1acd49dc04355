"""Telemetry on machines made of files: a Raspberry Pi 4, a bare one, a broken one, and the one the tests run on."""

import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from device.telemetry import Health, Memory, Telemetry, firmware, parse_throttled, peak_memory_mb
from device.telemetry.processes import cpu_seconds

FLAGS = ("under-voltage", "frequency-capped", "throttled", "soft-temperature-limit")
CLOCK = "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq"
UNKNOWN = Health(*[None] * len(dataclasses.fields(Health)))


def process_line(ticks: str) -> str:
    """A /proc/PID/stat line; the name holds what a careless split would fall over."""
    return f"77 (a) b (c 1 2) S 1 77 77 0 -1 4194560 1 2 3 4 {ticks} 20 0 1 0 100 1000 100"


PI_4 = {
    "proc/stat": "cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 25 0 25 175 25 0 0 0 0 0\nintr 1\n",
    "proc/uptime": "10.00 35.00\n",
    "proc/self/stat": process_line("200 100 0 0"),
    "proc/self/status": "Name:\tpython\nVmHWM:\t  204800 kB\nVmRSS:\t  102400 kB\n",
    "proc/self/smaps_rollup": "55d0-7ffc ---p 0 00:00 0 [rollup]\nRss: 102400 kB\nPss:    92160 kB\nPss_Anon: 1 kB\n",
    "proc/self/task/77/children": "",
    "proc/meminfo": "MemTotal:        3884360 kB\nMemFree: 1 kB\nMemAvailable:    2097152 kB\n",
    "sys/class/thermal/thermal_zone0/type": "gpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "61000\n",
    "sys/class/thermal/thermal_zone1/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone1/temp": "48312\n",
    "sys/class/hwmon/hwmon0/name": "cpu_thermal\n",
    "sys/class/hwmon/hwmon0/temp1_input": "47000\n",
    "sys/class/hwmon/hwmon1/name": "rpi_volt\n",
    "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "0\n",
    CLOCK: "1500000\n",
}


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.fixture
def pi(tmp_path: Path) -> Path:
    root = tmp_path / "pi"
    write(root, **PI_4)
    return root


@pytest.fixture(autouse=True)
def vcgencmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a fake vcgencmd that answers from files named after its first argument; not yet installed."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("sh", "cat", "sleep"):
        found = next(Path(place) / tool for place in ("/bin", "/usr/bin") if (Path(place) / tool).exists())
        (folder / tool).symlink_to(found)
    monkeypatch.setenv("PATH", str(folder))  # and no real one, should the tests run on a Raspberry Pi
    return folder


def install(vcgencmd: Path, script: str | None = None, **answers: str) -> None:
    program = vcgencmd / "vcgencmd"
    program.write_text("#!/bin/sh\n" + (script or f'echo "$@" >> {vcgencmd}/calls\ncat {vcgencmd}/"$1"\n'))
    program.chmod(0o755)
    write(vcgencmd, **answers)


def calls(vcgencmd: Path) -> list[str]:
    return (vcgencmd / "calls").read_text().splitlines()


def test_a_pi_4_with_firmware(pi: Path, vcgencmd: Path) -> None:
    install(vcgencmd, get_throttled="throttled=0x50000\n")
    eyes = Telemetry(pi)
    write(
        pi,
        **{
            "proc/stat": "cpu  200 10 130 800 160 0 0 0 50 0\n",  # +100 +10 +30 busy, +100 +60 idle; guest is in user
            "proc/uptime": "12.00 40.00\n",
            "proc/self/stat": process_line("300 150 0 0"),  # 1.5 s of CPU in 2 s at 100 ticks a second
        },
    )
    health = eyes.sample()
    ticks = os.sysconf("SC_CLK_TCK")
    assert health.cpu_percent == pytest.approx(100 * 140 / 300)
    assert health.process_cpu_percent == pytest.approx(100 * 150 / (2 * ticks))
    assert health.temperature_c == 48.312
    assert (health.memory_rss_mb, health.memory_available_mb) == (100.0, 2048.0)
    assert health.clock_mhz == 1500.0
    assert health.throttled == ("under-voltage-since-boot", "throttled-since-boot")


def test_children_count_while_they_live_and_after(pi: Path) -> None:
    write(pi, **{"proc/self/task/77/children": "78 79 ", "proc/78/stat": process_line("10 0 0 0")})
    eyes = Telemetry(pi)  # 79 has gone already: nothing to read
    write(
        pi,
        **{
            "proc/uptime": "11.00 0",
            "proc/78/stat": process_line("30 0 0 0"),
            "proc/self/stat": process_line("210 100 0 0"),
        },
    )
    assert eyes.sample().process_cpu_percent == pytest.approx(100 * 30 / os.sysconf("SC_CLK_TCK"))
    write(
        pi,
        **{
            "proc/uptime": "12.00 0",
            "proc/self/task/77/children": "",
            "proc/self/stat": process_line("210 100 30 10"),  # the child was reaped after 10 more ticks
        },
    )
    assert eyes.sample().process_cpu_percent == pytest.approx(100 * 10 / os.sysconf("SC_CLK_TCK"))


def test_percentages_need_time_to_pass(pi: Path) -> None:
    health = Telemetry(pi).sample()
    assert health.cpu_percent is None
    assert health.process_cpu_percent is None


def test_counters_that_fall_are_unknown(pi: Path) -> None:
    eyes = Telemetry(pi)
    write(pi, **{"proc/uptime": "12.0 0", "proc/self/stat": process_line("1 1 0 0"), "proc/stat": "cpu 1 1 1 1 1 1"})
    health = eyes.sample()
    assert health.cpu_percent is None
    assert health.process_cpu_percent is None


def test_without_any_sensor_everything_is_unknown(tmp_path: Path) -> None:
    assert Telemetry(tmp_path / "nothing").sample() == UNKNOWN


@pytest.mark.parametrize("rubbish", ["", "warm", "nan", "inf", "-274000", "9" * 5000, "\0\0"])
@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("sys/class/thermal/thermal_zone1/temp", "temperature_c"),
        (CLOCK, "clock_mhz"),
        ("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "throttled"),
        ("proc/self/status", "memory_rss_mb"),
        ("proc/meminfo", "memory_available_mb"),
        ("proc/stat", "cpu_percent"),
        ("proc/uptime", "process_cpu_percent"),
        ("proc/self/stat", "process_cpu_percent"),
    ],
)
def test_rubbish_is_unknown_and_spares_the_other_fields(pi: Path, name: str, field: str, rubbish: str) -> None:
    (pi / "sys/class/hwmon/hwmon0/temp1_input").unlink()  # or it would stand in for the zone
    eyes = Telemetry(pi)
    write(pi, **{"proc/stat": "cpu 300 0 100 700 100 0", "proc/uptime": "12.0 0"})
    write(pi, **{name: rubbish})
    health = dataclasses.asdict(eyes.sample())
    assert [key for key, value in health.items() if value is None] == [field]


@settings(deadline=None)  # a busy machine is no failure
@given(name=st.sampled_from(sorted(PI_4)), data=st.binary(max_size=80))
@example(name="proc/self/task/77/children", data=b"\x01\0\x01")  # a NUL in a path is a ValueError, not an OSError
def test_no_bytes_in_a_sensor_file_raise(name: str, data: bytes) -> None:
    with tempfile.TemporaryDirectory() as root:
        write(Path(root), **PI_4)
        eyes = Telemetry(Path(root))
        (Path(root) / name).write_bytes(data)
        eyes.sample()
        (Path(root) / name).unlink()
        (Path(root) / name).mkdir()  # reading it fails with an OSError, as a driver's EIO does
        eyes.sample()


def test_temperature_comes_from_the_processor_alone(pi: Path) -> None:
    (pi / "sys/class/thermal/thermal_zone1/temp").unlink()
    assert Telemetry(pi).sample().temperature_c == 47.0  # hwmon stands in
    (pi / "sys/class/hwmon/hwmon0/temp1_input").unlink()
    assert Telemetry(pi).sample().temperature_c is None  # and the GPU's zone does not


def test_throttled_now_takes_the_clock_from_the_firmware(pi: Path, vcgencmd: Path) -> None:
    answers = {"get_throttled": "throttled=0x50005\n", "measure_clock": "frequency(48)=600117184\n"}
    install(vcgencmd, **answers)
    health = Telemetry(pi).sample()
    assert health.throttled == ("under-voltage", "throttled", "under-voltage-since-boot", "throttled-since-boot")
    assert health.clock_mhz == pytest.approx(600.117184)
    assert calls(vcgencmd) == ["get_throttled", "measure_clock arm"]


def test_the_firmware_measures_the_clock_where_the_kernel_cannot_say(pi: Path, vcgencmd: Path) -> None:
    (pi / CLOCK).unlink()
    install(vcgencmd, get_throttled="throttled=0x0\n", measure_clock="frequency(0)=1500398464\n")
    health = Telemetry(pi).sample()
    assert (health.clock_mhz, health.throttled) == (pytest.approx(1500.398464), ())


def test_the_firmware_is_asked_seldom(pi: Path, vcgencmd: Path) -> None:
    install(vcgencmd, get_throttled="throttled=0x0\n")
    now = 100.0
    eyes = Telemetry(pi, firmware_every_s=5.0, clock=lambda: now)
    assert eyes.sample().throttled == ()
    write(vcgencmd, get_throttled="throttled=0x1\n", measure_clock="frequency(48)=600000000\n")
    now = 104.9
    health = eyes.sample()
    assert (health.throttled, health.clock_mhz) == ((), 1500.0)
    now = 105.0
    health = eyes.sample()
    assert (health.throttled, health.clock_mhz) == (("under-voltage",), 600.0)
    assert calls(vcgencmd) == ["get_throttled", "get_throttled", "measure_clock arm"]


@pytest.mark.parametrize(("alarm", "flags"), [("0", ()), ("1", ("under-voltage",)), ("2", None), ("", None)])
def test_under_voltage_from_the_kernel_without_vcgencmd(pi: Path, alarm: str, flags: tuple | None) -> None:
    write(pi, **{"sys/class/hwmon/hwmon1/in0_lcrit_alarm": alarm})
    assert Telemetry(pi).sample().throttled == flags


def test_the_deprecated_file_is_the_last_resort_and_read_seldom(pi: Path, vcgencmd: Path) -> None:
    name, now = "sys/devices/platform/soc/soc:firmware/get_throttled", 0.0
    write(pi, **{name: "50004\n"})
    assert Telemetry(pi).sample().throttled == (), "the kernel's alarm comes before it"
    (pi / "sys/class/hwmon/hwmon1/name").unlink()
    eyes = Telemetry(pi, clock=lambda: now)
    flags = ("throttled", "under-voltage-since-boot", "throttled-since-boot")
    assert eyes.sample().throttled == flags
    write(pi, **{name: "0\n"})
    now = 4.9
    assert eyes.sample().throttled == flags
    now = 5.0
    assert eyes.sample().throttled == ()
    now = 10.0
    write(pi, **{name: "0x0\n"})
    assert eyes.sample().throttled is None
    now = 15.0
    (pi / name).unlink()
    assert eyes.sample().throttled is None
    install(vcgencmd, get_throttled="throttled=0x0\n")
    write(pi, **{name: "4\n"})
    assert Telemetry(pi).sample().throttled == (), "the firmware's own word comes first"


def test_memory_is_summed_over_the_processes_by_pss_where_all_tell_it(pi: Path) -> None:
    assert Telemetry(pi).sample().memory_all == Memory(90.0, "pss")
    write(pi, **{"proc/self/task/77/children": "78 ", "proc/78/smaps_rollup": "Pss:   10240 kB\n"})
    assert Telemetry(pi).sample().memory_all == Memory(100.0, "pss")
    write(pi, **{"proc/78/status": "VmRSS:\t 51200 kB\n"})
    (pi / "proc/78/smaps_rollup").unlink()
    assert Telemetry(pi).sample().memory_all == Memory(150.0, "rss"), "no sum of one process's PSS and another's RSS"
    (pi / "proc/self/task/77/children").unlink()
    assert Telemetry(pi).sample().memory_all is None, "a kernel that does not tell of children"


def test_memory_is_looked_at_seldom(pi: Path) -> None:
    now = 0.0
    eyes = Telemetry(pi, clock=lambda: now)
    assert eyes.sample().memory_all.mb == 90.0
    write(pi, **{"proc/self/smaps_rollup": "Pss: 1024 kB\n"})
    now = 4.9
    assert eyes.sample().memory_all.mb == 90.0
    now = 5.0
    assert eyes.sample().memory_all.mb == 1.0


def test_cpu_seconds_of_a_child_count_while_it_lives_and_after() -> None:
    code = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ninput()"
    before = cpu_seconds()[1]
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.read(1)
        living = cpu_seconds()[1] - before
        child.stdin.write(b"\n")
        child.stdin.close()
        child.wait()
        reaped = cpu_seconds()[1] - before
    assert 0.28 <= living <= reaped + 0.011, "what it has used does not vanish with it"


def test_cpu_seconds_of_children_are_unknown_where_the_kernel_does_not_list_them(tmp_path: Path) -> None:
    own, below = cpu_seconds(tmp_path)
    assert own > 0
    assert below is None


@pytest.mark.parametrize(
    "script",
    [
        "echo VCHI initialization failed; exit 255\n",  # what a user outside the group `video` gets
        'echo error=1 error_msg="Command not registered"\n',
        "exec sleep 600\n",
        "kill -9 $$\n",
    ],
)
def test_firmware_that_does_not_answer_is_unknown(
    pi: Path, vcgencmd: Path, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firmware, "_VCGENCMD_TIMEOUT_S", 0.3)
    (pi / "sys/class/hwmon/hwmon1/name").write_text("other\n")
    install(vcgencmd, script)
    health = Telemetry(pi).sample()
    assert health.throttled is None
    assert health.clock_mhz == 1500.0


def test_a_program_that_cannot_be_started_is_unknown(pi: Path, vcgencmd: Path) -> None:
    (pi / "sys/class/hwmon/hwmon1/name").unlink()
    (vcgencmd / "vcgencmd").write_bytes(b"\x7fELF of another processor")
    (vcgencmd / "vcgencmd").chmod(0o755)
    assert Telemetry(pi).sample().throttled is None


@settings(deadline=None)  # a busy machine is no failure
@given(st.integers(0, 2**32 - 1))
def test_throttle_bits_and_names_agree(bits: int) -> None:
    now = [name for i, name in enumerate(FLAGS) if bits & 1 << i]
    since = [f"{name}-since-boot" for i, name in enumerate(FLAGS) if bits & 1 << 16 + i]
    assert parse_throttled(f"throttled=0x{bits:x}\n") == (*now, *since)


@settings(deadline=None)  # a busy machine is no failure
@given(st.text() | st.text("throled=0x12 \n").map("throttled=".__add__))
def test_any_other_text_is_no_answer(text: str) -> None:
    flags = parse_throttled(text)
    assert flags is None or text.strip().startswith("throttled=0x")


def test_texts_that_only_look_like_an_answer() -> None:
    for text in ("", "throttled=", "throttled=0x", "throttled=5", "0x5", "throttled=0x5 0x1", "throttled=0x123456789"):
        assert parse_throttled(text) is None, text


def test_this_very_machine() -> None:
    eyes = Telemetry()
    start = time.process_time()
    while time.process_time() - start < 0.2:
        pass
    health = eyes.sample()
    assert health.process_cpu_percent > 0
    assert 0 < health.cpu_percent <= 100
    assert 1 < health.memory_rss_mb < health.memory_available_mb
    assert health.memory_all.mb > 1


def test_peak_memory_remembers_what_was_given_back() -> None:
    before = peak_memory_mb()
    now = Telemetry().sample().memory_rss_mb
    size = int(before - now) + 64
    np.ones(size << 20, np.uint8)
    assert peak_memory_mb() > before + 32
    assert Telemetry().sample().memory_rss_mb < now + 32
