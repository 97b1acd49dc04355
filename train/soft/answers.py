"""Teachers answer: caches are filled, and checked against the teacher that is said to have filled them."""

from pathlib import Path

import numpy as np

from device.errors import UserError
from train.data.busi import CLASSES, DataSet, load_lumas
from train.data.split_file import FILE, read_split
from train.data.views import view_of
from train.recipe import Recipe
from train.runs import Run, hardware, load_run, versions
from train.soft import crossfit
from train.soft.cache import (
    FOLDER,
    SCHEMA_VERSION,
    SUFFIX,
    Cache,
    CacheMeta,
    check_views,
    looks_of,
    read_cache,
    write_cache,
)

# Largest difference of a logit that other kernels and batches make, for logits up to 1 and in proportion above. bf16
# keeps 8 bits of a number where float32 keeps 24, so a step is 2^-8; a deep network's layers add up to several: the
# recipe `offline` answers in float32 what differs from its bf16 by 4 steps at most.
TOLERANCES = {"32-true": 1e-3, "16-mixed": 1e-3, "bf16-mixed": 12 / 2**8}


def answer(teacher: Run, lumas: np.ndarray) -> np.ndarray:
    """(N, H, W) uint8 luma -> (N, K) float32 logits, in batches of 32 and in the precision the teacher was trained in.

    That is bfloat16 where its recipe says so, as for a living teacher in train/training.py; else float32.
    """
    import torch

    from train.fit import predict

    device = "cuda" if torch.cuda.is_available() else "cpu"
    half = teacher.meta.recipe.teacher.fit.precision == "bf16-mixed"
    with torch.autocast(device, torch.bfloat16, enabled=half):
        return predict(teacher.network.to(device), lumas, batch=32)


def cache_path(out: Path, own: Recipe) -> Path:
    """Where the answers of a pair's teacher lie; own: what crossfit.teacher_recipe gave."""
    return out / FOLDER / f"{crossfit.stem(own)}{SUFFIX}"


def taken_up(
    data: DataSet,
    recipe: Recipe,
    student: Recipe,
    groups_csv: Path | None,
    exclude: tuple[str, ...],
    j: int,
    k: int,
    out: Path,
) -> Cache | None:
    """The answers of this pair's teacher when they are there already; the teacher itself is not needed for that.

    Raises UserError when what lies there was made with another recipe, other groups or another --exclude, answers other
    views than `student`'s, or is damaged.
    """
    own = crossfit.teacher_recipe(recipe, j, k)
    path = cache_path(out, own)
    if not path.is_file():
        return None
    cache = read_cache(path, data)
    split = crossfit.split_of(data, own, groups_csv, exclude)
    if cache.meta.recipe != own or set(cache.meta.trained) != {picture.name for picture in split.train}:
        raise UserError(
            f"{path}: its teacher had another recipe, other groups or another --exclude; choose another --out, or "
            "remove the file."
        )
    check_views(cache, data, student)
    return cache


def made(
    data: DataSet,
    recipe: Recipe,
    student: Recipe,
    groups_csv: Path | None,
    exclude: tuple[str, ...],
    weights_dir: Path | None,
    j: int,
    k: int,
    out: Path,
) -> Cache:
    """The answers of this pair's teacher: taken up, or the teacher is trained (or goes on) and asked.

    student: the recipe whose views are answered. Raises UserError as taken_up, crossfit.train_pair and fill_cache do.
    """
    cache = taken_up(data, recipe, student, groups_csv, exclude, j, k, out)
    if cache is None:
        teacher = crossfit.train_pair(data, recipe, groups_csv, exclude, weights_dir, j, k, out)
        cache = fill_cache(cache_path(out, crossfit.teacher_recipe(recipe, j, k)), teacher, data, student)
    return cache


def fill_cache(path: Path, teacher: Run, data: DataSet, recipe: Recipe) -> Cache:
    """Ask the teacher about `recipe`'s views of every picture in its own validation and test part, and write `path`.

    recipe: of the student, for its augment, distill.views and distill.view_seed; the teacher's own may differ, but not
    in preprocess. Raises UserError when it does, when the teacher chose its epoch on the validation part, or when its
    run folder is damaged.
    """
    meta = teacher.meta
    split = read_split(teacher.folder / FILE, data)
    if (split.fingerprint, data.fingerprint) != (meta.split["fingerprint"], meta.data_fingerprint) or split.leaks:
        raise UserError(f"{teacher.folder}: its {FILE} is not the split it was trained with; train it again.")
    if meta.recipe.teacher.fit.select != "last":
        raise UserError(
            f"{teacher.folder}: chose its epoch on the validation part, so its answers there are not honest; train a "
            'teacher with select = "last".'
        )
    if meta.recipe.preprocess != recipe.preprocess:
        raise UserError(f"{teacher.folder}: this teacher sees another input size than the recipe; train it again.")
    pictures = split.val + split.test
    names = tuple(picture.name for picture in pictures)
    content = CacheMeta(
        schema_version=SCHEMA_VERSION,
        data_name=data.name,
        data_fingerprint=data.fingerprint,
        synthetic=data.synthetic,
        classes=CLASSES,
        preprocess=recipe.preprocess,
        augment=recipe.augment,
        view_seed=recipe.distill.view_seed,
        views=recipe.distill.views,
        names=names,
        trained={picture.name: split.group_of[picture.name] for picture in split.train},
        groups_source=split.groups_source,
        recipe=meta.recipe,
        teacher_sha256=meta.weights_sha256,
        hardware=hardware(),
        versions=versions(),
    )
    lumas = load_lumas(pictures, recipe.preprocess)
    logits = np.empty((len(names), content.views, len(CLASSES)), np.float32)
    for view in range(content.views):
        logits[:, view] = answer(teacher, _seen(content, names, lumas, [view] * len(names)))
    if not np.isfinite(logits).all():
        raise UserError(f"{teacher.folder}: answers with logits that are not finite; train it with a lower lr.")
    return write_cache(path, content, logits, looks_of(content, data))


def check(cache_file: Path, teacher_folder: Path, data: DataSet, count: int, seed: int) -> float:
    """Ask the teacher again about `count` random views in a cache; returns the largest difference of a logit.

    Raises UserError: cache or teacher damaged, not the teacher that the cache names, or an answer that differs by more
    than TOLERANCES of its precision, times the largest logit where that exceeds 1; it names the picture.
    """
    cache = read_cache(cache_file, data)
    teacher = load_run(teacher_folder, "teacher")
    meta = cache.meta
    if teacher.meta.weights_sha256 != meta.teacher_sha256:
        raise UserError(f"{cache_file}: was not answered by the teacher in {teacher_folder}; give its own.")
    total = len(meta.names) * meta.views
    chosen = np.random.default_rng(seed).choice(total, min(count, total), replace=False)
    rows, views = np.divmod(chosen, meta.views)
    names = [meta.names[row] for row in rows]
    by_name = {picture.name: picture for picture in data.pictures}
    lumas = load_lumas((by_name[name] for name in names), meta.preprocess)
    now = answer(teacher, _seen(meta, names, lumas, views))
    before = cache.logits[rows, views]
    differences = np.abs(now - before).max(axis=1)
    allowed = TOLERANCES[meta.recipe.teacher.fit.precision] * np.maximum(1, np.abs(before).max(axis=1))
    worst = int((differences / allowed).argmax())
    if not differences[worst] <= allowed[worst]:
        raise UserError(
            f"{cache_file}: the teacher now answers view {views[worst]} of {names[worst]!r} with logits that differ by "
            f"{differences[worst]:.4g} (at most {allowed[worst]:.4g} are expected); remove the file and make it again."
        )
    return float(differences.max())


def _seen(meta: CacheMeta, names, lumas: np.ndarray, views) -> np.ndarray:
    """(N, H, W) uint8: one numbered view of each of N pictures. lumas (N, H, W) uint8; names, views: N of each."""
    seen = (view_of(u, None, meta.augment, meta.view_seed, n, int(v))[0] for u, n, v in zip(lumas, names, views))
    return np.stack(list(seen))
