"""The parts of the int8 study that need no training."""

from pathlib import Path

import numpy as np
import pytest

from convert.int8_study import BESIDE, STEPS, latencies, named, opened, pieces
from convert.quantise.how import How
from device.errors import UserError
from train.recipe import ConvertRecipe


def test_a_file_that_cannot_be_opened_is_named_and_the_others_are_measured(bundle_dir: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"no model")
    models, reasons = opened({"good": bundle_dir / "int8-full" / "model.tflite", "bad": broken})
    assert list(models) == ["good"]
    assert list(reasons) == ["bad"]
    assert str(broken) not in reasons["bad"]
    assert pieces(models["good"]) >= 1
    (seconds,) = latencies(list(models.values()), np.zeros((2, 64, 64), np.uint8))
    assert seconds > 0


def test_every_step_changes_keys_that_are_there() -> None:
    keys, how = vars(ConvertRecipe()), vars(How())
    assert all(set(change) <= set(keys) for _, change in STEPS)
    assert all(set(change) <= set(how) for _, change in BESIDE)
    last = {key: value for _, change in STEPS for key, value in change.items()}
    assert {key: keys[key] for key in last} == last, "the last step is what ships"


def test_a_file_needs_a_name() -> None:
    assert named("peer=a/b.tflite") == ("peer", Path("a/b.tflite"))
    for wrong in ("a.tflite", "=a", "a="):
        with pytest.raises(UserError, match="write a name"):
            named(wrong)
