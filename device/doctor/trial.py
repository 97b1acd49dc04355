"""The child that tries the model: `python -m device.doctor.trial SETTINGS`, where SETTINGS is JSON; prints JSON."""

import json
import sys
import time
from pathlib import Path

import numpy as np

from device.choice import choose
from device.errors import UserError
from device.trust import Trust


def pattern(height: int, width: int) -> np.ndarray:
    """(height, width) uint8: a picture of whole numbers alone, so that it is the same on every machine."""
    rows, columns = np.mgrid[:height, :width]
    return ((3 * columns + 5 * rows + (columns * rows) // 7) % 256).astype(np.uint8)


def run(asked: dict) -> dict:
    """Choose the model as the daemon would, and let it answer `pattern` and a black frame."""
    whom = Trust(tuple(map(Path, asked["folders"])), asked["allow_unsigned"])
    given = None if asked["bundle"] is None else Path(asked["bundle"])
    try:
        chosen = choose(given, Path(asked["models"]), whom, asked["threads"])
    except UserError as error:
        return {"refused": str(error)}
    bundle, model = chosen.bundle, chosen.model
    _, height, width, _ = model.input.shape
    black = model.logits(np.zeros((height, width), np.uint8)).tolist()
    began = time.perf_counter()
    logits = model.logits(pattern(height, width)).tolist()
    took = time.perf_counter() - began
    # The only way to ask LiteRT which part of the graph a delegate has taken.
    operators = [one["op_name"] for one in model._interpreter._get_ops_details()]
    return {
        "name": bundle.meta.name,
        "id": bundle.id,
        "variant": bundle.meta.variant,
        "synthetic": bundle.meta.synthetic,
        "origin": chosen.origin,
        "signed_by": bundle.signed_by,
        "notes": list(chosen.notes),
        "interpreter": model.backend,
        "delegates": operators.count("DELEGATE"),
        "step": model.output.scale,
        "logits": logits,
        "black": black,
        "ms": 1000 * took,
    }


if __name__ == "__main__":
    print(json.dumps(run(json.loads(sys.argv[1]))))
