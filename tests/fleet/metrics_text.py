"""Metrics as the daemon writes them: made by device.metrics of everything it can tell."""

from pathlib import Path

import numpy as np

from device.bundle import load_bundle
from device.capture import Frame
from device.governor import Decision
from device.judge import Judge
from device.machine import Condition, Machine
from device.metrics import of_run, render
from device.over_time import OverTime
from device.runtime import open_bundle
from device.stages import STAGES, Tally
from device.telemetry import Health, Memory
from device.telemetry.battery import Battery

SECRET = "Mueller^Erika left.png"  # stands where names of files and patients stand
FLAGS = ("under-voltage", "throttled-since-boot")


def full_text(bundle_folder: Path, signal: str = "ok", synthetic: bool | None = True) -> str:
    """Every metric there is, each with a sample; the bundle is the tests' tiny one."""
    bundle = load_bundle(bundle_folder)
    frame = Frame(np.full((48, 64), 216, np.uint8), 0, 1.0, SECRET)
    snapshot = Judge(open_bundle(bundle), bundle.meta, OverTime(), None).judge(frame, 1.0, 1.0)
    tally = Tally()
    for verdict in ("malignant", "benign", "normal", "abstain", "abstain"):
        tally.add(verdict, dict.fromkeys(STAGES, 2.0))
    health = Health(50.0, 150.0, 76.5, 80.0, Memory(120.0, "pss"), 900.0, 1500.0, FLAGS)
    machine = Machine()
    battery = Battery(57.0, 3.8, False, 90.0, 4.5, SECRET)
    machine.condition = Condition(health, battery, Decision(7.5, ("temperature", "under-voltage")))
    return render(
        of_run(
            bundle=bundle,
            source=f"folder /srv/{SECRET}",
            synthetic=synthetic,
            signal=signal,
            frames={"captured": 9, "judged": 5, "skipped": 3, "bad": 1, "undecodable": 2},
            total=tally,
            second=tally,
            latest=snapshot,
            machine=machine,
        )
    )
