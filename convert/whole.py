"""`busi-kd all`: the whole path once, from a data folder to the daemon's verdicts on held-out pictures, and one page.

Each step is the very command a user would type. Trainings that are finished already are not done again, and a killed
one goes on, so the same command can be repeated until it ends.
"""

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from convert import summary
from device import RESEARCH_NOTICE, files, signing
from device.bundle import VARIANTS, Variant
from device.errors import UserError
from train import options
from train.interrupts import sigterm_as_interrupt
from train.recipe import Recipe

ROOT = str(Path(__file__).resolve().parent.parent)
MARKER = "all.json"
END_S = 30.0  # for a step that was asked to end
Step = tuple[str, list[str]]


@dataclass(frozen=True)
class Plan:
    """What the steps need. recipe, split, weights: the options of that kind with their values, or empty.

    soft: folders of cached answers that the student learns from instead of a living teacher. operating: options of the
    conversion that name an operating point from out-of-fold answers, or empty. variants: those that the recipe makes.
    """

    out: Path
    data: Path
    recipe: list[str]
    split: list[str]
    weights: list[str]
    soft: tuple[Path, ...] = ()
    operating: tuple[str, ...] = ()
    variants: tuple[Variant, ...] = VARIANTS


def training_steps(plan: Plan) -> list[Step]:
    """Teacher, student, and the same student without a teacher, which shows what distillation did."""
    teacher, common = plan.out / "teacher", [str(plan.data), *plan.recipe, *plan.split, *plan.weights]
    taught = ["--soft-targets", *map(str, plan.soft)] if plan.soft else ["--teacher", str(teacher)]
    student = ["train", "distill", *common, *taught, "--out", str(plan.out / "student")]
    alone = ["train", "distill", *common, "--no-teacher", "--out", str(plan.out / "student-alone")]
    steps = [("distil the student", student), ("train the same student without a teacher", alone)]
    if plan.soft:
        return steps
    return [("train the hybrid teacher", ["train", "teacher", *common, "--out", str(teacher)]), *steps]


def crossfit_step(plan: Plan, folder: Path, recipe: Recipe, groups: Path | None, exclude: Path | None) -> Step:
    """Teachers that saw neither the test part nor what they answer; `folder` gets them and their answers."""
    options_ = [("--groups", groups), ("--exclude", exclude)]
    given = [word for name, value in options_ if value for word in (name, str(value))]
    fold, jobs = str(recipe.split.test_fold), str(os.cpu_count() or 1)
    call = ["train", "soft-targets", str(plan.data), *plan.recipe, *given, *plan.weights, "--test-folds", fold]
    return "train cross-fitted teachers", [*call, "--jobs", jobs, "--out", str(folder)]


def proving_steps(plan: Plan, models: list[str], bench: list[str], daemon: list[str]) -> list[Step]:
    """Evaluation, conversion, signatures, latency, daemon. models: run folders below `out` to evaluate.

    The daemon trusts the key of `signing_key` and no other, as a device does whose owner makes their own models.
    """
    out, data = plan.out, ["--data", str(plan.data)]
    key = signing_key(out)
    runs = [str(out / name) for name in models]
    convert = ["convert", str(out / "student"), *data, *plan.recipe]
    made = [str(out / "bundles" / variant) for variant in plan.variants]
    # Without the configuration file of this machine: its settings must not change what is proved here.
    run = ["device", "run", "--config", "none", "--bundle", str(out / "bundles" / "int8-full")]
    run += ["--trusted-keys", str(key.parent)]
    kept = ["--summary", str(out / "daemon.json"), "--verdicts", str(out / "verdicts.csv")]
    return [
        ("evaluate on the test part", ["train", "evaluate", *runs, *data, "--json", str(out / "evaluation.json")]),
        ("convert and verify", [*convert, *plan.operating, "--out", str(out / "bundles")]),
        ("sign the bundles", ["convert", "sign", *made, "--key", str(key)]),
        ("measure latency", ["device", "bench", str(out / "bundles"), *bench, "--json", str(out / "bench.json")]),
        ("run the daemon", [*run, *daemon, *kept]),
    ]


def signing_key(out: Path) -> Path:
    """The private key of this `out`, made when it is missing; the public one lies beside it.

    It shows the way and is thrown away with the folder: a key for devices in use is kept elsewhere (docs/signing.md).
    """
    key = out / "keys" / "maker"
    if not key.is_file() or not key.with_name("maker.pub").is_file():
        key.unlink(missing_ok=True)  # a kill between the two files; the bundles are signed anew in any case
        key.with_name("maker.pub").unlink(missing_ok=True)
        signing.new_key(key)
    return key


def run_steps(out: Path, todo: list[Step]) -> int:
    """Run the steps in order, each in a process of its own with a log file, then write the summary page.

    Returns 0, or the exit status of the step that failed, whose last lines are shown. Raises KeyboardInterrupt on
    Ctrl-C and SIGTERM, once the step has ended.
    """
    with sigterm_as_interrupt():  # else the step would live on, beside that of the next call
        return _run_steps(out, todo)


def _run_steps(out: Path, todo: list[Step]) -> int:
    started, timings = time.monotonic(), {}
    (out / "logs").mkdir(parents=True, exist_ok=True)
    for number, (what, command) in enumerate(todo, start=1):
        log = out / "logs" / f"{number}-{'-'.join(what.split()[:3])}.log"
        print(f"[{number}/{len(todo)}] {what} ... ", end="", flush=True)
        begun = time.monotonic()
        status = _run(command, log)
        timings[what] = time.monotonic() - begun
        if status:
            print(f"failed after {timings[what]:.0f} s.\n{_tail(log)}\nThe whole log is {log}.")
            return status
        print(f"{timings[what]:.0f} s", flush=True)
    page = summary.write(out, timings, time.monotonic() - started)
    print(f"\n{page.read_text()}\nSummary: {page} and {page.with_suffix('.png')}")
    return 0


def main(arguments: list[str]) -> int:
    """Run the whole path on a data set; returns the first failed step's exit status."""
    parser = argparse.ArgumentParser(prog="busi-kd all", description=f"{__doc__} {RESEARCH_NOTICE}")
    options.add(parser, recipe="offline")
    parser.add_argument("--weights-dir", type=Path, metavar="DIR", help="folder of .safetensors the recipe names")
    parser.add_argument("--out", type=Path, required=True, help="the same command goes on after a kill")
    parser.add_argument("--seconds", type=float, default=1.0, help="steady state per benchmark row and round (1)")
    taught = parser.add_mutually_exclusive_group()
    taught.add_argument(
        "--cross-fitted", action="store_true", help="several teachers, each asked about what it never saw"
    )
    taught.add_argument(
        "--soft-targets",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="answers of such teachers, made before",
    )
    parser.add_argument("--operating-point", type=Path, metavar="FILE", help="of busi-kd train operating-point")
    args = parser.parse_args(arguments)
    if not args.seconds > 0:
        parser.error(f"--seconds must be above 0, not {args.seconds:g}")
    if args.cross_fitted and (args.protocol or args.only or args.split):
        raise UserError("--cross-fitted needs the folds of the recipe; leave --protocol, --only and --split away.")
    _, recipe, _ = options.read(args)  # before hours of training
    variants = recipe.convert.variants
    if "int8-full" not in variants:
        raise UserError(
            f"the recipe {recipe.name!r} makes no int8-full, which the daemon is to run; add it to variants."
        )
    _begin(args.out)
    weights = ["--weights-dir", str(args.weights_dir)] if args.weights_dir else []
    soft = (args.out / "soft",) if args.cross_fitted else tuple(args.soft_targets)
    operating = ("--operating-point", str(args.operating_point)) if args.operating_point else ()
    plan = Plan(args.out, args.data, ["--recipe", args.recipe], options.given(args), weights, soft, operating, variants)
    crossfit = [crossfit_step(plan, soft[0], recipe, args.groups, args.exclude)] if args.cross_fitted else []
    test = args.out / "test"
    part = ["train", "part", str(args.data), *plan.recipe, *plan.split, "--out", str(test)]
    bench = ["--threads", "1,2", "--seconds", str(args.seconds), "--pictures", str(test)]
    daemon = ["--source", "folder", "--path", str(test), "--fps", "0"]  # 0: every picture, exactly once
    (args.out / "verdicts.csv").unlink(missing_ok=True)  # the daemon would go on with an earlier call's
    models = [*(["teacher"] if not soft else []), "student", "student-alone"]
    proving = proving_steps(plan, models, bench, daemon)
    return run_steps(args.out, [*crossfit, *training_steps(plan), ("copy the held-out pictures", part), *proving])


def _begin(out: Path) -> None:
    """Mark `out` as this command's: only then may an earlier call's files in it be replaced."""
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / MARKER).is_file())):
        raise UserError(f"{out}: is not empty and holds no earlier call of this command; choose another --out.")
    files.write_json(out / MARKER, {"notice": RESEARCH_NOTICE})


def _run(command: list[str], log: Path) -> int:
    path = os.pathsep.join(filter(None, [ROOT, os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    with open(log, "wb") as stream:
        stream.write(f"$ busi-kd {' '.join(command)}\n".encode())
        stream.flush()
        call = [sys.executable, "-P", "-m", "device.main", *command]  # -P: not a `device` of the working folder
        with subprocess.Popen(call, env=environment, stdout=stream, stderr=subprocess.STDOUT) as step:
            try:
                return step.wait()
            except KeyboardInterrupt:
                step.terminate()  # Ctrl-C has reached it already, a SIGTERM has not; it ends in its own way
                try:
                    step.wait(END_S)
                except subprocess.TimeoutExpired:
                    step.kill()
                raise


def _tail(log: Path, lines: int = 5) -> str:
    return "\n".join(log.read_text(errors="replace").replace("\r", "\n").strip().splitlines()[-lines:])
