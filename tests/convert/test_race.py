"""Who dies, hangs or answers otherwise is out of the race with a reason; ratios and limits against hand values."""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
import tensorflow as tf
import torch
from ai_edge_litert.interpreter import Interpreter
from onnx import TensorProto, helper
from small_models import converter_of

from convert.race import limit, models, subject
from convert.race.__main__ import _chosen
from convert.race.agreement import error, refusal
from convert.race.child import Child, Failed
from convert.race.engines import BASE, ENGINES
from convert.race.report import content, figures, plot, table
from convert.race.rounds import Entry, Load, Row, race
from convert.race.speed import median_of_rounds, speedup
from device.errors import UserError

LUMAS = np.random.default_rng(3).integers(0, 256, (6, 16, 16), np.uint8)
WEIGHTS = np.random.default_rng(4).normal(0, 0.05, (3, 3, 1, 3)).astype(np.float32)


def script(folder: Path, body: str) -> Path:
    path = folder / "competitor.py"
    path.write_text(body)
    return path


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("raise ValueError('no such operator')", r"it died \(status 1\): ValueError: no such operator"),
        ("import os; os.abort()", r"it died \(signal 6\)"),
        ("import sys; sys.stdin.read()", "it did not answer `load` within 0.2 s"),
        ("import sys; sys.exit(0)", r"it died \(status 0\): it said nothing"),
    ],
)
def test_a_competitor_that_dies_or_hangs_says_why(tmp_path: Path, body: str, why: str) -> None:
    with Child.of(sys.executable, script=script(tmp_path, body)) as child, pytest.raises(Failed, match=why):
        child.ask("load", 0.2 if "read" in body else 60.0)


def test_what_cannot_be_started_says_so_and_a_dead_one_goes_on_being_dead(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="none cannot be started"):
        Child.of(tmp_path / "none")
    with Child.of(sys.executable, script=script(tmp_path, "raise SystemExit('gone')")) as child:
        for _ in range(2):
            with pytest.raises(Failed, match="gone"):
                child.ask("load", 60.0)


def test_what_a_library_prints_is_no_answer(tmp_path: Path) -> None:
    np.save(tmp_path / "lumas.npy", LUMAS)
    (tmp_path / "way.py").write_text(
        "def open_way(file, threads):\n    print('hello, says a library')\n    return lambda x: [x.sum(), threads]\n"
    )
    with Child.of(sys.executable) as child:
        way = str(tmp_path / "way.py")
        assert child.ask("load", 60.0, kind="way", file="", threads=2, options={"script": way})["version"] == "way.py"
        answers = child.ask("answer", 60.0, inputs=str(tmp_path / "lumas.npy"))["answers"]
        assert answers == [[float(luma.sum()), 2.0] for luma in LUMAS]
        took = child.ask("time", 60.0, count=3)
    assert [len(took[clock]) for clock in ("wall", "cpu")] == [3, 3]
    assert min(took["wall"]) > 0


def network(weights: np.ndarray, x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.nn.relu(tf.nn.conv2d(x, tf.constant(weights), 1, "SAME")), axis=[1, 2])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One convolution and a mean, as eager.pt and right.tflite, and wrong.tflite, which has other weights."""
    import torch

    folder = tmp_path_factory.mktemp("race")
    convolution = torch.nn.Conv2d(1, 3, 3, padding=1, bias=False)
    convolution.weight = torch.nn.Parameter(torch.from_numpy(WEIGHTS.transpose(3, 2, 0, 1).copy()))
    pooled = (torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    torch.save(torch.nn.Sequential(convolution, *pooled), folder / "eager.pt")
    for name, weights in (("right", WEIGHTS), ("wrong", WEIGHTS[::-1])):
        sample = [LUMAS[0][None, :, :, None].astype(np.float32)]
        (folder / f"{name}.tflite").write_bytes(converter_of(partial(network, weights), sample).convert())
    np.save(folder / "lumas.npy", LUMAS)
    return folder


def test_a_race_of_pytorch_against_tflite_where_one_cheats_and_one_is_not_there(files: Path) -> None:
    tflite = {"kind": "tflite", "options": {"module": "ai_edge_litert.interpreter", "distribution": "ai-edge-litert"}}
    reference = np.stack([np.maximum(convolved(luma), 0).mean(axis=(0, 1)) for luma in LUMAS])

    def judged(answers: list) -> str | None:
        return refusal(np.array(answers), reference, "float32")

    here = Path(sys.executable)
    torch_load = {"kind": "torch", "file": str(files / "eager.pt"), "options": {}}
    entries = [
        Entry(BASE, 1, here, torch_load, judged),
        Entry("right/1", 1, here, tflite | {"file": str(files / "right.tflite")}, judged),
        Entry("wrong/1", 1, here, tflite | {"file": str(files / "wrong.tflite")}, judged),
        Entry("broken/1", 1, here, tflite | {"file": str(files / "lumas.npy")}, judged),
        Entry("absent/1", 1, None, tflite, judged, "pip has no such package"),
    ]
    rows, load = race(entries, files / "lumas.npy", rounds=3, runs=4)
    assert [row.why is None for row in rows] == [True, True, False, False, False]
    assert rows[0].wall.shape == rows[1].cpu.shape == (3, 4)
    assert "its answers are not PyTorch's" in rows[2].why
    assert "it died" in rows[3].why
    assert rows[4].why == "pip has no such package"
    assert rows[2].wall is rows[3].wall is rows[4].wall is None
    assert rows[1].pieces == 1  # XNNPACK took the network
    found = [row | {"engine": "an engine", "precision": "float32"} for row in figures(rows, BASE)]
    assert found[0]["speedup"]["value"] == 1.0
    assert found[1]["fps"] == pytest.approx(1e3 / found[1]["ms"])
    whole = content("engines", "python", {"rounds": 3, "runs": 4, "network": "tiny"}, load, found)
    shown = table(whole)
    assert [line.count("its answers are not PyTorch's") for line in shown.splitlines() if "wrong/1" in line] == [1]
    assert "pip has no such package" in shown
    plot(files / "race.png", whole)
    assert (files / "race.png").read_bytes()[:4] == b"\x89PNG"


def convolved(luma: np.ndarray) -> np.ndarray:
    """(H, W, 3): the convolution by shifted sums."""
    padded = np.pad(luma.astype(np.float64), 1)
    height, width = luma.shape
    parts = [padded[y : y + height, x : x + width, None] * WEIGHTS[y, x, 0] for y in range(3) for x in range(3)]
    return np.sum(parts, axis=0)


def test_agreement_is_counted_in_units_of_what_the_network_says() -> None:
    reference = np.array([[1.0, 0.0], [-1.0, 0.0]])  # standard deviation over pictures: sqrt(mean of 1, 0, 1, 0)
    off = reference + np.array([[0.1, -0.1], [0.1, -0.1]])
    assert error(off, reference) == pytest.approx(0.1 / np.sqrt(0.5))
    assert refusal(off, reference, "int8-full") is None
    assert "differ by 0.141 of the logits' spread, 0.001 is allowed" in refusal(off, reference, "float32")
    for broken in (reference[:1], np.full_like(reference, np.nan)):
        assert error(broken, reference) == np.inf
        assert refusal(broken, reference, "int8-full") is not None
    with pytest.raises(ValueError, match="same answer to every picture"):
        error(reference, np.ones((2, 2)))


def test_ratios_and_intervals_by_hand() -> None:
    base = np.array([[4.0, 5.0, 90.0], [6.0, 6.0, 6.0], [7.0, 7.0, 1.0]])  # medians 5, 6, 7
    other = base / 4
    assert median_of_rounds(base) == 6.0
    exact = speedup(base, other)
    assert (exact.value, exact.low, exact.high) == (4.0, 4.0, 4.0)  # drawn alike, rounds cannot differ
    uneven = speedup(np.array([[2.0], [2.0]]), np.array([[1.0], [2.0]]))
    assert uneven.value == pytest.approx(2 / 1.5)
    # Of two rounds a quarter of the draws has only the first, a quarter only the second.
    assert (uneven.low, uneven.high) == (1.0, 2.0)
    one = speedup(np.array([[3.0]]), np.array([[1.5]]))
    assert one.value == 2.0


@pytest.fixture
def small_onnx(tmp_path: Path) -> Path:
    """Convolution 3x3 from 2 to 4 channels on 8x8 with stride 2, ReLU, mean, product with a 4x3 matrix."""
    weights = [("w", (4, 2, 3, 3)), ("b", (4,)), ("m", (4, 3))]
    constants = [onnx.numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in weights]
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "m"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(*one) for one in (("x", 1, [1, 2, 8, 8]), ("y", TensorProto.FLOAT, [1, 3]))]
    graph = helper.make_graph(nodes, "small", ends[:1], ends[1:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), tmp_path / "small.onnx")
    return tmp_path / "small.onnx"


def test_work_and_limits_by_hand(small_onnx: Path) -> None:
    of = limit.work(small_onnx)
    assert of.macs == 4 * 4 * 4 * 2 * 9 + 4 * 3
    assert of.weights == 4 * 2 * 9 + 4 + 12
    assert of.activations == (128 + 64) + (64 + 4) + (4 + 3)
    rows = [
        {"key": "peak-float32/1", "threads": 1, "ms": limit.SIDE**3 / 50e6, "precision": "float32"},  # 50 GMAC/s
        {"key": "peak-cache/1", "threads": 1, "ms": 64 * 2**20 / 10e6, "precision": ""},  # 10 GB/s
        {"key": "e/1", "threads": 1, "ms": 0.001, "precision": "float32"},
        {"key": "out/1", "threads": 1, "ms": None, "precision": "float32"},
    ]
    found = limit.limits(limit.Work(10_000, 100, 150), rows)
    assert found["peaks"]["1"] == pytest.approx({"float32": 50.0, "cache": 10.0})
    (one,) = found["limits"]
    assert one["gmacs"] == pytest.approx(10.0)
    assert one["share"] == pytest.approx(0.2)
    assert one["least_ms"] == pytest.approx(max(10_000 / 50e6, 1_000 / 10e6))
    assert one["bound"] == "multiplications"
    assert "`e/1` | 10.0 | 20.0 %" in limit.table(found | {"rows": rows})
    assert limit.table({"limits": []}) == ""


def test_who_is_asked_for_and_what_has_to_be_made() -> None:
    keys = [f"{engine.key}/{threads}" for engine, threads in _chosen(["ort-int8/2"]) if not engine.is_peak]
    assert keys == [BASE, "ort-int8/2"]
    with pytest.raises(UserError, match="no such row"):
        _chosen(["ort-int9/2"])
    assert len({engine.key for engine in ENGINES}) == len(ENGINES)
    assert models.makers_of({"int8.onnx"}) == ["int8-onnx", "ort-int8"]
    assert models.makers_of({"ncnn-float32.param", "student.onnx"}) == ["eager", "onnx", "ncnn"]
    made = {name for _, outputs in models.MAKERS.values() for name in outputs}
    assert {engine.file for engine in ENGINES if not engine.is_peak} <= made


def test_a_maker_that_fails_costs_its_files_and_says_why(tmp_path: Path) -> None:
    made = models.make(tmp_path, {"ncnn-int8.param"}, None)
    assert made["ncnn-int8.param"].path is None
    assert "no quantiser" in made["ncnn-int8.param"].why


def test_what_a_cut_off_maker_has_left_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "ncnn-int8.making").touch()
    (tmp_path / "ncnn-int8.param").write_bytes(b"half")
    assert "no quantiser" in models.make(tmp_path, {"ncnn-int8.param"}, None)["ncnn-int8.param"].why
    assert {path.name for path in tmp_path.iterdir()} == {"ncnn-int8.log"}
    (tmp_path / "ncnn-int8.param").write_bytes(b"whole")
    assert models.make(tmp_path, {"ncnn-int8.param"}, None)["ncnn-int8.param"].why is None


def test_an_empty_race_has_a_table(tmp_path: Path) -> None:
    row = Row(Entry("a/1", 1, None, {}, lambda answers: None, "it is not installed"), why="it is not installed")
    found = [one | {"engine": "a", "precision": "float32"} for one in figures([row], BASE)]
    whole = content("engines", "c", {"rounds": 1, "runs": 1, "network": "n"}, Load((0.0, 0.0), None), found)
    assert "it is not installed" in table(whole)


@pytest.mark.slow
def test_the_plain_scripts_file_answers_normalised_luma_as_the_network_does(tmp_path: Path) -> None:
    raced = subject.from_first_weights("mobilenetv3_small_050", 64)
    subject.save(raced, tmp_path)
    made = models.make(tmp_path, {"normalised.tflite", "three.pt"}, None)
    assert [one.why for one in made.values()] == [None, None]
    luma = subject.pictures(raced.preprocess)[:3]
    interpreter = Interpreter(str(made["normalised.tflite"].path))
    interpreter.allocate_tensors()
    with torch.no_grad():
        expected = raced.network(torch.from_numpy(luma[:, None]).float()).numpy()
    for one, row in zip(luma, expected, strict=True):
        normal = (one[None, :, :, None] / 255.0 - raced.network.mean) / raced.network.std
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], normal.astype(np.float32))
        interpreter.invoke()
        assert interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0] == pytest.approx(row, abs=1e-3)


def test_files_are_made_as_the_networks_recipe_says(tmp_path: Path) -> None:
    raced = subject.from_first_weights("mobilenetv3_small_050", 64)
    other = replace(raced, convert=replace(raced.convert, relu_activations=not raced.convert.relu_activations))
    assert subject.identity(raced, None) != subject.identity(other, None)
    found = []
    for number, one in enumerate((raced, other)):
        (folder := tmp_path / str(number)).mkdir()
        subject.save(one, folder)
        made = models.make(folder, {"student-int8.onnx"}, None)["student-int8.onnx"]
        assert made.why is None
        found.append({node.op_type for node in onnx.load(made.path).graph.node})
    assert found[0] ^ found[1], "one has hard-swish"
