"""Caches of soft targets made by hand: a teacher's answers without a teacher."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from train.data.busi import CLASSES, DataSet
from train.data.splits import Split, make_split
from train.recipe import Recipe
from train.soft.cache import SCHEMA_VERSION, Cache, CacheMeta, looks_of, write_cache
from train.soft.crossfit import stem, teacher_recipe

# Changes of the tiny recipe (tiny_recipe.py): three folds, so three teachers, trained in seconds.
THREE = (("epochs = 3", "epochs = 2"), ("[distill]", "[split]\nfolds = 3\n\n[distill]\nviews = 3"))


def soft_targets(phantoms: Path, recipe: str, out: Path, *more: object) -> list[str]:
    """The command line, after `busi-kd`."""
    return ["train", "soft-targets", str(phantoms), "--recipe", recipe, "--out", str(out), *map(str, more)]


def meta_of(data: DataSet, recipe: Recipe, j: int, k: int, **changes: object) -> CacheMeta:
    """The header of a cache as the teacher of the folds j and k would have it, each picture a group of its own."""
    own = teacher_recipe(recipe, j, k)
    split = make_split(data, own.split, None)
    meta = CacheMeta(
        schema_version=SCHEMA_VERSION,
        data_name=data.name,
        data_fingerprint=data.fingerprint,
        synthetic=data.synthetic,
        classes=CLASSES,
        preprocess=recipe.preprocess,
        augment=recipe.augment,
        view_seed=recipe.distill.view_seed,
        views=recipe.distill.views,
        names=tuple(picture.name for picture in split.val + split.test),
        trained={picture.name: split.group_of[picture.name] for picture in split.train},
        groups_source=split.groups_source,
        recipe=own,
        teacher_sha256=f"teacher {j}-{k}-{recipe.seed}",
        hardware="a machine",
        versions={"busi-kd": "0"},
    )
    return replace(meta, **changes)


def written(folder: Path, data: DataSet, meta: CacheMeta, logits: np.ndarray | None = None) -> Cache:
    """Write a cache; without logits (N, V, K) random ones, which the teacher's name decides."""
    if logits is None:
        rng = np.random.default_rng(list(meta.teacher_sha256.encode()))
        logits = rng.normal(0, 3, (len(meta.names), meta.views, len(CLASSES)))
    return write_cache(folder / f"{stem(meta.recipe)}.safetensors", meta, logits, looks_of(meta, data))


def student_split(data: DataSet, recipe: Recipe, test: int, val: int, val_parts: int = 1) -> Split:
    """The split of a student."""
    return make_split(data, replace(recipe.split, test_fold=test, val_fold=val, val_parts=val_parts), None)
