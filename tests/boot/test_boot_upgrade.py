"""A newer package, an update beside the package, and back."""

import json
import re

import pytest
import service
from booted import Guest
from goods import NEXT, UPDATES, Goods

from device import __version__

pytestmark = pytest.mark.timeout(1800)


def running_version(guest: Guest) -> str:
    """The version that the daemon named when it began last, and judges with."""
    service.judging(guest)
    return re.findall(r"^busi-kd (\S+)\. ", guest.well(service.JOURNAL), re.MULTILINE)[-1]


def test_an_update_of_the_application_runs_and_is_rolled_back(guest: Guest, goods: Goods) -> None:
    service.configure(guest, service.FILES)
    assert running_version(guest) == __version__
    said = guest.well(f"busi-kd device update install {goods.update(UPDATES[0])}", 600)
    assert f"installed, on trial: busi-kd {UPDATES[0]}" in said
    guest.well("systemctl restart busi-kd")
    assert running_version(guest) == UPDATES[0]
    assert re.search(rf"^running: {UPDATES[0]}, slot-\S+, on trial$", guest.well("busi-kd device update status"), re.M)
    guest.well("busi-kd device update rollback && systemctl restart busi-kd")
    assert running_version(guest) == __version__


def test_a_newer_package_keeps_settings_and_studies(guest: Guest, goods: Goods) -> None:
    service.configure(guest, service.FILES)
    saved, *_ = guest.stream("python3 -Bu /host/saving.py | head -1")
    assert json.loads(saved)["ok"]
    before = guest.well("cat /etc/busi-kd/config.toml")
    guest.well(f"apt-get install --yes -o Dpkg::Options::=--force-confold {goods.package(later=True)}", 900)
    assert running_version(guest) == NEXT
    assert guest.well("cat /etc/busi-kd/config.toml") == before
    assert re.search(r"^\d+ pictures and \d+ audit entries looked at; faults: 0\.$",
                     guest.well("busi-kd device studies verify"), re.MULTILINE)  # fmt: skip
    assert guest.well("systemctl --failed --no-legend") == ""
