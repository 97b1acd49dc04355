"""A segmentation run's folder: `model.safetensors`, `meta.json`, `split.json`, Lightning's log and checkpoints."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from device import files, schema
from device.errors import UserError
from train.runs import META, STARTED, WEIGHTS
from train.segmentation.networks.make import make
from train.segmentation.recipe import SegRecipe


@dataclass(frozen=True)
class SegMeta:
    """What meta.json holds. teachers: row -> SHA-256 of its weights. multiply_adds: of one picture."""

    kind: str
    recipe: SegRecipe
    data_name: str
    data_fingerprint: str
    synthetic: bool
    split: dict[str, Any]
    teachers: dict[str, str]
    soft_targets_sha256: str | None
    parameters: int
    mebibytes: float
    multiply_adds: int
    validation: dict[str, float | None]
    seconds: float
    hardware: str
    versions: dict[str, str]
    weights_sha256: str


@dataclass(frozen=True)
class SegRun:
    """A finished run, its network rebuilt, loaded and in eval mode."""

    folder: Path
    meta: SegMeta
    network: nn.Module


KIND = "segmenter"


def finish(folder: Path, network: nn.Module, meta: dict[str, Any]) -> SegRun:
    """Write weights and meta.json (last, so that its presence means done) and load the run back."""
    weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    files.write_bytes(folder / WEIGHTS, save(weights))
    full = SegMeta(kind=KIND, **meta, weights_sha256=files.sha256_file(folder / WEIGHTS))
    files.write_json(folder / META, schema.dump(full))
    return load_run(folder)


def load_run(folder: Path) -> SegRun:
    """Rebuild a finished run's network. Raises UserError: not finished, another kind of run, altered weights."""
    path = Path(folder) / META
    if not path.is_file():
        unfinished = (Path(folder) / STARTED).is_file()
        hint = "run the same command again" if unfinished else "give the folder of a finished segmentation run"
        raise UserError(f"{folder}: no {META} there; {hint}.")
    try:
        raw = json.loads(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path}: not readable as JSON ({error}); train again.") from error
    if not isinstance(raw, dict) or raw.get("kind") != KIND:
        raise UserError(f"{folder}: holds no segmentation run; give another folder.")
    meta = schema.load(SegMeta, raw, path)
    weights = Path(folder) / WEIGHTS
    if not weights.is_file() or files.sha256_file(weights) != meta.weights_sha256:
        raise UserError(f"{weights}: missing or altered since the training; copy it again or train again.")
    size = (meta.recipe.preprocess.height, meta.recipe.preprocess.width)
    network = make(meta.recipe.network, size, None, fresh=True)
    try:
        network.load_state_dict(load_file(weights))
    except (RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{weights}: does not fit the recipe in {META} ({reason}); train again.") from error
    return SegRun(Path(folder), meta, network.eval())
