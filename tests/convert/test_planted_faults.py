"""Faults planted in the conversion of a trained student: each is refused, and the honest file ships."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from convert import calibration, equalise, export, fold, tflite
from convert.graph import Graph
from convert.int8_network import how_of
from convert.pipeline import Subject, subject_of
from convert.verify import gates
from convert.verify.examine import Answer, Result, examine
from convert.verify.parity import compare
from convert.verify.structure import structure_reasons
from device import main as command
from device.runtime import Model
from train.data.busi import CLASSES, read_dataset
from train.data.phantoms import write_phantoms
from train.data.splits import Split
from train.evaluation.models import candidate, split_of
from train.recipe import ConvertRecipe
from train.runs import load_run

pytestmark = pytest.mark.slow

# The mean is a whole luma level, 128: else int8's padding is half a level away from the student's, and the ONNX file
# with it, which on 64 x 64 pixels is more than its gate allows.
RECIPE = """
name = "tiny"
preprocess = { height = 64, width = 64 }
augment = { flip = 0.5, shift = 0.05, gain = 0.2 }

[student]
network = { name = "mobilenetv3_small_050", weights = "random", mean = 0.5019607843137255, std = 0.5 }
int8_epochs = 20
fit = { epochs = 30, batch = 16, lr = 2e-3, schedule = "cosine", warmup_epochs = 1.0, select = "last", ema = 0.95 }
"""
# A student of a minute's training is nearer to its borders than one that ships: int8 turns 1 % of its answers, and six
# of 288 pictures are 2 points of accuracy. The same gates hold for the honest file and for all faults.
GATES = ConvertRecipe(calibration_pictures=100, int8_agreement=0.96, accuracy_loss=0.021)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Subject, Split]:
    folder = tmp_path_factory.mktemp("faults")
    data = folder / "phantoms"
    write_phantoms(data, per_class=240, seed=11, size=(96, 128))
    (folder / "tiny.toml").write_text(RECIPE)
    out = folder / "student"
    call = ["train", "distill", data, "--no-teacher", "--recipe", folder / "tiny.toml", "--out", out]
    assert command.main([str(one) for one in call]) == 0
    run = load_run(out, "student")
    split = split_of(candidate(run), read_dataset(data))
    return subject_of(run, split, GATES, None), split


def network_of(subject: Subject, folder: Path, mean: float | None = None) -> tuple[onnx.ModelProto, int]:
    """The int8 network before its channels are made alike; mean: another one than the student was trained with."""
    deployed = export.deployable(subject.run.network, relu_activations=True)
    if mean is not None:
        deployed.mean = 255.0 * mean
    export.export_onnx(deployed, (64, 64), folder / "student.onnx")
    return fold.centred(fold.folded(onnx.load(folder / "student.onnx")))


def converted(
    subject: Subject,
    split: Split,
    folder: Path,
    mean: float | None = None,
    spoil: Callable[[onnx.ModelProto], None] | None = None,
    noise: bool = False,
    per_channel: bool = True,
) -> list[str]:
    """Convert with a fault, or none, and verify the ONNX and the int8-full file as the pipeline does; returns why
    nothing must ship."""
    drawn = calibration.draw(split.train, subject.run.meta.recipe.preprocess, GATES.calibration_pictures, 0)
    stacks = [one.lumas for one in drawn if one is not None]
    if noise:
        # A grey frame with nothing on it, as of a grabber without a signal. Its two extreme pixels keep the input's
        # scale, without which no file loads. White noise would not do: it excites the layers about as pictures do, and
        # the file of a well rounded student passes every gate.
        rng = np.random.default_rng(0)
        stacks = [rng.normal(128, 2, stack.shape).round().astype(np.uint8) for stack in stacks]
        for stack in stacks:
            stack[:, 0, 0], stack[:, -1, -1] = 0, 255
    model, centre = network_of(subject, folder, mean)
    if spoil is not None:
        spoil(model)
    model = equalise.equalised(model, [luma[None, None].astype(np.float32) - centre for luma in stacks[0]])
    onnx.save(model, folder / "student-int8.onnx")
    for number, stack in enumerate(stacks):
        np.save(folder / f"calibration-{number}.npy", stack)
    paths = tuple(str(folder / f"calibration-{number}.npy") for number in range(len(stacks)))
    int8 = str(folder / "student-int8.onnx")
    job = tflite.Job(int8, int8, centre, paths, replace(how_of(GATES), per_channel=per_channel))
    made = tflite.write_variants(job, folder / "tflite", ["int8-full"], folder / "convert.log")
    first, again = (Model(made[name]) for name in ("int8-full", tflite.AGAIN))
    exported, _ = examined(subject, "onnx-int8", lambda lumas: export.run_onnx(Path(int8), lumas, centre))
    row, logits = examined(subject, "int8-full", lambda lumas: np.stack([first.logits(luma) for luma in lumas]))
    second = np.stack([again.logits(luma) for luma in subject.held_out.lumas])
    disagrees = gates.calibration_reason(
        compare(logits, second, subject.held_out.names, CLASSES), len(stacks[0]), GATES
    )
    return (
        exported.reasons + structure_reasons("int8-full", first.path) + row.reasons + ([disagrees] if disagrees else [])
    )


def examined(subject: Subject, name: str, answer: Answer) -> tuple[Result, np.ndarray]:
    return examine(name, 1, answer, subject.held_out, subject.hard, subject.theirs.temperature, GATES)


def swap_channels(model: onnx.ModelProto) -> None:
    """Exchange two output channels of a convolution in the middle: the two that differ most."""
    graph = Graph(model)
    inner = [n for n in model.graph.node if n.op_type == "Conv" and graph.array(n.input[1]).shape[1] > 1]
    name = inner[len(inner) // 2].input[1]
    weights = graph.array(name).copy()
    size = np.abs(weights).sum(axis=(1, 2, 3))
    one, other = size.argmax(), size.argmin()
    weights[[one, other]] = weights[[other, one]]
    graph.put(name, weights)


def transpose_labels(model: onnx.ModelProto) -> None:
    """Exchange benign and malignant in the classifier."""
    graph = Graph(model)
    last = next(node for node in reversed(model.graph.node) if node.op_type == "Gemm")
    for place in (1, 2):
        graph.put(last.input[place], graph.array(last.input[place])[[1, 0, 2]])


def test_the_honest_file_passes_every_gate(trained: tuple[Subject, Split], tmp_path: Path) -> None:
    assert converted(*trained, tmp_path) == []


@pytest.mark.parametrize(
    ("fault", "file"),
    [
        ({"spoil": swap_channels}, "onnx-int8"),
        ({"mean": 0.449}, "int8-full"),
        ({"per_channel": False}, "int8-full"),
        ({"noise": True}, "int8-full"),
        ({"spoil": transpose_labels}, "int8-full"),
    ],
    ids=["swapped channels", "wrong mean", "weights per tensor", "calibrated on noise", "transposed labels"],
)
def test_a_planted_fault_is_refused(trained: tuple[Subject, Split], tmp_path: Path, fault: dict, file: str) -> None:
    """file: the one that shows it. Two channels of an inner layer may drown in the noise of int8; the ONNX file, which
    must answer exactly as PyTorch, has none."""
    reasons = converted(*trained, tmp_path, **fault)
    assert any(reason.startswith(file) for reason in reasons), reasons
