"""The package on a machine that was just switched on: installed, started, and started by itself with the next power."""

import re
from pathlib import Path

import debian
import pytest
import service
from booted import Guest
from installing import Installed

from device import RESEARCH_NOTICE, __version__
from device.errors import UserError
from device.shipped import DEFAULT

# Emulated time is counted in instructions (booted.CLOCK): these hold or do not, however busy this machine is.
READY_S, FIRST_VERDICT_S = 30.0, 60.0
pytestmark = pytest.mark.timeout(3000)  # with the making of the machine, on a busy one


def test_a_machine_that_cannot_emulate_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "BINFMT", tmp_path / "not" / "there")
    with pytest.raises(UserError, match=f"does not run foreign programs .*set {debian.OFF}=1"):
        with debian.foreign_programs(tmp_path / "qemu"):
            pytest.fail("programs for Arm would have been run")
    monkeypatch.setattr(debian.sys, "platform", "darwin")
    with pytest.raises(UserError, match=f"on x86-64 Linux only; set {debian.OFF}=1"):
        debian.prepare(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_it_is_installed_and_started_by_hand(installed: Installed) -> None:
    assert "not found" in installed.said["fresh"]
    assert f"Setting up busi-kd ({__version__}~deb12)" in installed.said["install"]
    assert installed.said["dpkg"].split() == ["arm64"]  # and nothing is half installed
    assert installed.said["enabled"].split() == ["enabled", "enabled"]
    status, journal = installed.said["status"], installed.said["journal"]
    assert re.search(r"Active: active \(running\)", status)
    assert re.search(rf'Status: "signal ok, \d+ frames judged in the last second\. Model {DEFAULT} \(shipped\)', status)
    assert RESEARCH_NOTICE in journal
    assert "from=shipped signed_by=busi-release.pub" in journal
    assert re.search(service.JUDGED, journal, re.MULTILINE)
    took = installed.ready - installed.began
    print(f"first verdict {took:.1f} s of emulated time after systemctl start")
    assert took < READY_S


def test_it_starts_by_itself_with_the_power(guest: Guest) -> None:
    began, ready = guest.first
    status = guest.well("systemctl status --no-pager --full busi-kd")
    assert re.search(r"Active: active \(running\)", status)
    assert guest.well("systemctl --failed --no-legend") == ""
    said = guest.well("cat /proc/version; systemd-analyze time; systemd-analyze blame --no-pager | head -5")
    assert "Debian" in said
    print(f"started {began:.1f} s and first verdict {ready:.1f} s of emulated time after power-on")
    assert ready < FIRST_VERDICT_S
    print(said)


def test_metrics_are_told_as_prometheus_reads_them(guest: Guest) -> None:
    said = service.state_of(guest, "ok")
    names = {name.partition("{")[0] for name in said.metrics}
    assert {"busi_kd_info", "busi_kd_signal", "busi_kd_frames_judged_total", "busi_kd_stage_seconds"} <= names
    assert said.metrics["busi_kd_frames_judged_total"] > 0
    (info,) = (name for name in said.metrics if name.startswith("busi_kd_info"))
    assert f'version="{__version__}"' in info
    assert 'use="research-only"' in info
