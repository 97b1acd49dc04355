"""The package installed on a fresh machine, and started, as a person would do it."""

from dataclasses import dataclass
from pathlib import Path

import booted
import service
from booted import Guest
from debian import Debian
from goods import Goods


@dataclass(frozen=True)
class Installed:
    """disk: of the machine, switched off. said: what the installation, `systemctl status` and dpkg said. began, ready:
    seconds of the guest's clock at which busi-kd was started by hand and said its first verdict."""

    disk: Path
    said: dict[str, str]
    began: float
    ready: float


def install(linux: Debian, goods: Goods, disk: Path) -> Installed:
    """Switch a fresh machine on, install, start, look at it, and switch it off. Its key folder then has goods' key."""
    package = goods.package()
    guest = Guest(linux, booted.new_disk(linux, disk), goods.share)
    said = {"fresh": guest.run("busi-kd --version").output}
    said["install"] = guest.well(f"apt-get install --yes {package}", 900)
    guest.well("cp /host/keys/maker.pub /etc/busi-kd/trusted-keys/")
    service.configure(guest, service.FILES)
    began, ready = booted.seconds(guest)
    service.judging(guest)
    said["status"] = guest.well("systemctl status --no-pager --full busi-kd")
    said["journal"] = guest.well(service.JOURNAL)
    said["enabled"] = guest.well("systemctl is-enabled busi-kd busi-kd-health.timer")
    said["dpkg"] = guest.well("dpkg --audit; dpkg --print-architecture")
    return Installed(guest.off(), said, began, ready)
