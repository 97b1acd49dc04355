"""A run folder: `model.safetensors`, `meta.json`, `split.json`, Lightning's log and checkpoints."""

import importlib.metadata
import json
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from device import __version__, files, schema
from device.errors import UserError
from train.data import split_file
from train.data.busi import CLASSES, DataSet
from train.data.split_file import write_split
from train.data.splits import Split
from train.networks.backbone import build
from train.networks.teacher import build_teacher
from train.recipe import NetworkRecipe, Recipe

WEIGHTS, META, STARTED = "model.safetensors", "meta.json", "started.json"


@dataclass(frozen=True)
class RunMeta:
    """What meta.json holds: enough to rebuild the network and to believe its figures."""

    kind: Literal["teacher", "student"]
    classes: tuple[str, ...]
    recipe: Recipe
    data_name: str
    data_fingerprint: str
    synthetic: bool
    view: str
    split: dict[str, Any]
    initial_weights: tuple[str, ...]
    teacher_sha256: str | None
    soft_targets_sha256: str | None
    parameters: int
    mebibytes: float
    validation: dict[str, float | None]
    seconds: float
    hardware: str
    versions: dict[str, str]
    weights_sha256: str


@dataclass(frozen=True)
class Run:
    """A finished run, its network rebuilt, loaded and in eval mode."""

    folder: Path
    meta: RunMeta
    network: nn.Module


def versions() -> dict[str, str]:
    """Versions of what decides a result."""
    names = ("torch", "timm", "lightning", "torchmetrics", "numpy", "opencv-python-headless")
    return {"busi-kd": __version__, "python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in names
    }


def hardware() -> str:
    """What the training ran on, in words."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cpu = (
        next(
            (
                line.split(":", 1)[1].strip()
                for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")
            ),
            platform.machine(),
        )
        if Path("/proc/cpuinfo").is_file()
        else platform.machine()
    )
    return f"{cpu}, {torch.get_num_threads()} threads"


def finished(folder: Path, identity: dict[str, Any], recipe: type) -> bool:
    """Whether `folder` holds the run that `identity` describes, finished. False: start it, or go on. Writes nothing.

    recipe: the class of its recipe. Raises UserError when the folder holds another run, so that two are never mixed.
    """
    started = folder / STARTED
    if started.is_file():
        why = _other(started, json.loads(json.dumps(identity)), recipe)
        if why:
            raise UserError(
                f"{folder}: holds a run with other data, recipe or teacher ({why}); choose another --out or remove the "
                "folder."
            )
        return (folder / META).is_file()
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is no folder; choose another --out.")
    # What a kill in the middle of claimed() leaves does not count.
    if folder.exists() and any(not path.name.startswith(f".{STARTED}.") for path in folder.iterdir()):
        raise UserError(f"{folder}: is not empty and holds no run of this kind; choose another --out.")
    return False


def _other(started: Path, identity: dict[str, Any], recipe: type) -> str | None:
    """What a run was started with that is not so now; None when all is. A key that its recipe has got since counts as
    at its default: a default changes nothing."""
    try:
        was = json.loads(started.read_text())
        known = json.loads(json.dumps(schema.dump(schema.load(recipe, was["recipe"], "recipe"))))
    except (ValueError, KeyError, TypeError, UserError):
        return "a recipe of another version of busi-kd"
    was["recipe"] = {key: known[key] for key in identity["recipe"]}
    if was == identity:
        return None
    return schema.first_difference(was, identity)


@contextmanager
def claimed(folder: Path, identity: dict[str, Any], split: Split, data: DataSet) -> Iterator[None]:
    """Make `folder` this run's, once all its inputs have proved usable: a mended mistake must find it free.

    It is held until the end of the block. Raises UserError when another process trains there.
    """
    if not (folder / STARTED).is_file():
        files.write_json(folder / STARTED, identity)
    with files.held(folder / STARTED, "training of this run"):
        write_split(folder / split_file.FILE, split, data)
        yield


def finish(folder: Path, network: nn.Module, meta: dict[str, Any]) -> Run:
    """Write weights and meta.json (last, so that its presence means done) and load the run back."""
    full = RunMeta(**meta, weights_sha256=write_weights(folder, network))
    files.write_json(folder / META, schema.dump(full))
    return load_run(folder)


def load_run(folder: Path, kind: str | None = None) -> Run:
    """Rebuild a finished run's network and load its weights.

    Raises UserError: folder, file or key missing, altered weights, another `kind` than wanted.
    """
    folder = Path(folder)
    path = folder / META
    meta = schema.load(RunMeta, read_meta(folder, "the --out folder of a finished training"), path)
    if kind and meta.kind != kind:
        raise UserError(f"{folder}: holds a {meta.kind}, but a {kind} is wanted; give the other folder.")
    if meta.classes != CLASSES:
        raise UserError(f"{path}: classes {meta.classes}, but this software uses {CLASSES}; train again.")
    network = make_network(meta.kind, meta.recipe, None, fresh=True)
    load_weights(folder, network, meta.weights_sha256)
    return Run(folder, meta, network.eval())


def write_weights(folder: Path, network: nn.Module) -> str:
    """Write a network's parameters and buffers into a run folder, whole or not at all; their SHA-256."""
    weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    files.write_bytes(folder / WEIGHTS, save(weights))
    return files.sha256_file(folder / WEIGHTS)


def load_weights(folder: Path, network: nn.Module, sha256: str) -> None:
    """Load what `write_weights` wrote into `network`. Raises UserError: missing, altered, of another network."""
    weights = folder / WEIGHTS
    if not weights.is_file() or files.sha256_file(weights) != sha256:
        raise UserError(f"{weights}: missing or altered since the training; copy it again or train again.")
    try:
        network.load_state_dict(load_file(weights))
    except (RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{weights}: does not fit the recipe in {META} ({reason}); train again.") from error


def read_meta(folder: Path, wanted: str) -> Any:
    """What meta.json of a run folder holds, as plain data. wanted: which folder to give instead of one without it.

    Raises UserError: none there, or no JSON.
    """
    path = folder / META
    if not path.is_file():
        unfinished = (folder / STARTED).is_file()
        hint = "its training has not finished; run the same command again" if unfinished else f"give {wanted}"
        raise UserError(f"{folder}: no {META} there; {hint}.")
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path}: not readable as JSON ({error}); train again.") from error


def make_network(kind: str, recipe: Recipe, weights_dir: Path | None, fresh: bool = False) -> nn.Module:
    """The teacher or student of a recipe with its first weights; `fresh` skips those (they will be loaded over)."""
    size = (recipe.preprocess.height, recipe.preprocess.width)

    def first(network: NetworkRecipe) -> NetworkRecipe:
        return replace(network, weights="random") if fresh else network

    if kind == "teacher":
        backbones = tuple(first(network) for network in recipe.teacher.backbones)
        return build_teacher(replace(recipe.teacher, backbones=backbones), size, weights_dir, len(CLASSES))
    return build(first(recipe.student.network), size, weights_dir, len(CLASSES))


def initial_weights(kind: str, recipe: Recipe) -> tuple[str, ...]:
    """`network: weights` of each network of the teacher or student."""
    networks = recipe.teacher.backbones if kind == "teacher" else (recipe.student.network,)
    return tuple(f"{network.name}: {network.weights}" for network in networks)
