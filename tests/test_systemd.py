"""The units: checked by systemd's own tools."""

import argparse
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from systemd_files import I2C, ROOT, UNIT, settings, staged, with_i2c

from device import daemon, installed, run, trust
from device.capture import pump
from device.config import read
from device.config.options import effective
from device.config.settings import KEYS, Settings

UNITS = sorted(path for path in UNIT.parent.iterdir() if path.suffix in (".service", ".socket", ".timer"))


def analyze(*options: object) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    assert program, "systemd-analyze is missing; run: apt install systemd"
    return subprocess.run([program, *map(str, options)], capture_output=True, text=True, check=False)


def units_root(root: Path) -> Path:
    """A root with every unit of systemd/ where install.sh puts its own, and with the programs that they start."""
    with_i2c(root)
    assert staged(root).returncode == 0
    assert (root / I2C).is_file()
    shutil.copytree("/usr/lib/systemd/system", root / "usr/lib/systemd/system", symlinks=True)
    (root / "lib").symlink_to("usr/lib")
    for unit in UNITS:
        shutil.copy(unit, root / "etc/systemd/system")
    for name in (
        "opt/busi-kd/bin/busi-kd",
        "usr/lib/busi-kd/launch",
        "usr/bin/sleep",
        "usr/bin/cage",
        "usr/bin/chromium",
    ):
        program = root / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    return root


def test_systemd_finds_nothing_to_complain_about(tmp_path: Path) -> None:
    done = analyze("verify", f"--root={units_root(tmp_path / 'root')}", *(unit.name for unit in UNITS))
    # An unknown key is a mere warning with status 0, hence the text.
    assert (done.returncode, done.stderr + done.stdout) == (0, "")


def test_what_systemd_would_complain_about_is_noticed(tmp_path: Path) -> None:
    root = units_root(tmp_path / "root")
    unit = root / "etc/systemd/system/busi-kd-edid.service"
    unit.write_text(unit.read_text() + "ProtectNothing=yes\n")
    assert "ProtectNothing" in analyze("verify", f"--root={root}", "busi-kd-edid.service").stderr


def exposure(unit: Path) -> float:
    """Of 10, lower is better."""
    done = analyze("security", "--offline=true", "--no-pager", "--threshold=100", unit)
    assert done.returncode == 0, done.stdout + done.stderr
    return float(re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)[1])


@pytest.mark.parametrize("name", ["busi-kd", "busi-kd-edid", "busi-kd-health", "busi-kd-trial"])
def test_the_services_are_exposed_very_little(name: str) -> None:
    figure = exposure(ROOT / f"systemd/{name}.service")
    assert figure <= 1.3
    assert f"| `{name}.service` | {figure} |" in (ROOT / "systemd" / "README.md").read_text()


def test_the_service_may_open_video_devices_and_the_firmware_alone_and_sees_no_network() -> None:
    text = UNIT.read_text()
    allowed = re.findall(r"^DeviceAllow=(.*)$", text, re.MULTILINE)
    assert allowed == ["char-video4linux rw", "/dev/vcio rw"]
    service = settings("Service")
    assert (service["DevicePolicy"], service["PrivateNetwork"], service["IPAddressDeny"]) == ("closed", "yes", "any")
    for drop_in in ("i2c.conf", "picamera2.conf"):  # whoever has such a sensor chooses it
        assert not set(re.findall(r"^DeviceAllow=(.*)$", (ROOT / "systemd" / drop_in).read_text(), re.M)) & set(allowed)


def test_the_services_run_as_the_users_that_are_made() -> None:
    made = re.findall(r"^u (\S+)", (ROOT / "systemd/sysusers.conf").read_text(), re.MULTILINE)
    named = {user for unit in UNITS for user in re.findall(r"^User=(.*)$", unit.read_text(), re.MULTILINE)}
    assert named - set(made) == set()
    groups = set(re.findall(r"^[ug] (\S+)", (ROOT / "systemd/sysusers.conf").read_text(), re.MULTILINE))
    assert "i2c" in groups  # a drop-in that names a missing group would keep the service from starting


def test_udev_and_the_edid_unit_mean_the_same_device() -> None:
    rules, unit = (ROOT / "systemd/70-busi-kd.rules").read_text(), (ROOT / "systemd/busi-kd-edid.service").read_text()
    (link,) = set(re.findall(r'SYMLINK\+="([^"]+)"', rules))
    (wanted,) = set(re.findall(r'SYSTEMD_WANTS}\+="([^"]+)"', rules))
    assert wanted == "busi-kd-edid.service"
    command = ["systemd-escape", "--path", "--suffix=device", f"/dev/{link}"]
    escaped = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert f"BindsTo={escaped}\n" in unit
    assert f" device edid /dev/{link}\n" in unit


def test_every_way_to_fail_again_and_again_ends_in_failed() -> None:
    unit, service = settings("Unit"), settings("Service")
    start, stop = float(service["TimeoutStartSec"]), float(service["TimeoutStopSec"])
    watchdog, restart = float(service["WatchdogSec"]), float(service["RestartSec"])
    burst, interval = int(unit["StartLimitBurst"]), float(unit["StartLimitIntervalSec"])
    assert burst * (start + stop + restart) < interval
    assert burst * (watchdog + stop + restart) < interval
    assert service["Restart"] == "always"


def test_the_times_of_unit_and_daemon_fit_together() -> None:
    service = settings("Service")
    assert daemon.STALL_S < float(service["WatchdogSec"])  # the log says "stalled" before the watchdog bites
    assert pump.GRAB_TIMEOUT_S < float(service["WatchdogSec"]) / 4  # an absence is known often enough
    assert float(service["TimeoutStopSec"]) > 2.0  # what the daemon takes at most


def test_it_runs_with_the_configuration_file_alone(tmp_path: Path) -> None:
    service = settings("Service")
    program, *arguments = shlex.split(service["ExecStart"].replace("$BUSI_KD_ARGS", ""))
    assert (program, arguments[:2]) == ("/opt/busi-kd/bin/busi-kd", ["device", "run"])
    assert re.search(r"^Environment=BUSI_KD_ARGS=$", UNIT.read_text(), re.MULTILINE)
    parser = argparse.ArgumentParser()
    run.add_arguments(parser)
    args = parser.parse_args(arguments[2:])
    assert args.config is None
    assert read.FILE == Path("/etc") / service["ConfigurationDirectory"] / "config.toml"
    args.config = tmp_path / "config.toml"
    shutil.copy(ROOT / "systemd/config.toml", args.config)
    assert effective(args).settings == Settings()


def test_the_service_cannot_write_its_models_nor_the_keys() -> None:
    service = settings("Service")
    assert service["ReadOnlyPaths"] == "-%S/busi-kd/models -%S/busi-kd/app"
    assert installed.FOLDER == Path("/var/lib/busi-kd/models")
    assert service["ProtectSystem"] == "strict"  # /etc/busi-kd among the rest
    assert trust.MACHINE_KEYS.parent == Path("/etc") / service["ConfigurationDirectory"]


def test_the_service_has_a_folder_for_metrics() -> None:
    """With the mode that node_exporter, another user, can read."""
    service = settings("Service")
    assert (service["RuntimeDirectory"], service.get("RuntimeDirectoryMode")) == ("busi-kd", None)
    assert f"/run/{service['RuntimeDirectory']}/" in KEYS["log.metrics"].spec.about


def test_no_rule_asks_that_a_parent_is_not_something() -> None:
    """udev(7) looks for a parent for which it holds, and some parent is always of another kind: the rule for memory
    sticks so left every stick alone."""
    rules = sorted((ROOT / "systemd").rglob("*.rules"))
    assert len(rules) >= 2
    for file in rules:
        lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
        assert not [
            line for line in lines if re.search(r"\b(SUBSYSTEMS|KERNELS|DRIVERS|TAGS|ATTRS\{[^}]*\})\s*!=", line)
        ]
