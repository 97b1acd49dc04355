"""The unit and its installer: checked by systemd's own tools, and installed into a folder of its own."""

import argparse
import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from device import daemon, installed, run, trust
from device.capture import pump
from device.config import read
from device.config.options import effective
from device.config.settings import KEYS, Settings
from device.telemetry import gauge

ROOT = Path(__file__).parents[1]
UNIT = ROOT / "systemd" / "busi-kd.service"
UNITS = sorted(path for path in UNIT.parent.iterdir() if path.suffix in (".service", ".socket", ".timer"))
INSTALL = ROOT / "systemd" / "install.sh"
INSTALLED_UNIT = "etc/systemd/system/busi-kd.service"
I2C = f"{INSTALLED_UNIT}.d/i2c.conf"


def install(*options: object, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [INSTALL, *map(str, options)], env={**os.environ, **more}, capture_output=True, text=True, check=False
    )


def staged(root: Path, *options: object, **more: str) -> subprocess.CompletedProcess[str]:
    root.mkdir(exist_ok=True)
    return install("--root", root, "--no-venv", *options, **more)


def analyze(*options: object) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    assert program, "systemd-analyze is missing; run: apt install systemd"
    return subprocess.run([program, *map(str, options)], capture_output=True, text=True, check=False)


def settings(section: str) -> dict[str, str]:
    """A section of the unit; of a key given twice, the last."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read(UNIT)
    return dict(unit[section])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


# --- the unit


def with_i2c(root: Path) -> None:
    """What a machine has whose I2C is switched on."""
    for name, text in (("dev/i2c-1", ""), ("etc/group", "root:x:0:\ni2c:x:998:pi\n")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


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


# --- the installer


def checkout_of(folder: Path, model: Path | None, keys: Path | None = None) -> Path:
    """A checkout's copy that ships `model`, or none, and trusts `keys`; returns its install.sh."""
    folder.mkdir()
    for name in ("pyproject.toml", "README.md", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    for name in ("device", "train", "convert", "systemd"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "models"))
    if model is not None:
        shutil.copytree(model, folder / "device/models/stand-in")
    if keys is not None:
        shutil.copy(keys / "maker.pub", folder / "device/keys")
    return folder / "systemd/install.sh"


def test_a_second_installation_keeps_the_configuration_and_replaces_the_rest(
    trusted_keys: Path, tmp_path: Path
) -> None:
    root, key = tmp_path / "root", trusted_keys / "maker.pub"
    done = staged(root)
    assert done.returncode == 0
    assert "model: the one that ships with busi-kd" in done.stdout
    first = contents(root)
    assert first[INSTALLED_UNIT] == UNIT.read_bytes()
    assert first["etc/busi-kd/config.toml"] == (ROOT / "systemd/config.toml").read_bytes()
    assert "etc/busi-kd/daemon.env" not in first
    assert list((root / "etc/busi-kd/trusted-keys").iterdir()) == []

    (root / "etc/busi-kd/config.toml").write_text('[source]\nkind = "v4l2"\n')
    (root / INSTALLED_UNIT).write_text("old")
    done = staged(root, "--key", key)
    assert done.returncode == 0
    assert f"kept: {root}/etc/busi-kd/config.toml" in done.stdout
    second = contents(root)
    assert second["etc/busi-kd/config.toml"] == b'[source]\nkind = "v4l2"\n'
    assert second["etc/busi-kd/trusted-keys/maker.pub"] == key.read_bytes()
    assert second[INSTALLED_UNIT] == UNIT.read_bytes()
    assert set(second) - set(first) == {"etc/busi-kd/trusted-keys/maker.pub"}  # nothing half-done is left lying about
    assert staged(root).returncode == 0
    assert contents(root) == second


def test_the_gauges_bus_is_opened_where_it_is_there_and_its_group_is(tmp_path: Path) -> None:
    """A unit that names a missing group does not start, so that each installation looks anew."""
    root = tmp_path / "root"
    with_i2c(root)
    own = root / f"{INSTALLED_UNIT}.d/override.conf"
    own.parent.mkdir(parents=True)
    own.write_text("[Service]\nNice=5\n")
    assert I2C in staged(root).stdout
    assert (root / I2C).read_bytes() == (ROOT / "systemd/i2c.conf").read_bytes()
    assert gauge.BUS in (root / I2C).read_text()
    (root / "etc/group").write_text("root:x:0:\nmyi2c:x:998:\n")
    assert I2C not in staged(root).stdout
    assert not (root / I2C).exists()
    with_i2c(root)
    assert staged(root).returncode == 0
    assert (root / I2C).exists()
    assert install("--root", root, "--uninstall").returncode == 0
    assert list(own.parent.iterdir()) == [own]
    own.unlink()
    assert staged(root).returncode == 0
    assert install("--root", root, "--uninstall").returncode == 0
    assert not own.parent.exists(), "nothing of ours is left"


def test_the_service_has_a_folder_for_metrics() -> None:
    """With the mode that node_exporter, another user, can read."""
    service = settings("Service")
    assert (service["RuntimeDirectory"], service.get("RuntimeDirectoryMode")) == ("busi-kd", None)
    assert f"/run/{service['RuntimeDirectory']}/" in KEYS["log.metrics"].spec.about


def test_options_of_an_older_installation_go_on_working_unless_they_are_those_that_shipped(tmp_path: Path) -> None:
    root = tmp_path / "root"
    old = root / "etc/busi-kd/daemon.env"
    old.parent.mkdir(parents=True)
    old.write_text('BUSI_KD_ARGS="--bundle /opt/busi-kd/share/bundle"\n')
    done = staged(root)
    assert done.returncode == 0, done.stderr
    assert f"kept: {old}; its options win over {root}/etc/busi-kd/config.toml." in done.stdout
    assert "note: " in done.stdout  # what an earlier version wrote there does not work any more
    assert old.read_text() == 'BUSI_KD_ARGS="--bundle /opt/busi-kd/share/bundle"\n'
    assert settings("Service")["EnvironmentFile"] == "-/etc/busi-kd/daemon.env"

    shipped = '# Options of the busi-kd daemon\n\nBUSI_KD_ARGS="--source phantom"\n'  # it would win over the file
    old.write_text(shipped)
    done = staged(root)
    assert f"moved: {old} to {old}.old" in done.stdout
    assert not old.exists()
    assert old.with_name("daemon.env.old").read_text() == shipped
    assert "daemon.env" not in staged(root).stdout


def test_removing_leaves_what_belongs_to_the_user(trusted_keys: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    assert staged(root, "--key", trusted_keys / "maker.pub").returncode == 0
    kept = {"etc/busi-kd/config.toml", "etc/busi-kd/trusted-keys/maker.pub"}
    for name in ("verdicts.csv", "models/bundle-0/bundle.json"):
        record = root / "var/lib/busi-kd" / name
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text("rows")
        kept.add(f"var/lib/busi-kd/{name}")
    for _ in range(2):  # the second time there is nothing left to remove
        done = install("--root", root, "--uninstall")
        assert done.returncode == 0, done.stderr
        assert set(contents(root)) == kept


def test_the_package_is_installed_and_checks_the_bundle(bundle_dir: Path, trusted_keys: Path, tmp_path: Path) -> None:
    """A real environment, a real wheel; what the package needs is lent by the environment of this test."""
    source, lent, root = tmp_path / "source", tmp_path / "lent", tmp_path / "root"
    checkout_of(source, bundle_dir / "int8-full", trusted_keys)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", tmp_path, source], check=True)
    (wheel,) = tmp_path.glob("busi_kd-*.whl")
    checkout_of(tmp_path / "bare", None)
    subprocess.run([*build, "--wheel-dir", tmp_path / "bare", tmp_path / "bare"], check=True)
    (bare,) = (tmp_path / "bare").glob("busi_kd-*.whl")
    lent.mkdir()
    for entry in (Path(os.__file__).parent, *map(Path, sys.path)):
        if entry.name == "site-packages" and entry.is_dir():
            for package in entry.iterdir():
                if not package.name.startswith(("busi_kd", "__editable__", "pip", "setuptools", "device")):
                    (lent / package.name).symlink_to(package)
    root.mkdir()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # the lent packages fit this Python only
    alone = {"PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1", "PYTHONPATH": str(lent), "PATH": path}
    options = ("--root", root, "--any-machine", "--wheel", wheel)

    done = install("--root", root, "--any-machine", "--wheel", bare, **alone)  # whatever the checkout holds
    assert (done.returncode, list(root.iterdir())) == (1, [])
    assert done.stderr.startswith("install.sh: no model ships")

    environment = {"env": {**os.environ, **alone}, "cwd": "/", "capture_output": True, "text": True, "check": False}
    done = install(*options, **alone)
    assert done.returncode == 0, done.stderr
    assert "model: the one that ships with busi-kd" in done.stdout
    program, models = root / "opt/busi-kd/bin/busi-kd", root / "var/lib/busi-kd/models"
    assert not models.exists()
    done = subprocess.run([program, "device", "models"], **environment)
    assert (done.returncode, done.stdout.startswith("tiny: int8-full, ")) == (0, True), done.stderr

    float32, key = bundle_dir / "float32", ("--key", trusted_keys / "maker.pub")
    done = install(*options, "--bundle", float32, **alone)  # its key is not in this root's folder
    assert done.returncode == 1
    assert "no trusted keys" in done.stderr
    assert "was refused" in done.stderr.splitlines()[-1]
    assert not models.exists()
    done = install(*options, "--bundle", float32, *key, **alone)
    assert done.returncode == 0, done.stderr
    assert "installed: tiny: float32" in done.stdout
    before = contents(models / "current")
    assert before == contents(float32)
    assert (models / "current").stat().st_mode & 0o777 == 0o755  # a passing user must read it

    broken = tmp_path / "broken"
    shutil.copytree(bundle_dir / "int8-full", broken)
    (broken / "model.tflite").write_bytes(b"altered")
    done = install(*options, "--bundle", broken, **alone)
    assert done.returncode == 1
    assert "wrong hash" in done.stderr
    assert contents(models / "current") == before

    pictures = tmp_path / "pictures"
    pictures.mkdir()
    cv2.imwrite(str(pictures / "dark.png"), np.full((48, 64), 40, np.uint8))
    run = ["device", "run", "--models", models, "--source", "folder", "--path", pictures, "--fps", "0"]
    done = subprocess.run([program, *run], **environment)
    assert done.returncode == 0, done.stderr
    assert "variant=float32 synthetic=yes from=installed signed_by=maker.pub" in done.stdout
    assert "normal=1" in done.stdout

    program.unlink()
    (root / "opt/busi-kd/bin/python").unlink()  # as a Debian upgrade leaves it
    (root / "opt/busi-kd/bin/python").symlink_to("/usr/bin/python3.0")
    assert install(*options, **alone).returncode == 0
    assert program.exists()
    assert contents(models / "current") == before  # an update keeps it


def fake(folder: Path, name: str, body: str) -> str:
    """A program that stands before the real one; returns the PATH to run with."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/bash\n{body}\n")
    (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_each_failure_is_one_sentence_and_changes_nothing(bundle_dir: Path, tmp_path: Path) -> None:
    root, bundle = tmp_path / "root", bundle_dir / "float32"
    root.mkdir()
    packaged = tmp_path / "packaged"
    (packaged / "usr/lib/busi-kd/bin").mkdir(parents=True)
    (packaged / "usr/lib/busi-kd/bin/busi-kd").touch()
    at_root = ("--root", root)
    old = fake(tmp_path / "old", "python3", '[ "$1" = --version ] && echo Python 3.9.2 && exit; exit 1')
    no_venv = fake(tmp_path / "no_venv", "python3", '[[ "$2" != *ensurepip* ]]')
    arm32 = fake(tmp_path / "arm32", "uname", "echo armv7l")
    userland32 = fake(tmp_path / "userland32", "uname", "echo aarch64")
    fake(tmp_path / "userland32", "python3", '[[ "$2" = *calcsize* ]] && echo 32; exit 0')
    at_home = fake(tmp_path / "at_home", "python3", "echo /home/pi/.pyenv")
    fake(tmp_path / "at_home", "id", "echo 0")
    nobody = fake(tmp_path / "nobody", "id", "echo 1000")
    for options, path, why in (
        (("--bundel", bundle), None, "unknown option '--bundel'"),
        (("--root", packaged, "--no-venv"), None, "apt remove busi-kd"),
        (("--bundle",), None, "--bundle needs a value"),
        (("--root", tmp_path / "absent", "--bundle", bundle), None, "absent: no such folder"),
        ((*at_root, "--no-venv", "--bundle", bundle), None, "nothing could check it"),
        ((*at_root, "--any-machine", "--bundle", tmp_path), None, "is no model bundle"),
        ((*at_root, "--no-venv", "--key", tmp_path / "absent.pub"), None, "no such file"),
        ((*at_root, "--any-machine", "--wheel", "/absent.whl", "--bundle", bundle), None, "no such file"),
        ((*at_root, "--bundle", bundle), old, "Python 3.9.2 is too old"),
        ((*at_root, "--bundle", bundle), no_venv, "apt install python3-venv"),
        ((*at_root, "--bundle", bundle), arm32, "this is armv7l"),
        ((*at_root, "--bundle", bundle), userland32, "aarch64 with a 32-bit system"),
        (("--any-machine", "--bundle", "/absent"), at_home, "in /home/pi/.pyenv, which the service cannot see"),
        (("--bundle", bundle), nobody, "needs root"),
        (("--uninstall",), nobody, "needs root"),
    ):
        done = install(*options, **({} if path is None else {"PATH": path}))
        assert done.returncode == 1, options
        (sentence,) = done.stderr.splitlines()
        assert sentence.startswith("install.sh: ")
        assert why in sentence
        assert list(root.iterdir()) == []
