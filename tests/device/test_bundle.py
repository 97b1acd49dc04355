"""The contract between host and Pi: what is missing, altered or of another kind refuses, each with its sentence."""

import copy
import dataclasses
import json
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from device import RESEARCH_NOTICE, bundle, files, schema
from device.bundle import META_FILE, MODEL_FILE, VARIANTS, Estimate, Tensor, load_bundle, write_bundle
from device.errors import UserError


@pytest.fixture
def folder(bundle_dir: Path, tmp_path: Path) -> Path:
    """A bundle of its own, to be spoilt."""
    return Path(shutil.copytree(bundle_dir / "int8-full", tmp_path / "bundle"))


def _read(folder: Path) -> dict:
    return json.loads((folder / META_FILE).read_text())


def _write(folder: Path, data: Any) -> None:
    (folder / META_FILE).write_text(json.dumps(data))


def _refusal(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_bundle(folder)
    return str(caught.value)


@pytest.mark.parametrize("variant", VARIANTS)
def test_round_trip(bundle_dir: Path, tmp_path: Path, variant: str) -> None:
    loaded = load_bundle(bundle_dir / variant)
    assert loaded.meta.variant == variant
    assert loaded.meta.intended_use.startswith(RESEARCH_NOTICE)
    assert loaded.id == files.sha256_file(bundle_dir / variant / META_FILE)[:12]

    again = write_bundle(tmp_path / "deep" / "copy", loaded.model_path, loaded.meta)
    assert again.folder == tmp_path / "deep" / "copy"
    assert (again.meta, again.id) == (loaded.meta, loaded.id)
    assert sorted(os.listdir(again.folder)) == [META_FILE, MODEL_FILE]
    assert again.model_path.read_bytes() == loaded.model_path.read_bytes()
    for path in (again.folder, *again.folder.iterdir()):
        assert path.stat().st_mode & 0o044 == 0o044, "the daemon's user must be able to read it"
    assert os.listdir(tmp_path / "deep") == ["copy"]


def test_folder_or_metadata_missing(tmp_path: Path, folder: Path) -> None:
    assert _refusal(tmp_path / "no") == f"{tmp_path}/no: no such folder; give the folder of a model bundle."
    assert _refusal(folder / MODEL_FILE).endswith("model.tflite: no such folder; give the folder of a model bundle.")
    (folder / META_FILE).unlink()
    assert _refusal(folder) == f"{folder}: no bundle.json there; give the folder of a model bundle."
    (folder / META_FILE).mkdir()
    assert _refusal(folder) == f"{folder}: no bundle.json there; give the folder of a model bundle."


def test_unreadable_paths(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in (tmp_path / "loop", tmp_path / ("x" * 300)):
        with pytest.raises(UserError):
            load_bundle(path)
    (folder / META_FILE).unlink()
    (folder / META_FILE).symlink_to("/proc/self/mem")  # opens, but reading it fails
    assert "bundle.json: cannot be read (Input/output error)" in _refusal(folder)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "bundle.json: not readable as JSON (Expecting value: line 1 column 1 (char 0)); copy the bundle again."),
        (b'{"schema_version": 1', "bundle.json: not readable as JSON ("),
        (b'{"schema_version": "\xff"}', "bundle.json: not readable as JSON ("),
        (b"[" * 100_000, "bundle.json: not readable as JSON (maximum recursion depth exceeded"),
        (b'{"a":' * 100_000, "bundle.json: not readable as JSON (maximum recursion depth exceeded"),
        (b"1" * 5000, "bundle.json: not readable as JSON (Exceeds the limit"),
        (b"[1, 2]", "bundle.json: holds [1, 2] instead of a table of keys; copy the bundle again."),
        (b"null", "bundle.json: holds None instead of a table of keys; copy the bundle again."),
        (b"{}", "bundle.json: schema version None, but this software reads version 1; convert the model again"),
        (b'{"schema_version": 2, "new": 1}', "bundle.json: schema version 2, but this software reads version 1;"),
        (b'{"schema_version": "1"}', "bundle.json: schema version '1', but this software reads version 1;"),
    ],
)
def test_broken_metadata(folder: Path, content: bytes, sentence: str) -> None:
    (folder / META_FILE).write_bytes(content)
    assert sentence in _refusal(folder)


ABSENT = object()


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        (("schema_version",), True, "the key 'schema_version' must be a whole number, not True."),
        (
            ("task",),
            "chest-xray",
            "the key 'task' must be one of 'breast-ultrasound-classification', not 'chest-xray'.",
        ),
        (("variant",), "int4", "the key 'variant' must be one of 'float32', 'float16', 'int8-dynamic', 'int8-full', "),
        (("synthetic",), 1, "the key 'synthetic' must be true or false, not 1."),
        (("colour",), "red", "unknown key 'colour'"),
        (
            ("temprature",),
            1.0,
            "unknown key 'temprature' (did you mean 'temperature'?); remove it or correct its name.",
        ),
        (("preprocess", "widht"), 64, "unknown key 'preprocess.widht' (did you mean 'width'?)"),
        (("metrics", "accuracy", "hi"), 1, "unknown key 'metrics.accuracy.hi'"),
        (("temperature",), ABSENT, "the key 'temperature' is missing; add it."),
        (("training", "student_sha256"), ABSENT, "the key 'training.student_sha256' is missing; add it."),
        (("temperature",), 0, "the key 'temperature' must be above 0, not 0.0."),
        (("temperature",), float("nan"), "the key 'temperature' must be a finite number, not nan."),
        (("training", "recipe"), {"x": float("nan")}, "the key 'training.recipe.x' must be a finite number, not nan."),
        (("classes",), ["benign", "normal", "cyst"], "the key 'classes' must hold benign and malignant, each once"),
        (
            ("classes",),
            ["benign", "malignant", "benign"],
            "the key 'classes' must hold benign and malignant, each once",
        ),
        (("classes",), ["benign", "malignant"], "output.shape (1, 3) does not fit 2 classes."),
        (("classes",), "benign", "the key 'classes' must be a list, not 'benign'."),
        (
            ("preprocess", "height"),
            96,
            "input.shape (1, 64, 64, 1) does not fit preprocess, which gives (1, 96, 64, 1).",
        ),
        (("preprocess", "width"), 8, "preprocess: the input size 64 x 8 is outside 16..2048 pixels; correct it."),
        (("preprocess", "fill"), -1, "preprocess: the key 'fill' must lie in 0..255, not -1."),
        (("preprocess", "color"), "rgb", "the key 'preprocess.color' must be one of 'luma', not 'rgb'."),
        (("input", "shape"), [1, 3, 64, 64], "input.shape (1, 3, 64, 64) does not fit preprocess"),
        (("output", "shape"), [1, 4], "output.shape (1, 4) does not fit 3 classes."),
        (("input", "dtype"), "float64", "the key 'input.dtype' must be one of 'float32', 'uint8', 'int8', not"),
        (("input", "dtype"), "float32", "input: a tensor of float32 must not have a scale and a zero point."),
        (("input", "scale"), None, "input: a tensor of uint8 must have a scale and a zero point."),
        (("output", "zero_point"), None, "output: a tensor of int8 must have a scale and a zero point."),
        (("output", "scale"), 0.0, "output: the scale of a tensor of int8 must be above 0, not 0.0."),
        (("output", "zero_point"), 128, "output: the zero point 128 is no int8 value; correct it."),
        (("input", "zero_point"), -128, "input: the zero point -128 is no uint8 value; correct it."),
        (("operating_point", "malignant_threshold"), 1.5, "operating_point: the key 'malignant_threshold' must lie in"),
        (("abstain", "min_confidence"), -0.1, "abstain: the key 'min_confidence' must lie in 0..1, not -0.1."),
        (("files",), {}, "no hash for model.tflite; convert the model again."),
        (
            ("files", "../model.tflite"),
            {"bytes": 1, "sha256": "0"},
            "the file name '../model.tflite' leaves the bundle;",
        ),
        (("files", "/etc/passwd"), {"bytes": 1, "sha256": "0"}, "the file name '/etc/passwd' leaves the bundle;"),
        (("files", ".."), {"bytes": 1, "sha256": "0"}, "the file name '..' leaves the bundle; do not use this bundle."),
        (("files", ""), {"bytes": 1, "sha256": "0"}, "the file name '' leaves the bundle; do not use this bundle."),
        (("files", "more.txt"), {"bytes": 1, "sha256": "0"}, "more.txt: missing, although the bundle lists it; copy"),
        (("files", "x" * 300), {"bytes": 1, "sha256": "0"}, "cannot be read (File name too long); copy the bundle"),
        (("files", "\ud800"), {"bytes": 1, "sha256": "0"}, "missing, although the bundle lists it; copy the bundle"),
        (("files", MODEL_FILE, "bytes"), 12.0, "the key 'files.model.tflite.bytes' must be a whole number, not 12.0."),
        (("files", MODEL_FILE, "sha256"), "0" * 64, "model.tflite: wrong hash, the file is not the one the bundle"),
    ],
)
def test_each_wrong_value_has_its_sentence(folder: Path, place: tuple[str, ...], value: Any, sentence: str) -> None:
    data = _read(folder)
    table = data
    for key in place[:-1]:
        table = table[key]
    if value is ABSENT:
        del table[place[-1]]
    else:
        table[place[-1]] = value
    _write(folder, data)
    said = _refusal(folder)
    assert sentence in said
    assert said.startswith(f"{folder}/")
    assert "\n" not in said


def test_wrong_hash_wrong_size_and_missing_model(folder: Path) -> None:
    path = folder / MODEL_FILE
    good = path.read_bytes()
    for place in (0, len(good) // 2, len(good) - 1):
        flipped = bytearray(good)
        flipped[place] ^= 1
        path.write_bytes(flipped)
        assert _refusal(folder).startswith(f"{path}: wrong hash, the file is not the one")
    path.write_bytes(good[:-1])
    assert _refusal(folder) == (
        f"{path}: wrong hash and size, {len(good) - 1} bytes where the bundle was made with {len(good)}; copy it again."
    )
    path.unlink()
    assert _refusal(folder) == f"{path}: missing, although the bundle lists it; copy the bundle again."
    os.mkfifo(path)  # must not wait for a writer
    assert _refusal(folder) == f"{path}: missing, although the bundle lists it; copy the bundle again."
    path.unlink()
    path.symlink_to(path)
    assert "model.tflite" in _refusal(folder)
    path.unlink()
    path.write_bytes(good)
    load_bundle(folder)


def test_other_listed_files_are_checked_and_unlisted_ones_are_no_business_of_the_bundle(folder: Path) -> None:
    (folder / "notes.txt").write_text("unlisted")
    load_bundle(folder)
    data = _read(folder)
    data["files"]["notes.txt"] = schema.dump(bundle.file_entry(folder / "notes.txt"))
    _write(folder, data)
    load_bundle(folder)
    (folder / "notes.txt").write_text("unlisteD")
    assert f"{folder}/notes.txt: wrong hash" in _refusal(folder)


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-300, 300)
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from([10**400, "int8", "float32", "uint8", "NHWC", [1, 3], [1, 64, 64, 1], MODEL_FILE]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def _places(data: Any, above: tuple = ()) -> list[tuple]:
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [place for key, item in items for place in ((*above, key), *_places(item, (*above, key)))]


@st.composite
def _mutations(draw: st.DrawFn) -> Callable[[Any], None]:
    """One change somewhere in a tree of dicts and lists: delete, replace, add or rename."""
    where, what, junk = draw(st.integers(0, 10_000)), draw(st.sampled_from(["delete", "replace", "add"])), draw(JUNK)
    name = draw(st.text(max_size=6))

    def change(data: Any) -> None:
        places = _places(data)
        if not places:
            return
        *above, last = places[where % len(places)]
        table = data
        for key in above:
            table = table[key]
        if what == "delete":
            del table[last]
        elif what == "replace":
            table[last] = copy.deepcopy(junk)  # the same change twice would put it into itself
        elif isinstance(table, dict):
            table[name] = copy.deepcopy(junk)

    return change


def _load_or_refuse(folder: Path) -> bundle.Bundle | None:
    try:
        return load_bundle(folder)
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return None


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(changes=st.lists(_mutations(), min_size=1, max_size=3))
def test_any_change_of_the_metadata_loads_or_raises_user_error(
    folder: Path, bundle_dir: Path, changes: list[Callable[[Any], None]]
) -> None:
    data = _read(bundle_dir / "int8-full")
    before = copy.deepcopy(data)
    for change in changes:
        change(data)
    _write(folder, data)
    loaded = _load_or_refuse(folder)
    if loaded is not None:
        assert schema.load(bundle.Meta, schema.dump(loaded.meta), "x") == loaded.meta
        assert (loaded.meta == schema.load(bundle.Meta, before, "x")) == (bundle.content(loaded.meta) == before)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(
    cut=st.none() | st.floats(0, 1),
    flips=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), max_size=3),
)
@example(cut=0.0, flips=[])
def test_any_damage_of_the_bytes_loads_or_raises_user_error(
    folder: Path, bundle_dir: Path, cut: float | None, flips: list[tuple[float, int]]
) -> None:
    good = (bundle_dir / "int8-full" / META_FILE).read_bytes()
    data = bytearray(good)
    for place, pattern in flips:
        data[min(int(place * len(data)), len(data) - 1)] ^= pattern
    if cut is not None:
        del data[int(cut * len(data)) :]
    (folder / META_FILE).write_bytes(data)
    loaded = _load_or_refuse(folder)
    if loaded is not None:
        assert (loaded.id == load_bundle(bundle_dir / "int8-full").id) == (data == good)


def test_the_id_changes_with_any_change(folder: Path, tmp_path: Path) -> None:
    first = load_bundle(folder)
    ids = {first.id}
    changes: list[dict[str, Any]] = [
        {"name": "other"},
        {"temperature": 1.0000001},
        {"created": "2024-01-01T00:00:01+00:00"},
        {"operating_point": dataclasses.replace(first.meta.operating_point, malignant_threshold=0.51)},
        {"metrics": {"accuracy": Estimate(0.5)}},
        {"training": dataclasses.replace(first.meta.training, weights="other")},
    ]
    for change in changes:
        ids.add(write_bundle(tmp_path / "b", folder / MODEL_FILE, dataclasses.replace(first.meta, **change)).id)
    model = tmp_path / "model"
    model.write_bytes((folder / MODEL_FILE).read_bytes() + b"\0")
    ids.add(write_bundle(tmp_path / "b", model, first.meta).id)
    assert len(ids) == len(changes) + 2
    assert all(len(each) == 12 for each in ids)
    assert write_bundle(tmp_path / "b", folder / MODEL_FILE, first.meta).id == first.id


def _spoil_nan(meta: bundle.Meta) -> bundle.Meta:
    return dataclasses.replace(meta, metrics={"accuracy": Estimate(float("nan"))})


def _spoil_type(meta: bundle.Meta) -> bundle.Meta:
    return dataclasses.replace(meta, name=3)


@pytest.mark.parametrize(
    ("spoil", "error", "said"),
    [(_spoil_nan, ValueError, "JSON compliant"), (_spoil_type, UserError, "the key 'name' must be a text, not 3")],
)
def test_a_bundle_that_cannot_be_read_back_is_not_written(
    folder: Path, spoil: Callable[[bundle.Meta], bundle.Meta], error: type[Exception], said: str
) -> None:
    before = load_bundle(folder)
    with pytest.raises(error, match=said):
        write_bundle(folder, folder / MODEL_FILE, spoil(before.meta))
    assert load_bundle(folder) == before
    assert os.listdir(folder.parent) == ["bundle"]


def test_a_write_that_fails_leaves_the_old_bundle_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    before = load_bundle(folder)
    other = dataclasses.replace(before.meta, name="other")
    with pytest.raises(OSError, match="no-model"):
        write_bundle(folder, tmp_path / "no-model", other)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (1000, 4600):  # the model does not fit; it does (4.5 kB), bundle.json after it does not
        grown = dataclasses.replace(other, versions={"x": "y" * 5000})
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(OSError, match="too large"):
                write_bundle(folder, folder / MODEL_FILE, grown)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert load_bundle(folder) == before
    assert os.listdir(tmp_path) == ["bundle"]
    assert write_bundle(folder, folder / MODEL_FILE, other).meta.name == "other"
    assert os.listdir(tmp_path) == ["bundle"]


def test_tensors_need_a_scale_exactly_when_they_hold_integers() -> None:
    assert Tensor((1, 3), "NC", "float32").scale is None
    assert Tensor((1, 3), "NC", "int8", 0.1, -128).zero_point == -128
    for wrong in ({"scale": 1.0}, {"zero_point": 0}, {"dtype": "int8"}, {"dtype": "uint8", "scale": 1.0}):
        with pytest.raises(ValueError, match="a scale and a zero point"):
            Tensor(**{"shape": (1, 3), "layout": "NC", "dtype": "float32"} | wrong)


def test_the_notice_stands_in_every_intended_use() -> None:
    assert bundle.intended_use(False) == RESEARCH_NOTICE
    assert bundle.intended_use(True).startswith(RESEARCH_NOTICE)
    assert "synthetic phantoms" in bundle.intended_use(True)
