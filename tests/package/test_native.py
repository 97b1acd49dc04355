"""The package installed, started, upgraded, removed and purged in a booted Debian, as a person would do it.

tests/package/guest.sh does it and judges nothing; each test here looks at what one part of it left behind. Needs root,
mmdebstrap and systemd-nspawn; what is missing is an error with the command that installs it, not a skip.
"""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import roots
from packages import NEXT, Packages, later_checkout
from target import ARCHES, SUITES, Target

from device import RESEARCH_NOTICE, __version__
from device.errors import UserError

HERE = Path(__file__).parent
WITHIN_S = 420.0
NOT_A_REAL_UNIT = (
    "[Service]\nExecStart=/opt/busi-kd/bin/busi-kd device run $BUSI_KD_ARGS\n[Install]\nWantedBy=multi-user.target\n"
)
OWN_CONFIG = '[judgement]\nhalf_life = "1 s"\n'
# As systemd/install.sh left it while the service was a passing user.
BEFORE = f"""\
set -e
mkdir -p /etc/busi-kd/trusted-keys /etc/systemd/system/multi-user.target.wants
printf '%s' '{NOT_A_REAL_UNIT}' >/etc/systemd/system/busi-kd.service
ln -s /etc/systemd/system/busi-kd.service /etc/systemd/system/multi-user.target.wants/busi-kd.service
printf '%s' '{OWN_CONFIG}' >/etc/busi-kd/config.toml
mkdir -p -m 700 /var/lib/private/busi-kd/studies /var/lib/private/busi-kd/models
echo picture >/var/lib/private/busi-kd/studies/one.png
chown -R 61234:61234 /var/lib/private/busi-kd
ln -s private/busi-kd /var/lib/busi-kd
systemctl daemon-reload
"""

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Told:
    """What the steps of guest.sh left: their words and their status."""

    folder: Path
    target: Target

    def __call__(self, step: str) -> str:
        return (self.folder / step).read_text(errors="replace")

    def status(self, step: str) -> int:
        return int((self.folder / f"{step}.status").read_text())

    def well(self, step: str) -> str:
        """The words of a step that must have ended with 0."""
        assert self.status(step) == 0, self(step)
        return self(step)

    def properties(self, step: str) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.well(step).splitlines())


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def told(request: pytest.FixtureRequest, packages: Packages, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """One boot of each Debian, with everything that guest.sh does."""
    if os.geteuid() != 0:
        pytest.fail("a Debian can only be booted by root; run this as root.", pytrace=False)
    folder, target = tmp_path_factory.mktemp(request.param), Target(SUITES[request.param], ARCHES["amd64"])
    host = folder / "host"
    try:
        packages.build(target, host / "second", later_checkout(folder / "later"))
        (host / "first").mkdir()
        os.link(packages.of(target), host / "first" / packages.of(target).name)
        root = roots.unpacked(target, folder / "root")
        (host / "out").mkdir()
        for name in ("guest.sh", "imports.py"):
            shutil.copy(HERE / name, host)
        if target.suite.name == "bookworm":  # install.sh with a passing user was never for trixie
            (host / "before-package.sh").write_text(BEFORE)
            (root / "var/lib/private").mkdir(mode=0o700, exist_ok=True)
        console = roots.boot(root, host, WITHIN_S)
    except UserError as error:
        pytest.fail(str(error), pytrace=False)
    shutil.rmtree(root)
    told = Told(host / "out", target)
    done = sorted((host / "out").glob("*.status"), key=lambda path: path.stat().st_mtime_ns)
    if not (host / "out/purge-state.status").is_file():
        last = done[-1].stem if done else "none"
        pytest.fail(f"it ended after the step {last}: {told(last) if done else console[-2000:]}", pytrace=False)
    return told


def test_it_installs_starts_and_judges_phantoms(told: Told) -> None:
    told.well("install")
    assert told.well("start") == ""
    now = told.properties("properties")
    assert (now["ActiveState"], now["User"], now["UnitFileState"]) == ("active", "busi-kd", "enabled")
    assert now["FragmentPath"].endswith("lib/systemd/system/busi-kd.service")
    assert "signal ok" in now["StatusText"]
    journal = told.well("journal")
    assert re.search(
        r"^fps=\S+ .*judged=[1-9].* shown=(benign|malignant|normal|abstain) .*signal=ok .*use=research-only$",
        journal,
        re.M,
    )
    assert "from=shipped signed_by=busi-release.pub" in journal
    assert RESEARCH_NOTICE in journal
    assert told.well("version").strip() == __version__
    assert told.well("verify") == ""  # no file of the package was altered
    assert int(told.well("compiled")) > 500


def test_the_stripped_wheels_are_whole_enough(told: Told) -> None:
    assert f"Python {told.target.suite.python}" in told.well("imports")
    assert told.status("no-train") == 2
    assert "not part of this installation" in told("no-train")
    doctor = told("doctor")
    for line in ("ok       packages", "ok       configuration", "ok       model", "ok       service"):
        assert line in doctor, doctor
    assert "through XNNPACK" in " ".join(doctor.split())


def test_the_installed_units_are_right_and_little_exposed(told: Told) -> None:
    assert told.well("units") == ""
    figure = re.search(r"exposure level for busi-kd.service: ([0-9.]+)", told.well("security"))
    assert float(figure[1]) <= 1.3
    enabled = {line.split()[0]: line.split()[1] for line in told.well("enabled").splitlines()}
    assert enabled["busi-kd.service"] == enabled["busi-kd-health.timer"] == "enabled"
    assert enabled["busi-kd-kiosk.service"] == "disabled"
    assert "busi-kd-health.timer" in told.well("timer")
    assert "bridge.device" in told.well("edid-unit")
    assert {line.split(":")[0] for line in told.well("users").splitlines()} == {"busi-kd", "busi-kd-kiosk"}
    assert "RuntimeWatchdogUSec" in told.well("manager")
    if told.target.suite.name == "trixie":  # Debian 12's udevadm cannot check a file of rules
        told.well("udev")


def test_a_service_that_was_given_up_is_started_again_and_a_stopped_one_is_left_alone(told: Told) -> None:
    assert "busi-kd.service runs." in told.well("health")
    assert told.properties("failed-properties")["ActiveState"] == "failed"
    assert told.status("failed-health") == 3
    told.well("mended")
    assert "was started" in told.well("mended-journal")
    assert told.properties("mended-properties")["ActiveState"] == "active"
    told.well("stopped-health")
    assert told.properties("stopped-properties")["ActiveState"] == "inactive"


def test_an_upgrade_keeps_settings_studies_and_the_installed_model(told: Told) -> None:
    told.well("config-check")
    told.well("model-install")
    assert "sweep saved" in told("study-journal")
    told.well("upgrade")
    assert told.well("upgrade-version").strip() == NEXT
    assert told.properties("upgrade-properties")["ActiveState"] == "active"
    assert told.well("upgrade-config") == told("config.toml")
    assert "config.toml.dpkg-dist" in told.well("upgrade-new")  # the new one, to be looked at
    assert re.search(r"^1 studies", told.well("upgrade-studies"), re.MULTILINE)
    assert re.search(r"^current: ", told.well("upgrade-models"), re.MULTILINE)
    assert told("upgrade-verify").split() in ([], ["??5??????", "c", "/etc/busi-kd/config.toml"])


def test_what_a_person_has_disabled_stays_so(told: Told) -> None:
    now = told.properties("disabled-properties")
    assert (now["UnitFileState"], now["ActiveState"]) == ("disabled", "inactive")


def test_a_removal_keeps_settings_studies_and_models(told: Told) -> None:
    assert "kept are /etc/busi-kd and /var/lib/busi-kd" in told.well("remove")
    assert told.status("remove-left") != 0
    assert not [line for line in told("remove-left").splitlines() if "cannot access" not in line], told("remove-left")
    assert told.well("remove-config") == told("config.toml")
    owners = told.well("remove-owners")
    assert re.search(r"^busi-kd:busi-kd \d+ studies/studies\.\w+$|^busi-kd:busi-kd \d+ studies/.+\.png$", owners, re.M)
    assert re.search(r"^root:root 755 models/bundle-", owners, re.MULTILINE)


def test_a_new_installation_goes_on_where_the_old_one_ended(told: Told) -> None:
    told.well("reinstall")
    now = told.properties("reinstall-properties")
    assert (now["ActiveState"], now["UnitFileState"]) == ("active", "enabled")
    assert told.well("reinstall-config") == told("config.toml")
    assert re.search(r"^1 studies", told.well("reinstall-studies"), re.MULTILINE)


def test_a_purge_leaves_nothing(told: Told) -> None:
    assert "deleting the studies" in told.well("purge")
    before, after = (set(told.well(step).splitlines()) for step in ("files-before", "files-after"))
    assert after - before == set()
    assert before - after == set()
    assert not re.search(r"^[ir][ic] ", told("purge-state"), re.MULTILINE), told("purge-state")


def test_an_installation_by_install_sh_is_taken_over(told: Told) -> None:
    if told.target.suite.name != "bookworm":
        return
    said = told.well("legacy-install")
    assert "took over from systemd/install.sh" in said
    now = told.properties("legacy-properties")
    assert (now["ActiveState"], now["UnitFileState"], now["User"]) == ("active", "enabled", "busi-kd")
    assert now["FragmentPath"].endswith("lib/systemd/system/busi-kd.service")
    assert not now["FragmentPath"].startswith("/etc")
    assert told.well("legacy-config") == OWN_CONFIG
    owners = told.well("legacy-owners").splitlines()
    assert any(re.fullmatch(r"busi-kd:busi-kd \d+ studies/one\.png", line) for line in owners), owners
    assert any(re.fullmatch(r"root:root \d+ models", line) for line in owners), owners
    told.well("legacy-purge")
    added = set(told.well("files-before").splitlines()) - set(told.well("files-first").splitlines())
    assert added == set()
