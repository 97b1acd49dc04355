"""`busi-kd demo`: the whole path once at demonstration scale, on synthetic phantoms, with nothing downloaded."""

import argparse
import shutil
from pathlib import Path

from convert.summary import SHIPPED_FILE
from convert.whole import Plan, Step, proving_steps, run_steps, training_steps
from device import RESEARCH_NOTICE, files, shipped
from device.errors import UserError

MARKER = "demo.json"
PER_CLASS = 250
SHIPPED_SECONDS = 5  # at most


def main(arguments: list[str]) -> int:
    """Run the demonstration into --out and write its one-page summary; returns the first failed step's status."""
    parser = argparse.ArgumentParser(prog="busi-kd demo", description=f"{__doc__} {RESEARCH_NOTICE}")
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="begun anew each time (default out/demo)")
    parser.add_argument("--seconds", type=int, default=20, help="how long the daemon runs (default 20)")
    args = parser.parse_args(arguments)
    if args.seconds < 1:
        parser.error(f"--seconds must be 1 or more, not {args.seconds}")
    _begin(args.out)
    plan = Plan(args.out, args.out / "phantoms", ["--recipe", "demo"], [], [])
    phantoms = ["train", "phantoms", str(plan.data), "--per-class", str(PER_CLASS), "--size", "256x320"]
    teacher, student, _ = training_steps(plan)  # the comparison without a teacher would take another minute
    bench = ["--threads", "1,2", "--seconds", "0.5", "--rounds", "2"]
    daemon = ["--source", "phantom", "--duration", str(args.seconds)]
    proving = proving_steps(plan, ["teacher", "student"], bench, daemon)
    proving += shipped_steps(args.out, min(args.seconds, SHIPPED_SECONDS))
    return run_steps(args.out, [("write synthetic phantoms", phantoms), teacher, student, *proving])


def shipped_steps(out: Path, seconds: float) -> list[Step]:
    """Check the model that ships with busi-kd, which is not the demonstration's own, and run the daemon with it.

    The clip shows nobody and the model knows patients' pictures, so no verdicts are recorded. Says so and returns no
    step in a source tree without models.
    """
    if not shipped.shipped():
        print("No model ships with this copy of busi-kd: the steps that would check it are left out.")
        return []
    bundle = str(shipped.default_bundle())
    # Without the configuration file of this machine: its settings must not change a demonstration.
    run = ["device", "run", "--config", "none", "--bundle", bundle, "--source", "phantom", "--duration", str(seconds)]
    return [
        ("check the shipped model", ["device", "show", bundle]),
        ("run the shipped model", [*run, "--summary", str(out / SHIPPED_FILE)]),
    ]


def _begin(out: Path) -> None:
    """An empty folder for this demonstration; only an earlier demonstration is removed to make room."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if not (out / MARKER).is_file():
            raise UserError(f"{out}: is not empty and holds no earlier demonstration; choose another --out.")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    files.write_json(out / MARKER, {"notice": RESEARCH_NOTICE})
