"""The launcher: whatever stands in the folder of the slots, something whole is started, of root's alone."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import update_things
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from target import HERE
from update_things import PYTHON, Device

from device.update import slots

ONE, TWO = "slot-0.2.0-aaaaaaaaaaaa", "slot-0.3.0-bbbbbbbbbbbb"


def slot(machine: Device, name: str) -> Path:
    """A slot as an installation leaves it."""
    folder = update_things.program(machine.place.app / name, name.split("-")[1])
    (folder / "bin").mkdir()
    (folder / "bin/python").symlink_to(f"/usr/bin/python{PYTHON}")
    (folder / "whole").write_text("x\n")
    shutil.copy(machine.place.home / "version", folder / "base")
    return folder


@pytest.fixture
def two(machine: Device) -> Device:
    """0.3.0 in force, 0.2.0 before it."""
    slot(machine, ONE)
    slot(machine, TWO)
    (machine.place.app / "current").symlink_to(TWO)
    (machine.place.app / "previous").symlink_to(ONE)
    return machine


def test_the_script_is_sound() -> None:
    program = shutil.which("shellcheck")
    assert program, "shellcheck is missing; run: apt install shellcheck"
    done = subprocess.run([program, "--shell=dash", HERE / "launch"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_it_passes_words_on_as_they_are(two: Device) -> None:
    assert two.launch("device", "run", "a b", "*", "").stdout == "0.3.0 device run a b * \n"


@pytest.mark.parametrize(
    "damage",
    [
        lambda app: (app / TWO / "whole").unlink(),
        lambda app: (app / TWO / "bin/python").unlink(),
        lambda app: (app / TWO / "base").write_text("another package\n"),
        lambda app: (app / f"{TWO}.condemned").write_text(""),
        lambda app: (app / TWO).chmod(0o777),
        lambda app: shutil.rmtree(app / TWO),
        lambda app: (app / TWO).rename(app / "elsewhere") and (app / TWO).symlink_to("elsewhere"),
        lambda app: os.chown(app / TWO, 12345, 0) if os.geteuid() == 0 else (app / TWO).chmod(0o777),
    ],
)
def test_a_slot_that_is_no_good_gives_way_to_the_one_before(damage, two: Device) -> None:
    damage(two.place.app)
    assert two.runs() == "0.2.0"
    assert slots.in_force(two.place) == ONE


@pytest.mark.parametrize(
    "to", ["/", "..", ".", "", f"../app/{ONE}", f"{ONE}/", "slot-*", "slot-0.2.0", "-n", "current"]
)
def test_links_that_lead_elsewhere_are_not_followed(to: str, two: Device) -> None:
    for name in ("current", "previous"):
        (two.place.app / name).unlink()
        if to:
            (two.place.app / name).symlink_to(to)
    assert two.runs() == "0.1.0"


def test_without_a_link_or_a_folder_what_was_packaged_is_started(two: Device) -> None:
    (two.place.app / "current").unlink()
    assert two.runs() == "0.1.0"  # as after a roll-back to it
    (two.place.app / "current").write_text("no link")
    assert two.runs() == "0.1.0"
    shutil.rmtree(two.place.app)
    for words in ("--begin", "--ended", "--healthy"):
        assert two.launch(words, SERVICE_RESULT="exit-code").stdout == ""
    assert two.runs() == "0.1.0"
    two.place.app.parent.joinpath("real").mkdir()
    two.place.app.symlink_to("real")
    assert two.runs() == "0.1.0"


TARGETS = st.sampled_from([None, ONE, TWO, "slot-9.9.9-cccccccccccc", "..", "notes"])
STEPS = st.sampled_from(["begin", "healthy", "fail", "status 2", "stop", "rollback"])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(current=TARGETS, previous=TARGETS, steps=st.lists(STEPS, max_size=6))
def test_whatever_happens_something_whole_is_started(
    current: str | None, previous: str | None, steps: list[str], machine: Device
) -> None:
    """And the launcher and the commands agree on what it is."""
    shutil.rmtree(machine.place.app, ignore_errors=True)
    slot(machine, ONE)
    slot(machine, TWO)
    for name, to in (("current", current), ("previous", previous)):
        if to is not None:
            (machine.place.app / name).symlink_to(to)
    for step in steps:
        before, trial = machine.runs(), slots.status(machine.place)["running"]
        if step in ("begin", "healthy"):
            machine.launch(f"--{step}")
        elif step == "rollback":
            try:
                slots.rollback(machine.place)
            except slots.UserError:
                assert machine.runs() == before
        else:
            how = {"fail": ("signal", "9"), "status 2": ("exit-code", "2"), "stop": ("success", "0")}[step]
            said = machine.end(*how)
            assert ("ROLLED BACK" in said) == (machine.runs() != before)
            if trial["state"] != "trial" or step == "stop":
                assert machine.runs() == before
        assert machine.runs() in ("0.1.0", "0.2.0", "0.3.0")
        assert slots.status(machine.place)["running"]["version"].startswith(machine.runs())
