"""The page's units: systemd takes them, they expose little, and they fit the configuration and the daemon's unit."""

import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from page_served import ROOT

from device import cli
from device.config.settings import KEYS

UNITS = ROOT / "systemd"
NAMES = ("busi-kd-page.service", "busi-kd-admin.service", "busi-kd-admin.socket")


def section(name: str, of: str) -> dict[str, str]:
    """A section of a unit; of a key given twice, the last."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read(UNITS / name)
    return dict(unit[of])


def analyze(*words: object) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    assert program, "systemd-analyze is missing; run: apt install systemd"
    return subprocess.run([program, *map(str, words)], capture_output=True, text=True, check=False)


def test_systemd_finds_nothing_to_complain_about(tmp_path: Path) -> None:
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    shutil.copytree("/usr/lib/systemd/system", tmp_path / "usr/lib/systemd/system", symlinks=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    program = tmp_path / "opt/busi-kd/bin/busi-kd"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for name in (*NAMES, "busi-kd.service"):
        shutil.copy(UNITS / name, tmp_path / "etc/systemd/system")
    done = analyze("verify", f"--root={tmp_path}", *NAMES)
    # An unknown key is a mere warning with status 0, hence the text.
    assert (done.returncode, done.stderr + done.stdout) == (0, "")


@pytest.mark.parametrize(("name", "most"), [("busi-kd-page.service", 2.0), ("busi-kd-admin.service", 3.0)])
def test_they_are_exposed_little(name: str, most: float) -> None:
    done = analyze("security", "--offline=true", "--no-pager", UNITS / name)
    figure = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
    assert float(figure[1]) <= most, done.stdout
    said = (ROOT / "docs/page.md").read_text()
    assert f"`{name}` | {figure[1]}" in said


def test_what_faces_the_network_has_no_camera_and_what_is_root_has_no_network() -> None:
    page, admin = (section(name, "Service") for name in NAMES[:2])
    assert "AF_INET" in page["RestrictAddressFamilies"]
    assert (page["PrivateDevices"], page["CapabilityBoundingSet"], page["NoNewPrivileges"]) == ("yes", "", "yes")
    assert "DeviceAllow" not in page
    assert (admin["PrivateNetwork"], admin["RestrictAddressFamilies"]) == ("yes", "AF_UNIX")


def test_they_fit_the_settings_and_each_other() -> None:
    page, admin, daemon = (section(name, "Service") for name in (*NAMES[:2], "busi-kd.service"))
    assert section(NAMES[2], "Socket")["ListenSequentialPacket"] == str(KEYS["page.admin"].default)
    assert KEYS["page.socket"].default == Path("/run") / daemon["RuntimeDirectory"] / "live.sock"
    assert page["User"] == "busi-kd"  # that of busi-kd.service, in whose folder both work
    assert daemon.get("User", "busi-kd") == page["User"]
    assert page["StateDirectory"] == daemon["StateDirectory"] == KEYS["page.folder"].default.parent.name
    for unit, command in ((page, "page"), (admin, "admin")):
        words = shlex.split(unit["ExecStart"])
        assert words[:3] == ["/opt/busi-kd/bin/busi-kd", "device", command]
        assert command in cli.COMMANDS
    assert KEYS["page.enabled"].default is False
