"""A study on made-up answers: no pictures, no training."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device import schema
from train.data.busi import CLASSES
from train.studies.grid.results import Pictures, Result, write_pictures, write_result
from train.studies.grid.study import Job, Study, read_study

VERSIONS = {"busi-kd": "0", "torch": "0"}
HEAD = 'name = "made up"\nrecipe = "demo"\nfolds = [0, 1, 2]\nseeds = [0, 1]\ndecide = [1, 2]\n'


def study_file(folder: Path, text: str) -> Path:
    """Write a study file; `text` follows HEAD."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "study.toml"
    path.write_text(HEAD + text)
    return path


def pictures(per_class: int = 30, of_group: int = 2) -> Pictures:
    """`per_class` names of each class, each `of_group` neighbours a group."""
    found = {
        f"{label} ({n}).png": (label, f"{label}{n // of_group}") for label in CLASSES for n in range(1, per_class + 1)
    }
    return Pictures("made up", "0" * 64, True, "sha256:0", found)


def fold_of(name: str) -> int:
    """0..2, by the picture's number, so that each fold holds every class; groups do not matter here."""
    return int(name.split("(")[1].split(")")[0]) % 3


@dataclass(frozen=True)
class Answers:
    """How good a row's networks are: logits are noise, plus `skill` for the true class."""

    skill: float
    noise: int = 0


def result(job: Job, all_pictures: Pictures, answers: Answers, sharpness: float = 1.0) -> Result:
    """A training's result; the noise of a picture depends on (noise, seed) alone, the same for all rows."""
    rng = np.random.default_rng([answers.noise, job.seed])
    said = {}
    for name, (label, _) in all_pictures.pictures.items():
        logits = rng.normal(size=3)
        logits[CLASSES.index(label)] += answers.skill
        said[name] = tuple(float(v) for v in (sharpness * logits).round(5))
    return Result(
        row=job.row.slug,
        seed=job.seed,
        fold=job.fold,
        recipe=schema.dump(job.recipe),
        data=all_pictures.fingerprint,
        split="1" * 64,
        soft=None,
        validation={"val_loss": 1.0},
        seconds=30.0,
        hardware="a machine",
        versions=VERSIONS,
        test={name: v for name, v in said.items() if fold_of(name) == job.fold},
        val={name: v for name, v in said.items() if fold_of(name) == (job.fold + 1) % 3},
    )


def made_up(folder: Path, text: str, skills: dict[str, float], skip: tuple = ()) -> tuple[Study, Pictures, dict]:
    """A study with a result for each job but those in `skip`, written into `folder`/out. skills: of each row."""
    study, all_pictures = read_study(study_file(folder, text)), pictures()
    found = {
        job.key: result(job, all_pictures, Answers(skills[job.row.name])) for job in study.jobs() if job.key not in skip
    }
    write_pictures(folder / "out", all_pictures)
    for one in found.values():
        write_result(folder / "out", one)
    return study, all_pictures, found
