"""The interpreter, on real TFLite files: every variant, other networks, and files that are none."""

import copy
import importlib.metadata
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runtime_files import flat, pictures, tflite
from tiny_bundle import CLASSES, LUMA_OF_CLASS, SIZE

from device import runtime, schema
from device.bundle import META_FILE, MODEL_FILE, VARIANTS, Tensor, load_bundle
from device.decide import ABSTAIN, decide
from device.errors import UserError
from device.runtime import Model, find_backend, open_bundle

ROOT = Path(runtime.__file__).parents[1]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_gives_the_known_verdicts(bundle_dir: Path, variant: str) -> None:
    bundle = load_bundle(bundle_dir / variant)
    model = open_bundle(bundle)
    assert model.backend == f"ai-edge-litert {importlib.metadata.version('ai-edge-litert')}"
    for label, luma in LUMA_OF_CLASS.items():
        logits = model.logits(flat(luma))
        assert (logits.shape, logits.dtype) == ((3,), np.float32)
        assert decide(logits, bundle.meta).label == label == CLASSES[int(logits.argmax())]
    for between in (84, 172):
        assert decide(model.logits(flat(between)), bundle.meta).label == ABSTAIN


@pytest.mark.parametrize("variant", VARIANTS)
def test_tensors_are_read_from_the_file(bundle_dir: Path, variant: str) -> None:
    model = Model(bundle_dir / variant / MODEL_FILE)
    if variant == "int8-full":
        assert model.input == Tensor((1, SIZE, SIZE, 1), "NHWC", "uint8", 1.0, 0)
        assert (model.output.shape, model.output.layout, model.output.dtype) == ((1, 3), "NC", "int8")
        assert 0 < model.output.scale < 1
    else:
        assert model.input == Tensor((1, SIZE, SIZE, 1), "NHWC", "float32")
        assert model.output == Tensor((1, 3), "NC", "float32")


def test_quantised_logits_stay_within_quantisation_of_float32(bundle_dir: Path) -> None:
    exact = Model(bundle_dir / "float32" / MODEL_FILE)
    full = Model(bundle_dir / "int8-full" / MODEL_FILE)
    half = Model(bundle_dir / "float16" / MODEL_FILE)
    for picture in pictures():
        wanted = exact.logits(picture)
        got = full.logits(picture)
        assert np.abs(half.logits(picture) - wanted).max() < 0.05
        inside = np.abs(wanted / full.output.scale + full.output.zero_point) <= 127  # else int8 has to clip
        assert np.abs(got - wanted)[inside].max() < 3 * full.output.scale
        # What comes out is a stored int8 value put back to scale.
        stored = got / np.float32(full.output.scale) + full.output.zero_point
        assert np.abs(stored - stored.round()).max() < 1e-3
        assert stored.min() > -128.5
        assert stored.max() < 127.5


def test_logits_do_not_depend_on_what_was_asked_before(bundle_dir: Path) -> None:
    for variant in VARIANTS:
        model = Model(bundle_dir / variant / MODEL_FILE)
        first = model.logits(flat(128))
        kept = first.copy()
        model.logits(flat(255))
        assert np.array_equal(first, kept), "the answer is a view of the interpreter's memory"
        assert np.array_equal(model.logits(flat(128)), kept)


@pytest.mark.parametrize("variant", VARIANTS)
def test_views_and_read_only_pictures_count_as_their_copies(bundle_dir: Path, variant: str) -> None:
    model = Model(bundle_dir / variant / MODEL_FILE)
    big = np.random.default_rng(1).integers(0, 256, (SIZE * 2, SIZE * 2), dtype=np.uint8)
    big.flags.writeable = False
    for view in (big[:SIZE, :SIZE], big[::2, 1::2], big[:SIZE, :SIZE].T, big[SIZE::-1, :SIZE][:SIZE]):
        assert np.array_equal(model.logits(view), model.logits(view.copy()))


def test_two_threads_give_the_bytes_of_one(bundle_dir: Path) -> None:
    one, two = (Model(bundle_dir / "int8-full" / MODEL_FILE, threads) for threads in (1, 2))
    assert (one.threads, two.threads) == (1, 2)
    for picture in pictures():
        assert one.logits(picture).tobytes() == two.logits(picture).tobytes()


COUNT_THREADS = """
import os, sys
import numpy as np
from device.runtime import Model
counts = []
for threads in (1, 3):
    before = len(os.listdir("/proc/self/task"))
    model = Model(sys.argv[1], threads)
    model.logits(np.zeros(model.input.shape[1:3], np.uint8))
    counts.append(len(os.listdir("/proc/self/task")) - before)
print(*counts)
"""


def test_the_interpreter_gets_the_threads_that_were_asked_for(bundle_dir: Path) -> None:
    # The calling thread works too, hence one less than asked for.
    assert _in_a_child(COUNT_THREADS, bundle_dir / "int8-full" / MODEL_FILE) == ["0 2"]


@pytest.mark.parametrize("variant", ["float32", "int8-full"])
@pytest.mark.parametrize(
    "luma",
    [
        np.zeros((SIZE, SIZE), np.float32),
        np.zeros((SIZE, SIZE), np.int8),
        np.zeros((SIZE, SIZE, 1), np.uint8),
        np.zeros((1, SIZE, SIZE, 1), np.uint8),
        np.zeros((SIZE, SIZE - 1), np.uint8),
        np.zeros((SIZE // 2, SIZE * 2), np.uint8),
        np.zeros((0, 0), np.uint8),
    ],
    ids=lambda luma: f"{luma.dtype}{luma.shape}",
)
def test_another_shape_or_type_of_picture_is_refused(bundle_dir: Path, variant: str, luma: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"^the model takes uint8 luma \(64, 64\), not "):
        Model(bundle_dir / variant / MODEL_FILE).logits(luma)


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_are_at_least_one(bundle_dir: Path, threads: int) -> None:
    with pytest.raises(UserError, match=f"threads must be 1 or more, not {threads}"):
        open_bundle(load_bundle(bundle_dir / "float32"), threads)


def _mean(x: Any) -> Any:
    import tensorflow as tf

    return tf.reshape(tf.reduce_mean(x, axis=[1, 2])[:, :1], (1, 1)) * tf.constant([[1.0, 2.0, 3.0]])


def _picture_out(x: Any) -> Any:
    return x + 1.0


def _two_in(x: Any, y: Any) -> Any:
    return _mean(x + y)


def _whole_numbers(x: Any) -> Any:
    import tensorflow as tf

    return _mean(tf.cast(x, tf.float32))


def _inverse(x: Any) -> Any:
    import tensorflow as tf

    return _mean(tf.reshape(tf.linalg.inv(tf.reshape(x, (8, 8))), (1, 8, 8, 1)))


@pytest.mark.filterwarnings("ignore:Statistics for quantized inputs")
@pytest.mark.parametrize(
    ("function", "shapes", "options", "sentence"),
    [
        (_mean, [(1, 8, 8, 3)], {}, "expected one luma picture in and one row of logits out; this is another network."),
        (_picture_out, [(1, 8, 8, 1)], {}, "expected one luma picture in and one row of logits out;"),
        (_two_in, [(1, 8, 8, 1)] * 2, {}, "expected one luma picture in and one row of logits out;"),
        (
            _whole_numbers,
            [(1, 8, 8, 1)],
            {"dtype": "int32"},
            "a tensor of int32 where float32, uint8 or int8 is wanted; this is another network.",
        ),
        (
            _mean,
            [(1, SIZE, SIZE, 1)],
            {"int8": "uint8", "top": 1.0},
            "a uint8 input must have scale 1 and zero point 0 to take luma directly.",
        ),
        (
            _mean,
            [(1, SIZE, SIZE, 1)],
            {"int8": "int8", "top": 1.0},
            "an int8 input must have scale 1 to take luma - 128 directly.",
        ),
    ],
)
def test_other_networks_are_refused(
    tmp_path: Path, function: Callable, shapes: list[tuple], options: dict, sentence: str
) -> None:
    path = tmp_path / "other.tflite"
    path.write_bytes(tflite(function, *shapes, **options))
    with pytest.raises(UserError) as caught:
        Model(path)
    assert str(caught.value).startswith(f"{path}: {sentence}")


def _in_a_child(code: str, *arguments: Path) -> list[str]:
    """The lines a fresh Python prints; an interpreter that crashes takes the child with it, not the tests."""
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"the process ended with {done.returncode}: {done.stderr[-500:]}"
    return done.stdout.splitlines()


OPEN_MODELS = """
import sys
from pathlib import Path
from device.errors import UserError
from device.runtime import Model
for path in map(Path, sys.argv[1:]):
    try:
        Model(path)
    except UserError as error:
        print(error)
"""


def test_files_that_are_no_models_are_refused_and_do_not_crash(bundle_dir: Path, tmp_path: Path) -> None:
    # Not a truncated or altered TFLite file: those crash the interpreter, and only the bundle's hash stands before it.
    rng = np.random.default_rng(0)
    model = (bundle_dir / "int8-full" / MODEL_FILE).read_bytes()
    contents = [
        b"",
        b"x",
        model[:4],
        model[:8],
        bytes(8),
        bytes(5000),
        b"text\n" * 99,
        rng.bytes(5000),
        b"TFL3" + model,
    ]
    paths = []
    for number, content in enumerate(contents):
        paths.append(tmp_path / f"{number}.tflite")
        paths[-1].write_bytes(content)
    said = _in_a_child(OPEN_MODELS, *paths, tmp_path / "missing.tflite", tmp_path)
    assert len(said) == len(contents) + 2
    for path, line in zip(paths, said):
        assert line.startswith(f"{path}: ai-edge-litert ")
        assert " cannot open this model (" in line
    for path, line in zip((tmp_path / "missing.tflite", tmp_path), said[-2:]):
        assert line == f"{path}: no such model file; give a .tflite file or a bundle folder."


def test_an_operation_that_the_device_lacks_is_refused(tmp_path: Path) -> None:
    # In a child, because LiteRT borrows the operations of a tensorflow that is loaded in the same process.
    (tmp_path / "x.tflite").write_bytes(tflite(_inverse, (1, 8, 8, 1)))
    (said,) = _in_a_child(OPEN_MODELS, tmp_path / "x.tflite")
    assert said.startswith(f"{tmp_path}/x.tflite: ai-edge-litert ")
    assert "cannot open this model (Select TensorFlow op(s)" in said


OPEN_DAMAGED_BUNDLES = """
import sys
from pathlib import Path
from device.bundle import load_bundle
from device.errors import UserError
from device.runtime import open_bundle
folder = Path(sys.argv[1])
path = folder / "model.tflite"
good = path.read_bytes()
lengths = [0, 4, 64, 256, 1000, len(good) // 2, len(good) - 1]
flipped = [good[:n] + bytes([good[n] ^ 255]) + good[n + 1:] for n in range(0, len(good), 200)]
for data in [good[:n] for n in lengths] + flipped + [good]:
    path.write_bytes(data)
    try:
        open_bundle(load_bundle(folder))
    except UserError as error:
        print("refused" if "wrong hash" in str(error) else error)
    else:
        print("opened")
"""


def test_a_damaged_model_never_reaches_the_interpreter(bundle_dir: Path, tmp_path: Path) -> None:
    for variant in ("int8-full", "float32"):
        folder = Path(shutil.copytree(bundle_dir / variant, tmp_path / variant))
        said = _in_a_child(OPEN_DAMAGED_BUNDLES, folder)
        assert said == ["refused"] * (len(said) - 1) + ["opened"]
        assert len(said) > 25


@pytest.mark.parametrize(
    ("variant", "tensor", "change"),
    [
        ("int8-full", "output", {"scale": 0.5}),
        ("int8-full", "output", {"zero_point": 1}),
        ("int8-full", "input", {"dtype": "int8", "zero_point": -128}),
        ("int8-full", "input", {"scale": 0.9}),
        ("float32", "input", {"dtype": "uint8", "scale": 1.0, "zero_point": 0}),
        ("float32", "output", {"layout": "NHWC"}),
    ],
)
def test_metadata_that_differs_from_the_file_is_refused(
    bundle_dir: Path, tmp_path: Path, variant: str, tensor: str, change: dict
) -> None:
    folder = Path(shutil.copytree(bundle_dir / variant, tmp_path / "bundle"))
    data = json.loads((folder / META_FILE).read_text())
    data[tensor] |= change
    (folder / META_FILE).write_text(json.dumps(data))
    bundle = load_bundle(folder)
    with pytest.raises(UserError, match=f"its {tensor} tensor is Tensor.* but bundle.json says Tensor"):
        open_bundle(bundle)


def test_another_models_size_or_classes_are_refused(bundle_dir: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bundle_dir / "float32", tmp_path / "bundle"))
    good = json.loads((folder / META_FILE).read_text())
    wider, fewer = copy.deepcopy(good), copy.deepcopy(good)
    wider["preprocess"]["width"] = wider["input"]["shape"][2] = 96
    fewer["classes"], fewer["output"]["shape"] = ["benign", "malignant"], [1, 2]
    for data, tensor in ((wider, "input"), (fewer, "output")):
        (folder / META_FILE).write_text(json.dumps(data))
        with pytest.raises(UserError, match=f"its {tensor} tensor is"):
            open_bundle(load_bundle(folder))


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
def test_tensorflow_serves_where_litert_is_absent(bundle_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_litert = Model(bundle_dir / "int8-full" / MODEL_FILE)
    absent = [(f"no_such_{module}", name) for module, name in runtime._BACKENDS[:2]]
    monkeypatch.setattr(runtime, "_BACKENDS", (*absent, runtime._BACKENDS[2]))
    model = open_bundle(load_bundle(bundle_dir / "int8-full"))
    assert model.backend == f"tensorflow {importlib.metadata.version('tensorflow')}"
    for picture in pictures():  # the same kernels to within one step of the output's scale
        difference = np.abs(model.logits(picture) - with_litert.logits(picture)).max()
        assert difference <= 1.01 * model.output.scale


def test_no_interpreter_and_one_without_a_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_BACKENDS", (("no_such_module", "x"), ("device.bundle", "x")))  # no Interpreter there
    with pytest.raises(UserError, match=r"No TFLite interpreter is installed; run: pip install ai-edge-litert$"):
        find_backend()
    monkeypatch.setattr(runtime, "_BACKENDS", (("ai_edge_litert.interpreter", "no-such-distribution"),))
    assert find_backend()[1] == "no-such-distribution of unknown version"


def test_describes_tensors_for_the_metadata(bundle_dir: Path) -> None:
    for variant in VARIANTS:
        data = json.loads((bundle_dir / variant / META_FILE).read_text())
        model = Model(bundle_dir / variant / MODEL_FILE)
        assert json.loads(json.dumps(schema.dump([model.input, model.output]))) == [data["input"], data["output"]]
