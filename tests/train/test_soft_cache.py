"""The file of soft targets: whole, believed only unaltered, and only for the very views it answers."""

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file
from soft_caches import meta_of, written
from tiny_recipe import write_tiny_recipe

from device import schema
from device.errors import UserError
from train.data.busi import DataSet, read_dataset
from train.recipe import Augment, Recipe, load_recipe
from train.soft import cache as module
from train.soft.cache import Cache, check_views, read_cache, read_folders, write_cache

SPLIT = ("[distill]", "[split]\nfolds = 3\n\n[distill]\nviews = 3")


@pytest.fixture(scope="module")
def data(phantoms: Path) -> DataSet:
    return read_dataset(phantoms)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return load_recipe(write_tiny_recipe(tmp_path_factory.mktemp("recipe") / "tiny.toml", SPLIT))


@pytest.fixture(scope="module")
def cache(data: DataSet, tiny: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return written(tmp_path_factory.mktemp("caches"), data, meta_of(data, tiny, 0, 1))


def test_what_is_read_is_what_was_written(cache: Cache, data: DataSet) -> None:
    again = read_cache(cache.path, data)
    assert (again.meta, again.sha256) == (cache.meta, cache.sha256)
    np.testing.assert_array_equal(again.logits, cache.logits)
    np.testing.assert_array_equal(again.looks, cache.looks)
    assert again.logits.shape == (48, 3, 3)
    assert again.logits.dtype == np.float32
    assert len(again.meta.trained) == 24
    assert cache.path.stat().st_size < 40_000


def test_the_header_says_it_without_this_software(cache: Cache, tiny: Recipe) -> None:
    with safe_open(cache.path, framework="numpy") as stream:
        content = json.loads(stream.metadata()["soft_targets"])["meta"]
    assert content["names"] == list(cache.meta.names)
    assert content["augment"] == schema.dump(tiny.augment)
    assert content["recipe"]["split"]["val_fold"] == 0
    assert content["trained"] == cache.meta.trained


def test_equal_content_makes_equal_bytes(cache: Cache, tmp_path: Path) -> None:
    again = write_cache(tmp_path / "a.safetensors", cache.meta, cache.logits, cache.looks)
    assert again.path.read_bytes() == cache.path.read_bytes()
    other = cache.logits.copy()
    other[-1, -1, -1] += 1e-3
    assert write_cache(tmp_path / "b.safetensors", cache.meta, other, cache.looks).sha256 != cache.sha256


def test_a_write_that_fails_leaves_the_old_file(
    cache: Cache, data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.safetensors"
    write_cache(path, cache.meta, cache.logits, cache.looks)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", refuse)
        with pytest.raises(OSError, match="No space"):
            write_cache(path, cache.meta, cache.logits + 1, cache.looks)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert read_cache(path, data).sha256 == cache.sha256
    (tmp_path / ".c.safetensors.x7").write_bytes(b"half")  # what a power cut leaves
    write_cache(path, cache.meta, cache.logits, cache.looks)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), new=st.integers(1, 255), cut=st.booleans())
def test_no_altered_or_cut_file_is_believed(
    cache: Cache, data: DataSet, tmp_path: Path, where: float, new: int, cut: bool
) -> None:
    whole = cache.path.read_bytes()
    at = int(where * len(whole))
    path = tmp_path / "altered.safetensors"
    path.write_bytes(whole[:at] if cut else whole[:at] + bytes([whole[at] ^ new]) + whole[at + 1 :])
    try:
        found = read_cache(path, data)
    except UserError as error:
        found, said = None, str(error)
    if found is None:
        assert str(path) in said
    else:  # white space in the header
        assert found.meta == cache.meta
        np.testing.assert_array_equal(found.logits, cache.logits)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=300), st.recursive(st.none() | st.integers() | st.text(), st.lists)))
def test_no_other_file_is_read(data: DataSet, tmp_path: Path, content: object) -> None:
    path = tmp_path / "other.safetensors"
    if not isinstance(content, bytes):
        header = json.dumps({"__metadata__": {"soft_targets": json.dumps({"meta": content})}}).encode()
        content = struct.pack("<Q", len(header)) + header
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"other\.safetensors"):
        read_cache(path, data)


def test_a_logit_that_was_changed_is_noticed_wherever_it_stands(cache: Cache, data: DataSet, tmp_path: Path) -> None:
    path = tmp_path / "altered.safetensors"
    with safe_open(cache.path, framework="numpy") as stream:
        header = stream.metadata()
    for row in (0, 20, 47):
        logits = cache.logits.copy()
        logits[row, 2, 1] += 1e-6 + abs(logits[row, 2, 1]) * 1e-6
        save_file({"logits": logits, "looks": cache.looks}, path, header)
        with pytest.raises(UserError, match="altered since"):
            read_cache(path, data)
    save_file({"logits": cache.logits, "looks": cache.looks}, path, header)
    assert read_cache(path, data).sha256 == cache.sha256


def test_a_name_that_was_taken_from_the_training_list_is_noticed(cache: Cache, data: DataSet, tmp_path: Path) -> None:
    with safe_open(cache.path, framework="numpy") as stream:
        content = json.loads(stream.metadata()["soft_targets"])
    content["meta"]["trained"].popitem()
    path = tmp_path / "altered.safetensors"
    save_file({"logits": cache.logits, "looks": cache.looks}, path, {"soft_targets": json.dumps(content)})
    with pytest.raises(UserError, match="altered since"):
        read_cache(path, data)


REFUSED: list[tuple[str, Callable[[dict], object]]] = [
    ("version 1", lambda c: c.update(schema_version=2)),
    ("version 1", lambda c: c.pop("schema_version")),
    ("unknown key 'nmes'", lambda c: c.update(nmes=c.pop("names"))),
    ("'augment.flipp'", lambda c: c["augment"].update(flipp=1)),
    ("the key 'hardware' is missing", lambda c: c.pop("hardware")),
    ("this software uses", lambda c: c.update(classes=["normal", "benign", "malignant"])),
    ("have the shape", lambda c: c["names"].pop()),
    ("have the shape", lambda c: c.update(views=2)),
    ("each once", lambda c: c["names"].append(c["names"][0])),
    ("the teacher knew it", lambda c: c["trained"].update({c["names"][5]: "g"})),
    ("is not 'last'", lambda c: c["recipe"]["teacher"]["fit"].update(select="best")),
    ("holds others", lambda c: c.update(data_fingerprint="0" * 64)),
    ("holds others", lambda c: c["trained"].update({"benign (900).png": "g"})),
]


@pytest.mark.parametrize(("said", "change"), REFUSED)
def test_a_whole_file_that_does_not_fit(
    said: str, change: Callable[[dict], object], cache: Cache, data: DataSet, tmp_path: Path
) -> None:
    content = schema.dump(cache.meta)
    change(content)
    tensors = {"logits": cache.logits, "looks": cache.looks}
    header = {"sha256": module._digest(content, tensors), "meta": content}
    path = tmp_path / "c.safetensors"
    save_file(tensors, path, {"soft_targets": json.dumps(header)})
    with pytest.raises(UserError) as refused:
        read_cache(path, data)
    assert said in str(refused.value)
    assert str(path) in str(refused.value)


def test_logits_that_are_no_numbers(cache: Cache, data: DataSet, tmp_path: Path) -> None:
    for wrong in (np.nan, np.inf):
        logits = cache.logits.copy()
        logits[3, 1, 2] = wrong
        path = write_cache(tmp_path / "c.safetensors", cache.meta, logits, cache.looks).path
        with pytest.raises(UserError, match="not finite"):
            read_cache(path, data)


def test_folders_hold_caches_or_a_folder_of_them(cache: Cache, data: DataSet, tiny: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "out"
    other = written(out / "cache", data, meta_of(data, tiny, 0, 2))
    found = read_folders([out, cache.path.parent, out / "cache", out], data)
    assert {one.sha256 for one in found} == {cache.sha256, other.sha256}, "the same file counts once"
    assert [one.sha256 for one in found] == sorted(one.sha256 for one in found)
    for folder in (tmp_path / "none", tmp_path, tmp_path / "file"):
        (tmp_path / "file").write_text("")
        with pytest.raises(UserError, match="holds no soft targets"):
            read_folders([folder], data)
    write_cache(out / "cache" / "twin.safetensors", other.meta, other.logits + 1, other.looks)
    with pytest.raises(UserError, match="one teacher; remove one"):
        read_folders([out], data)


def test_the_views_must_be_the_students(cache: Cache, data: DataSet, tiny: Recipe) -> None:
    check_views(cache, data, tiny)
    check_views(cache, data, replace(tiny, distill=replace(tiny.distill, views=1)))  # more than enough are there
    for change, said in (
        ({"augment": replace(tiny.augment, rotate=6.0)}, "its augment is"),
        ({"preprocess": replace(tiny.preprocess, height=96)}, "its preprocess is"),
        ({"distill": replace(tiny.distill, view_seed=1)}, "its distill.view_seed is 0"),
        ({"distill": replace(tiny.distill, views=4)}, "holds 3 views of each picture, but the recipe wants 4"),
    ):
        with pytest.raises(UserError) as refused:
            check_views(cache, data, replace(tiny, **change))
        assert said in str(refused.value)
        assert str(cache.path) in str(refused.value)


def test_a_mean_answer_serves_another_size_and_augmentation(cache: Cache, data: DataSet, tiny: Recipe) -> None:
    mean = replace(tiny.distill, targets="mean")
    other = {"preprocess": replace(tiny.preprocess, height=96), "augment": replace(tiny.augment, rotate=6.0)}
    check_views(cache, data, replace(tiny, distill=mean, **other))
    for wrong in (replace(mean, view_seed=1), replace(mean, views=4)):
        with pytest.raises(UserError):
            check_views(cache, data, replace(tiny, distill=wrong))


def test_another_version_of_the_augmentation_is_noticed(
    cache: Cache, data: DataSet, tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rounded(luma, mask, *rest):  # what another processor's rounding may do
        seen, mask = original(luma, mask, *rest)
        return np.where(seen < 255, seen + (seen % 2), seen).astype(np.uint8), mask

    def mirrored(luma, mask, augment: Augment, seed: int, name: str, number: int):
        seen, mask = original(luma, mask, augment, seed, name, number)
        return (seen[:, ::-1] if number == 2 and name == cache.meta.names[-1] else seen), mask

    original = module.view_of
    monkeypatch.setattr(module, "view_of", rounded)
    check_views(cache, data, tiny)
    monkeypatch.setattr(module, "view_of", mirrored)
    with pytest.raises(UserError, match="no longer") as refused:
        check_views(cache, data, tiny)
    assert repr(cache.meta.names[-1]) in str(refused.value)
