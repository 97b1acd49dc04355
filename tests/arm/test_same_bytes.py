"""The same file, the same picture: what an emulated Raspberry Pi 4 and 5 answer, beside what this machine answers."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import answers
import cv2
import machine
import numpy as np
import pytest

from device.bundle import Bundle, load_bundle, write_bundle
from device.errors import UserError
from device.phantom import CLASSES, make_phantom
from device.preprocess import prepare, read_picture
from device.runtime import find_backend, open_bundle
from device.shipped import shipped

HOST = "this machine"
CPUS = list(machine.CPUS)
# OpenCV's area interpolation is not alike to the last grey level on both (docs/arm.md).
MAX_STEPS = 12  # of 255: what a grey level in a few pixels grows to at the logits; 8 in 151 pictures (docs/arm.md)
SHIPPED, PREPARED, ALTERED, TINY = range(4)  # the questions
NAMES = ("whole frames", "the same luma", "altered model", "tiny model")

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Answers:
    """What one machine said: see `answers.answer`."""

    about: dict
    arrays: dict[str, np.ndarray]

    def luma(self, question: int) -> np.ndarray:
        return self.arrays[f"luma/{question}"]

    def output(self, question: int) -> np.ndarray:
        return self.arrays[f"output/{question}"]

    def mask(self, question: int) -> np.ndarray | None:
        return self.arrays.get(f"mask/{question}")

    def verdicts(self, question: int) -> list[list[str]]:
        return [said["verdicts"] for said in self.about["questions"] if said["question"] == question]


def draw_pictures(folder: Path) -> None:
    """Sixteen PNG files, grey and colour, smaller and larger than the model's input, and of just that size."""
    rng = np.random.default_rng(20)
    drawn = {f"phantom-{c}-{h}": make_phantom(c, 5, (h, w)).image for c in CLASSES for h, w in ((384, 512), (600, 800))}
    for label in CLASSES:  # as a grabber gives them: colour, 4:3
        grey = make_phantom(label, 6, (480, 640)).image
        drawn[f"colour-{label}"] = np.dstack([grey, np.roll(grey, 1, 1), 255 - grey // 2])
    ramp = np.linspace(0, 255, 224).astype(np.uint8)
    drawn |= {
        "black": np.zeros((480, 640), np.uint8),
        "white": np.full((480, 640), 255, np.uint8),
        "ramp-across": np.tile(ramp, (224, 1)),
        "ramp-down": np.tile(ramp[:, None], (1, 224)),
        "noise": rng.integers(0, 256, (224, 224), np.uint8),
        "noise-colour": rng.integers(0, 256, (101, 333, 3), np.uint8),
        "noise-large": rng.integers(0, 256, (720, 1280), np.uint8),
    }
    folder.mkdir()
    for name, picture in drawn.items():
        assert cv2.imwrite(str(folder / f"{name}.png"), picture)


def prepare_here(pictures: Path, bundle: Bundle, folder: Path) -> Path:
    """The same pictures as this machine's model input: at that size `prepare` hands them on as they are."""
    folder.mkdir()
    for path in pictures.glob("*.png"):
        assert cv2.imwrite(str(folder / path.name), prepare(read_picture(path), bundle.meta.preprocess))
    return folder


def with_an_altered_layer(bundle: Bundle, folder: Path) -> Path:
    """A valid bundle whose network differs in one layer: the weights of the largest kernel are negated.

    Not of one weight alone: a channel may be dead, and the answers the same.
    """
    interpreter = open_bundle(bundle)._interpreter
    details = [d for d in interpreter.get_tensor_details() if d["dtype"] == np.int8 and d["shape"].size == 4]
    model = bundle.model_path.read_bytes()
    for detail in sorted(details, key=lambda d: -int(np.prod(d["shape"]))):
        try:
            weights = interpreter.get_tensor(detail["index"]).tobytes()
        except ValueError:  # an activation
            continue
        if model.count(weights) == 1:
            at = model.index(weights)
            file = folder.with_suffix(".tflite")
            negated = (-np.frombuffer(weights, np.int8)).tobytes()  # no -128, which a quantiser never writes
            file.write_bytes(model[:at] + negated + model[at + len(weights) :])
            return write_bundle(folder, file, replace(bundle.meta, name="altered")).folder
    raise AssertionError(f"{bundle.model_path}: no kernel found in the file")


@pytest.fixture(scope="session")
def arm() -> machine.Machine:
    """The emulated machine; only the environment variable skips what needs it."""
    if os.environ.get(machine.OFF) == "1":
        pytest.skip(f"{machine.OFF}=1: the comparison with Arm was switched off")
    try:
        return machine.prepare()
    except UserError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="module", params=shipped(), ids=lambda path: path.name)
def said(
    request: pytest.FixtureRequest, arm: machine.Machine, bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Answers]:
    """The answers of this machine and of each emulated CPU to the same questions, about each model that ships."""
    folder = tmp_path_factory.mktemp("arm")
    pictures = folder / "pictures"
    draw_pictures(pictures)
    ships = load_bundle(request.param)
    tiny = load_bundle(bundle_dir / "int8-full")
    prepared = prepare_here(pictures, ships, folder / "prepared")
    questions = [
        (pictures, ships.folder, "1"),
        (prepared, ships.folder, "1,4"),
        (prepared, with_an_altered_layer(ships, folder / "altered"), "1"),
        (prepare_here(pictures, tiny, folder / "tiny"), tiny.folder, "1,4"),
    ]
    words = [str(word) for question in questions for word in question]
    found = {}
    for name in (HOST, *CPUS):
        file = folder / f"{name}.npz"
        if name == HOST:
            command = [sys.executable, answers.__file__, file, *words]
            environment = os.environ | {"PYTHONPATH": str(machine.ROOT)}
            subprocess.run(command, env=environment, check=True, capture_output=True)
        else:
            arm.run(name, answers.__file__, file, *words)
        with np.load(file) as loaded:
            arrays = dict(loaded)
        found[name] = Answers(json.loads(str(arrays.pop("about"))), arrays)
    return found


@pytest.mark.parametrize("cpu", CPUS)
def test_it_is_an_arm_with_the_hosts_interpreter_and_xnnpack_does_the_work(said: dict[str, Answers], cpu: str) -> None:
    assert said[cpu].about["machine"] == "aarch64"
    assert said[cpu].about["dot_product"] == (cpu == "cortex-a76")  # else both would run the same kernels
    for name in (HOST, cpu):
        for question in said[name].about["questions"]:
            assert question["interpreter"] == find_backend()[1]
            assert question["delegated"] >= 1, f"{name}: XNNPACK was not used, so nothing was compared"


def test_a_run_without_xnnpack_would_be_noticed() -> None:
    from ai_edge_litert import interpreter

    model = open_bundle(load_bundle(shipped()[0]))
    assert answers.delegated(model) >= 1
    plain = interpreter.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    model._interpreter = interpreter.Interpreter(str(model.path), experimental_op_resolver_type=plain)
    model._interpreter.allocate_tensors()
    assert answers.delegated(model) == 0


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("question", [pytest.param(PREPARED, id="shipped"), pytest.param(TINY, id="tiny")])
def test_same_bytes(said: dict[str, Answers], cpu: str, question: int) -> None:
    here, there = said[HOST], said[cpu]
    assert here.luma(question).tobytes() == there.luma(question).tobytes()
    assert here.output(question).dtype.itemsize == 1
    assert here.output(question).tobytes() == there.output(question).tobytes()


def _bytes(mask: np.ndarray | None) -> bytes:
    return b"" if mask is None else mask.tobytes()


@pytest.mark.parametrize("cpu", CPUS)
def test_an_outline_is_the_same_bytes(said: dict[str, Answers], cpu: str) -> None:
    """Of the prepared luma, where the network outlines; how far the whole frames' are apart is printed."""
    here, there = said[HOST].mask(PREPARED), said[cpu].mask(PREPARED)
    assert _bytes(here) == _bytes(there)
    if here is not None:
        assert here.dtype.itemsize == 1
        assert len({one.tobytes() for one in here[0]}) > len(here[0]) // 2  # the pictures are told apart
        steps = np.abs(said[HOST].mask(SHIPPED).astype(int) - said[cpu].mask(SHIPPED))
        print(f"{cpu}, whole frames: {(steps > 0).mean():.2e} of the mask's numbers differ, by at most {steps.max()}")


@pytest.mark.parametrize("question", [SHIPPED, PREPARED, ALTERED, TINY])
def test_every_arm_and_every_number_of_threads_gives_the_same_bytes(said: dict[str, Answers], question: int) -> None:
    first, *others = [said[cpu] for cpu in CPUS]
    for other in others:
        assert first.luma(question).tobytes() == other.luma(question).tobytes()
        assert first.output(question).tobytes() == other.output(question).tobytes()
        assert _bytes(first.mask(question)) == _bytes(other.mask(question))
    for one in said.values():
        assert {row.tobytes() for row in one.output(question)} == {one.output(question)[0].tobytes()}


@pytest.mark.parametrize("cpu", CPUS)
def test_the_shipped_model_answers_within_a_few_steps(said: dict[str, Answers], cpu: str) -> None:
    for question in (SHIPPED, PREPARED):
        steps = np.abs(said[HOST].output(question).astype(int) - said[cpu].output(question))
        print(
            f"{cpu}, {NAMES[question]}: {(steps.max(axis=(0, 2)) > 0).sum()} of {steps.shape[1]} pictures differ, "
            f"by at most {steps.max()} of 255 steps"
        )
        assert steps.max() <= MAX_STEPS
        (here, *_), (there, *_) = said[HOST].verdicts(question), said[cpu].verdicts(question)
        assert sum(a != b for a, b in zip(here, there)) <= 1, "more than one picture so near a limit"


@pytest.mark.parametrize("cpu", CPUS)
def test_a_prepared_frame_is_at_most_one_grey_level_apart(said: dict[str, Answers], cpu: str) -> None:
    levels = np.abs(said[HOST].luma(SHIPPED).astype(int) - said[cpu].luma(SHIPPED))
    assert levels.max() <= 1
    assert (levels > 0).mean() < 1e-3


@pytest.mark.parametrize("name", [HOST, *CPUS])
def test_an_altered_layer_or_another_picture_gives_other_bytes(said: dict[str, Answers], name: str) -> None:
    mine = said[name].output(PREPARED)[0]
    assert mine.tobytes() != said[name].output(ALTERED)[0].tobytes()
    assert mine.tobytes() != np.roll(mine, 1, axis=0).tobytes()
    assert len({row.tobytes() for row in mine}) > len(mine) // 2  # the pictures are told apart
