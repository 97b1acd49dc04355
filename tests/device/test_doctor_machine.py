"""The doctor on heat, power, memory, disk, clock and service: machines made of files, and real folders and programs."""

import datetime
import os
import socket
import threading
from pathlib import Path

import pytest

from device.config.settings import GovernorSettings, RecorderSettings
from device.doctor import Finding, clock, disk, machine, service
from device.telemetry import Telemetry, pisugar
from device.telemetry.battery import Gauges, from_pisugar

LIMITS = GovernorSettings()


@pytest.fixture(autouse=True)
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of PATH: programs of this machine must not answer."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(folder: Path, name: str, body: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


def write(root: Path, **files: str) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def checked(found: Finding) -> str:
    assert (found.do is None) == (found.state == "ok")
    assert found.says.endswith(".")
    return found.state


@pytest.mark.parametrize(("millidegrees", "state"), [("74900", "ok"), ("75000", "note"), ("80000", "problem")])
def test_temperature(millidegrees: str, state: str, tmp_path: Path) -> None:
    zone = "sys/class/thermal/thermal_zone0"
    root = write(tmp_path / "pi", **{f"{zone}/type": "cpu-thermal\n", f"{zone}/temp": millidegrees})
    assert checked(machine.temperature(Telemetry(root).sample(), LIMITS)) == state


def test_no_temperature_sensor_is_not_good_news(tmp_path: Path) -> None:
    assert checked(machine.temperature(Telemetry(tmp_path).sample(), LIMITS)) == "unknown"


@pytest.mark.parametrize(
    ("flags", "state", "advice"),
    [
        ("0x0", "ok", None),
        ("0x1", "problem", "supply"),
        ("0x10000", "problem", "supply"),  # since boot
        ("0x50005", "problem", "supply"),
        ("0x4", "problem", "air"),
        ("0x80000", "note", "air"),
        ("nonsense", "unknown", "sudo"),
    ],
)
def test_under_voltage_and_throttling(
    flags: str, state: str, advice: str | None, programs: Path, tmp_path: Path
) -> None:
    program(programs, "vcgencmd", f'[ "$1" = get_throttled ] && echo throttled={flags}')
    found = machine.throttling(Telemetry(tmp_path, firmware_every_s=0.0).sample())
    assert checked(found) == state
    assert advice is None or advice in found.do


@pytest.mark.parametrize(
    ("kib", "state"), [(2_000_000, "ok"), (250_000, "note"), (100_000, "problem"), (None, "unknown")]
)
def test_memory(kib: int | None, state: str, tmp_path: Path) -> None:
    root = write(tmp_path / "pi", **{"proc/meminfo": f"MemAvailable: {kib} kB\n"})
    assert checked(machine.memory(Telemetry(root).sample())) == state


@pytest.mark.parametrize(
    ("battery", "mains", "state"),
    [
        (("Discharging", "80"), None, "ok"),
        (("Discharging", "20"), None, "ok"),
        (("Discharging", "19"), None, "note"),
        (("Discharging", "10"), None, "note"),
        (("Discharging", "9"), None, "problem"),
        (("Charging", "5"), None, "ok"),
        (("Discharging", "5"), "1", "ok"),
        (("Discharging", "no number"), None, "unknown"),
        (("Discharging", "101"), None, "unknown"),
        (None, "1", "ok"),
        (None, "0", "unknown"),
        (None, None, "unknown"),
    ],
)
def test_power(battery: tuple[str, str] | None, mains: str | None, state: str, tmp_path: Path) -> None:
    folder, root = "sys/class/power_supply", tmp_path / "pi"
    if battery is not None:
        files = {"type": "Battery\n", "status": battery[0], "capacity": battery[1] + "\n"}
        write(root, **{f"{folder}/BAT0/{name}": content for name, content in files.items()})
    if mains is not None:
        write(root, **{f"{folder}/AC/type": "Mains\n", f"{folder}/AC/online": mains})
    assert checked(machine.power(LIMITS, Gauges(root), root)) == state


def test_power_of_a_pisugar(tmp_path: Path) -> None:
    """Another gauge than the kernel's, over a real socket."""
    (tmp_path / "tmp").mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(tmp_path / pisugar.SOCKET))
        listening.listen()

        def serve() -> None:
            client, _ = listening.accept()
            with client:
                client.sendall(b"battery: 12.4\nbattery_v: 3.5\nbattery_charging: false\n")
                client.recv(4096)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        patient = Gauges(tmp_path, readers=(lambda root: from_pisugar(root, 10.0),))  # a busy machine is no failure
        found = machine.power(LIMITS, patient, tmp_path)
        thread.join(10)
    assert checked(found) == "note"
    assert found.says == "battery pisugar: 12 %, discharging."


# --- disk


def test_space_against_the_reserve(tmp_path: Path) -> None:
    states = [checked(disk.space(tmp_path, free, 500)) for free in (1001, 1000, 501, 500, 0)]
    assert states == ["ok", "note", "note", "problem", "problem"]


def test_a_folder_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    assert checked(disk.writable(folder, False)) == "note"
    folder.mkdir()
    assert checked(disk.writable(folder, False)) == "ok"
    assert list(folder.iterdir()) == []
    assert checked(disk.writable(folder, True)) == "problem"
    (tmp_path / "file").touch()
    assert checked(disk.writable(tmp_path / "file", False)) == "problem"


def test_a_folder_that_refuses(tmp_path: Path) -> None:
    found = disk.writable(Path("/proc"), False)  # not even root can make a file there
    assert checked(found) in ("problem", "unknown")
    assert "cannot be written" in found.says or "may not be written" in found.says
    if os.getuid():  # for root no permission is missing
        tmp_path.chmod(0o500)
        assert checked(disk.writable(tmp_path, False)) == "unknown"


def test_the_folders_of_the_settings_are_looked_at(tmp_path: Path) -> None:
    state, stick = tmp_path / "var/lib/busi-kd", tmp_path / "media/stick"
    found = disk.disk(RecorderSettings(reserve_bytes=0), tmp_path)
    assert [(one.name, one.state) for one in found] == [("disk", "ok"), ("writing", "note")]
    assert found[0].says.startswith(f"{tmp_path}:")  # the folder above it that is there
    state.mkdir(parents=True)
    stick.mkdir(parents=True)
    found = disk.disk(RecorderSettings(True, Path("/media/stick"), reserve_bytes=10**15), tmp_path)
    assert [(one.name, one.state) for one in found] == [("disk", "problem"), ("writing", "ok")] * 2
    assert [str(stick) in one.says for one in found] == [False, False, True, True]
    assert len(disk.disk(RecorderSettings(True), tmp_path)) == 2  # its usual folder lies within the state's


# --- clock


def test_clock(tmp_path: Path) -> None:
    now, old = datetime.datetime(2026, 3, 1, 12), datetime.datetime(1970, 1, 1)
    states = [checked(clock.clock(now, kernel, tmp_path)) for kernel in (True, False, None)]
    assert states == ["ok", "note", "unknown"]
    assert checked(clock.clock(old, True, tmp_path)) == "problem"
    assert checked(clock.clock(now.replace(year=2107), True, tmp_path)) == "problem"
    write(tmp_path, **{"run/systemd/timesync/synchronized": ""})
    assert checked(clock.clock(now, False, tmp_path)) == "ok"


def test_the_kernel_of_this_machine_says_something_of_its_clock() -> None:
    import time

    before = time.time()
    assert clock.kernel_is_synchronised() in (True, False)
    assert abs(time.time() - before) < 60  # and it was not set


# --- service

LOADED = {"LoadState": "loaded", "ActiveState": "active", "SubState": "running", "Result": "success", "NRestarts": "0"}


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "ok"),
        ({"NRestarts": "3"}, "note"),
        ({"ActiveState": "failed", "Result": "watchdog"}, "problem"),
        ({"ActiveState": "activating", "SubState": "auto-restart"}, "note"),
        ({"ActiveState": "inactive"}, "note"),
        ({"LoadState": "not-found"}, "note"),
        ({"LoadState": "bad-setting"}, "problem"),
    ],
)
def test_the_unit_as_systemctl_tells_it(changes: dict[str, str], state: str, programs: Path) -> None:
    lines = "".join(f"{name}={value}\n" for name, value in (LOADED | changes).items())
    write(programs, answer=lines)
    program(
        programs,
        "systemctl",
        f'[ "$1 $2" = "show busi-kd.service" ] && while read -r l; do echo "$l"; done <{programs}/answer',
    )
    assert checked(service.service()) == state


def test_without_systemd_nothing_is_known_of_the_service(programs: Path) -> None:
    assert checked(service.service()) == "unknown"
    program(programs, "systemctl", "echo 'System has not been booted with systemd' >&2; exit 1")
    assert checked(service.service()) == "unknown"
    (programs / "systemctl").write_text("no program")
    assert checked(service.service()) == "unknown"
