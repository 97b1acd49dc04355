"""systemd/install.sh: installed into a folder of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
from systemd_files import I2C, INSTALLED_UNIT, ROOT, UNIT, contents, install, settings, staged, with_i2c

from device.telemetry import gauge


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
