"""operating_point.json of `busi-kd train operating-point`, read for a bundle: out-of-fold threshold and limit."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from device import schema
from device.bundle import Abstain, OperatingPoint
from device.errors import UserError

_AGAIN = "make it with busi-kd train operating-point"
# Of a recipe: what may differ, and the answers of other folds' networks still speak for this one. The split is looked
# at apart, and how a student's teacher was made shows in its cached answers.
_FREE = ("name", "seed", "split", "teacher", "convert")


class Trained(Protocol):
    """As much of a run's metadata as is asked for: of a student, or of a network with two heads."""

    recipe: Any
    data_fingerprint: str
    split: dict[str, Any]


@dataclass(frozen=True)
class Derived:
    """Threshold and abstention limit on calibrated probabilities, from networks that never saw the judged pictures."""

    point: OperatingPoint
    abstain: Abstain


def read_derived(path: Path, meta: Trained) -> Derived:
    """Read the file for the network `meta`.

    Raises UserError: no such file or none of that command, other data or groups, another recipe, or answers to
    the fold that is this network's test part, or to pictures that --only made its test part: its figures would be no
    test any more.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; {_AGAIN}.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        threshold, abstain, folds = content["threshold"], content["abstain"], set(content["folds"])
        recipe, data, groups = content["recipe"], content["data"]["fingerprint"], content["groups"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: is no operating point of a study ({error!r}); {_AGAIN}.") from error
    found = Derived(
        schema.load(OperatingPoint, threshold, f"{path}, threshold"), schema.load(Abstain, abstain, f"{path}, abstain")
    )
    if data != meta.data_fingerprint or groups != meta.split["groups"]:
        raise UserError(f"{path}: was derived on other data or groups than the student was trained on; {_AGAIN}.")
    # Through the recipe of today: what it has got since, the study had at its default.
    whole = schema.load(type(meta.recipe), {"name": "study", **recipe}, f"{path}, recipe")
    recipe, own = schema.dump(whole), schema.dump(meta.recipe)
    split = recipe["split"]
    other = next((key for key in own if key not in _FREE and recipe[key] != own[key]), None)
    if other or _parts(split) != _parts(own["split"]):
        raise UserError(
            f"{path}: speaks of students of another recipe (its {other or 'split'} differs); take the row whose recipe "
            "the student was trained with."
        )
    if own["split"]["test_fold"] in folds:
        raise UserError(
            f"{path}: was derived on fold {own['split']['test_fold']} too, which is the student's test part; leave it "
            "out of the study's decide."
        )
    if meta.split["only"]:
        raise UserError(
            f"{path}: may have been derived on pictures of the student's test part, which --only named; leave "
            "--operating-point away."
        )
    return found


def _parts(split: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in split.items() if key not in ("test_fold", "val_fold")}
