"""Soft targets as files: one teacher's answers to numbered views of the pictures that it never saw.

A cache says by itself what it holds and whom it may serve, so it can be kept and shared without the teacher, whose
weights are a thousand times as big.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from device import files, schema
from device.errors import UserError
from device.preprocess import Preprocess
from train.data.busi import CLASSES, DataSet, load_lumas
from train.data.views import view_of
from train.recipe import Augment, Recipe

SCHEMA_VERSION = 1
FOLDER, SUFFIX = "cache", ".safetensors"
_HEADER = "soft_targets"  # one key: the order of several is not fixed in a safetensors header
_LOOKED_AT, _GRID, _LEVELS = 8, 4, 2.0
_AGAIN = "copy it again, or remove it and make it again with busi-kd train soft-targets"


@dataclass(frozen=True)
class CacheMeta:
    """What stands in the file's header beside the logits.

    names: the pictures answered, in the order of the logits. trained: name -> group, as the teacher's split had it, of
    the pictures it was trained on. augment, view_seed, views: which views of the pictures were answered
    (train/data/views.py), and how many of each. recipe: the teacher's; its own split and precision stand in it.
    """

    schema_version: int
    data_name: str
    data_fingerprint: str
    synthetic: bool
    classes: tuple[str, ...]
    preprocess: Preprocess
    augment: Augment
    view_seed: int
    views: int
    names: tuple[str, ...]
    trained: dict[str, str]
    groups_source: str
    recipe: Recipe
    teacher_sha256: str
    hardware: str
    versions: dict[str, str]

    def __post_init__(self) -> None:
        if not self.names or len(set(self.names)) < len(self.names):
            raise ValueError("names must hold one picture or more, each once.")
        both = set(self.names) & set(self.trained)
        if both:
            raise ValueError(f"trained holds {min(both)!r}, which is answered too: the teacher knew it.")
        if self.recipe.teacher.fit.select != "last":
            raise ValueError("recipe.teacher.fit.select is not 'last': the epoch was chosen on answered pictures.")


@dataclass(frozen=True, eq=False)
class Cache:
    """A cache that was read or written. logits (N, V, K) float32, in the order of meta.names and meta.classes.

    looks (S, V, 16) float32 0..255: what the views of up to 8 pictures looked like, as the mean luma in each cell of a
    4 x 4 grid. sha256: over all the content.
    """

    path: Path
    meta: CacheMeta
    logits: np.ndarray
    looks: np.ndarray
    sha256: str


def write_cache(path: Path, meta: CacheMeta, logits: np.ndarray, looks: np.ndarray) -> Cache:
    """Write a cache, whole or not at all. logits (N, V, K) finite, looks (S, V, 16), both become float32."""
    from safetensors.numpy import save

    tensors = {
        "logits": np.ascontiguousarray(logits, np.float32),
        "looks": np.ascontiguousarray(looks, np.float32),
    }
    content = schema.dump(meta)
    digest = _digest(content, tensors)
    header = {"sha256": digest, "meta": content}
    for half in path.parent.glob(f".{path.name}.*"):  # what a kill in the middle of writing left
        half.unlink()
    files.write_bytes(path, save(tensors, {_HEADER: json.dumps(header, allow_nan=False)}))
    return Cache(path, meta, tensors["logits"], tensors["looks"], digest)


def read_cache(path: Path, data: DataSet) -> Cache:
    """Read a cache of `data` back. Raises UserError as read_alone does, or when it is of another data set."""
    cache = read_alone(path)
    meta = cache.meta
    strange = (set(meta.names) | set(meta.trained)) - {picture.name for picture in data.pictures}
    if meta.data_fingerprint != data.fingerprint or strange:
        raise UserError(
            f"{path}: answers pictures of the data set {meta.data_name!r}, and {data.root} holds others; give the soft "
            "targets of this data set."
        )
    return cache


def read_alone(path: Path) -> Cache:
    """Read a cache back where its data set is not at hand; that it is of the right one is for the caller to see.

    Raises UserError: no such file, no cache or one of another version, altered since it was written, unknown or missing
    keys, logits of another shape or not finite, other classes.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise UserError(f"{path}: no such file of soft targets; make it with busi-kd train soft-targets.")
    try:
        with safe_open(path, framework="numpy") as stream:
            header = json.loads((stream.metadata() or {}).get(_HEADER, "null"))
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # itself it is not iterable
    except (SafetensorError, ValueError, OSError, RecursionError, TypeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{path}: not readable as soft targets ({reason}); {_AGAIN}.") from error
    content = header.get("meta") if isinstance(header, dict) else None
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION or set(tensors) != {"logits", "looks"}:
        raise UserError(f"{path}: is no file of soft targets of version {SCHEMA_VERSION}; {_AGAIN}.")
    if header.get("sha256") != _digest(content, tensors):
        raise UserError(f"{path}: altered since it was written; {_AGAIN}.")
    meta = schema.load(CacheMeta, content, path)
    logits, looks = tensors["logits"], tensors["looks"]
    shapes = (len(meta.names), meta.views, len(meta.classes)), (len(_rows(len(meta.names))), meta.views, _GRID**2)
    if (logits.shape, looks.shape) != shapes or {logits.dtype, looks.dtype} != {np.dtype(np.float32)}:
        raise UserError(f"{path}: its logits have the shape {logits.shape}, not {shapes[0]}; {_AGAIN}.")
    if not np.isfinite(logits).all():
        raise UserError(f"{path}: holds logits that are not finite; train its teacher with a lower lr.")
    if meta.classes != CLASSES:
        raise UserError(f"{path}: classes {meta.classes}, but this software uses {CLASSES}; make it again.")
    return Cache(path, meta, logits, looks, header["sha256"])


def read_folders(folders: Sequence[Path], data: DataSet | None) -> list[Cache]:
    """All caches of `data` in the folders, each of which holds them itself or in `cache`; sorted by their content.

    data: None where it is not at hand, as with read_alone. The same file in two folders counts once. Raises UserError
    as read_cache does, when a folder holds none, or when two caches hold answers of one teacher, which would count
    twice.
    """
    found: dict[str, Cache] = {}
    for folder in map(Path, folders):
        inner = folder / FOLDER if (folder / FOLDER).is_dir() else folder
        paths = sorted(inner.glob(f"*{SUFFIX}")) if inner.is_dir() else []
        if not paths:
            raise UserError(f"{folder}: holds no soft targets; give the --out of busi-kd train soft-targets.")
        for cache in (read_alone(path) if data is None else read_cache(path, data) for path in paths):
            found.setdefault(cache.sha256, cache)
    teachers: dict[str, Cache] = {}
    for cache in found.values():
        other = teachers.setdefault(cache.meta.teacher_sha256, cache)
        if other is not cache:
            raise UserError(f"{cache.path} and {other.path}: both hold answers of one teacher; remove one of them.")
    return [found[digest] for digest in sorted(found)]


def check_views(cache: Cache, data: DataSet, recipe: Recipe) -> None:
    """Raise UserError unless the cache answers the very views that a student of `recipe` would see.

    With distill.targets = "mean" it sees none of them: the answer belongs to the picture, and the student's own size
    and augmentation may be others.

    Besides the settings, the views of a few pictures are drawn again and compared with what they looked like, to 2
    levels of luma in each cell of the grid: another version of the augmentation would draw others from the same
    settings. Rounding, which differs between processors, stays below.
    """
    meta = cache.meta
    wanted = {"distill.view_seed": (meta.view_seed, recipe.distill.view_seed)}
    if recipe.distill.targets == "view":
        wanted |= {"preprocess": (meta.preprocess, recipe.preprocess), "augment": (meta.augment, recipe.augment)}
    for name, (own, other) in wanted.items():
        if own != other:
            raise UserError(
                f"{cache.path}: answers other views than the recipe's: its {name} is {schema.shown(own)}; make soft "
                f"targets with this recipe, or take the {name} they were made with."
            )
    if meta.views < recipe.distill.views:
        raise UserError(
            f"{cache.path}: holds {meta.views} views of each picture, but the recipe wants {recipe.distill.views}; "
            "lower distill.views, or make soft targets with this recipe."
        )
    rows = _rows(len(meta.names))
    unlike = np.abs(looks_of(meta, data) - cache.looks).max(axis=(1, 2)) > _LEVELS
    if unlike.any():
        raise UserError(
            f"{cache.path}: the views of {meta.names[rows[int(unlike.argmax())]]!r} are no longer those that the "
            "teacher answered, as another version of the augmentation drew them; make the soft targets again."
        )


def looks_of(meta: CacheMeta, data: DataSet) -> np.ndarray:
    """(S, V, 16) float32: the mean luma 0..255 in a 4 x 4 grid of each view of up to 8 pictures of the cache."""
    names = [meta.names[row] for row in _rows(len(meta.names))]
    by_name = {picture.name: picture for picture in data.pictures}
    lumas = load_lumas((by_name[name] for name in names), meta.preprocess)
    found = np.empty((len(names), meta.views, _GRID**2), np.float32)
    for row, (name, luma) in enumerate(zip(names, lumas)):
        for view in range(meta.views):
            seen = view_of(luma, None, meta.augment, meta.view_seed, name, view)[0].astype(np.float32)
            found[row, view] = cv2.resize(seen, (_GRID, _GRID), interpolation=cv2.INTER_AREA).ravel()
    return found


def _rows(count: int) -> list[int]:
    """Up to 8 of `count` row numbers, evenly spread."""
    return sorted({int(row) for row in np.linspace(0, count - 1, min(_LOOKED_AT, count))})


def _digest(content: Any, tensors: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(f"\0{name} {tensors[name].dtype} {tensors[name].shape}\0".encode())
        digest.update(np.ascontiguousarray(tensors[name]).tobytes())
    return digest.hexdigest()
