"""The units, the launcher and systemd together, in a booted Debian: what is on trial stays, or is left by itself.

The programs are a few lines that say READY=1 and their version, or fail in one way each. The units are the package's,
with the minute and the limit of a start made short. Needs root, mmdebstrap and systemd-nspawn, as tests/package does.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import roots
import staging
import update_things
from target import ARCHES, HERE, ROOT, SUITES, Target
from update_things import update

from device.update import slots

pytestmark = pytest.mark.slow
WITHIN_S = 300.0
PROGRAM = """
import os, socket, sys, time
def say(what):
    address = os.environ["NOTIFY_SOCKET"]
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(what.encode(), address.replace("@", chr(0)))
def live(seconds=1e9):
    say("READY=1\\nSTATUS={version}")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        say("WATCHDOG=1")
        time.sleep(0.2)
    sys.exit(1)
if sys.argv[1:3] == ["device", "run"]:
    {what}
"""
SLOTS = {
    "0.2.0": "live()",
    "0.3.1": "sys.exit(1)",
    "0.3.2": "sys.exit(2)",
    "0.3.3": "time.sleep(600)",
    "0.3.4": "live(1)",
    "0.4.0": "live()",
}


def program(version: str, what: str) -> dict[str, bytes]:
    path = f"lib/python{update_things.PYTHON}/site-packages/device/main.py"
    return {path: PROGRAM.format(version=version, what=what).encode()}


@dataclass(frozen=True)
class Guest:
    """What update_guest.sh left behind."""

    out: Path

    def __call__(self, name: str) -> str:
        return (self.out / name).read_text()


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory, maker_key: Path) -> Guest:
    """A Debian 12 with every version in its place, booted."""
    folder = tmp_path_factory.mktemp("boot")
    target = Target(SUITES["bookworm"], ARCHES["amd64"])
    assert target.suite.python == update_things.PYTHON, "the guest's Python compiles what the host's has unpacked"
    root, host = roots.unpacked(target, folder / "root"), folder / "host"
    machine = update_things.device(folder / "machine", maker_key)
    app = root / "var/lib/busi-kd/app"
    for version, what in SLOTS.items():
        file = update(folder, version, maker_key, more=program(version, what))
        with open(file, "rb") as stream:
            slots.install(stream, machine.place, machine.keys, machine.machine())
        slot = slots.link(machine.place, slots.CURRENT)
        shutil.copytree(machine.place.app / slot, app / slot, symlinks=True)
    home = root / "usr/lib/busi-kd"
    shutil.copytree(machine.place.home, home, symlinks=True)
    shutil.copy(HERE / "launch", home / "launch")
    site = home / f"lib/python{target.suite.python}/site-packages"
    (site / "device/main.py").write_bytes(*program("0.1.0", "live()").values())
    (root / "usr/bin/busi-kd").symlink_to("../lib/busi-kd/launch")
    install(root)
    (host / "out").mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("update_guest.sh"), host / "guest.sh")
    roots.boot(root, host, WITHIN_S)
    return Guest(host / "out")


def install(root: Path) -> None:
    """The package's units, with short times."""
    system = root / "etc/systemd/system"
    for name in ("busi-kd.service", "busi-kd-trial.service"):
        (system / name).write_text(staging.packaged((ROOT / "systemd" / name).read_text()))
    for unit, name, text in (
        ("busi-kd", "50-updates", (ROOT / "systemd/updates.conf").read_text()),
        ("busi-kd", "60-short", "[Service]\nTimeoutStartSec=4\n[Unit]\nStartLimitBurst=50\n"),
        ("busi-kd-trial", "60-short", "[Service]\nExecStartPre=\nExecStartPre=/usr/bin/sleep 4\n"),
    ):
        (system / f"{unit}.service.d").mkdir(exist_ok=True)
        (system / f"{unit}.service.d/{name}.conf").write_text(text)
    (system / "multi-user.target.wants").mkdir(exist_ok=True)
    (system / "multi-user.target.wants/busi-kd.service").symlink_to("../busi-kd.service")
    for name, where in (("sysusers.conf", "usr/lib/sysusers.d"), ("tmpfiles.conf", "usr/lib/tmpfiles.d")):
        shutil.copy(ROOT / "systemd" / name, root / where / "busi-kd.conf")
    (root / "etc/busi-kd").mkdir()
    os.chmod(root / "usr/lib/busi-kd/launch", 0o755)


def test_a_version_that_is_well_stays(guest: Guest) -> None:
    assert guest("packaged") == "StatusText=0.1.0 ActiveState=active "
    assert guest("healthy") == "StatusText=0.2.0 ActiveState=active "
    assert "UPDATE HEALTHY: slot-0.2.0-" in guest("journal")


@pytest.mark.parametrize(
    ("way", "version", "why"),
    [
        ("crash", "0.3.1", "exit-code, 1"),
        ("two", "0.3.2", "exit-code, 2"),
        ("hang", "0.3.3", "timeout, "),
        ("late", "0.3.4", "exit-code, 1"),
    ],
)
def test_a_version_that_fails_is_left_for_the_one_before(way: str, version: str, why: str, guest: Guest) -> None:
    assert guest(way) == "StatusText=0.2.0 ActiveState=active "
    said = [line for line in guest("journal").splitlines() if f"UPDATE ROLLED BACK: slot-{version}-" in line]
    assert len(said) == 1
    assert f"ended before it was healthy ({why}" in said[0]


def test_a_restart_on_trial_begins_its_minute_again(guest: Guest) -> None:
    assert ".healthy" not in "".join(name for name in guest("early").splitlines() if "0.4.0" in name)
    assert guest("again") == "StatusText=0.4.0 ActiveState=active "
    names = guest("slots").split()
    assert [name for name in names if "0.4.0" in name and name.endswith((".healthy", ".condemned"))] == [
        f"{next(name for name in names if name.startswith('slot-0.4.0'))}.healthy"
    ]


def test_the_services_user_cannot_change_what_is_started(guest: Guest) -> None:
    assert guest("user").count("cannot") == 2, guest("user")
    assert "x" not in guest("slots").split()
