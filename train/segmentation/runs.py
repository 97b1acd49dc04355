"""A segmentation run's folder: `model.safetensors`, `meta.json`, `split.json`, Lightning's log and checkpoints."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from device import files, schema
from device.errors import UserError
from train.runs import META, load_weights, read_meta, write_weights
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
    full = SegMeta(kind=KIND, **meta, weights_sha256=write_weights(folder, network))
    files.write_json(folder / META, schema.dump(full))
    return load_run(folder)


def load_run(folder: Path) -> SegRun:
    """Rebuild a finished run's network. Raises UserError: not finished, another kind of run, altered weights."""
    folder = Path(folder)
    raw = read_meta(folder, "the folder of a finished segmentation run")
    if not isinstance(raw, dict) or raw.get("kind") != KIND:
        raise UserError(f"{folder}: holds no segmentation run; give another folder.")
    meta = schema.load(SegMeta, raw, folder / META)
    size = (meta.recipe.preprocess.height, meta.recipe.preprocess.width)
    network = make(meta.recipe.network, size, None, fresh=True)
    load_weights(folder, network, meta.weights_sha256)
    return SegRun(folder, meta, network.eval())
