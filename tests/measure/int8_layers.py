"""Where int8 is quicker than float32 and where it is not: MobileNetV3's kinds of layers, each as a file of its own.

    python -m tests.measure.int8_layers

Thread time of one inference with XNNPACK, one thread, all files in turn in one run; random weights. The first layer is
measured as it is and with its columns merged (convert/quantise/stem.py). Research use only, never a diagnosis.
"""

import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from convert.quantise.stem import merge_columns
from device import RESEARCH_NOTICE

Layer = Callable[[tf.Tensor], tf.Tensor]
ROUNDS, RUNS = 15, 60
_RNG = np.random.default_rng(0)


def _weights(*shape: int) -> tf.Tensor:
    return tf.constant(_RNG.normal(0, 0.1, shape).astype(np.float32))


def pointwise(channels: int, inner: int) -> Layer:
    """1x1 out and back, six times."""
    pairs = [(_weights(1, 1, channels, inner), _weights(1, 1, inner, channels)) for _ in range(6)]

    def run(x: tf.Tensor) -> tf.Tensor:
        for out, back in pairs:
            x = tf.nn.conv2d(tf.nn.relu(tf.nn.conv2d(x, out, 1, "SAME")), back, 1, "SAME")
        return x

    return run


def depthwise(channels: int, kernel: int) -> Layer:
    """Channel by channel, six times."""
    kernels = [_weights(kernel, kernel, channels, 1) for _ in range(6)]

    def run(x: tf.Tensor) -> tf.Tensor:
        for weights in kernels:
            x = tf.nn.relu(tf.nn.depthwise_conv2d(x, weights, [1, 1, 1, 1], "SAME"))
        return x

    return run


def first() -> Layer:
    """MobileNetV3's first layer over luma."""
    weights = _weights(3, 3, 1, 16)
    return lambda x: tf.nn.relu(tf.nn.conv2d(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), weights, 2, "VALID"))


FIRST = "first layer, 224 x 224 x 1"
KINDS: dict[str, tuple[Layer, tuple[int, int, int]]] = {
    "1x1, 14 x 14 x 48 to 288 and back, 6 times": (pointwise(48, 288), (14, 14, 48)),
    "1x1, 7 x 7 x 96 to 576 and back, 6 times": (pointwise(96, 576), (7, 7, 96)),
    "5x5 by channel, 14 x 14 x 288, 6 times": (depthwise(288, 5), (14, 14, 288)),
    "5x5 by channel, 7 x 7 x 576, 6 times": (depthwise(576, 5), (7, 7, 576)),
    "3x3 by channel, 56 x 56 x 72, 6 times": (depthwise(72, 3), (56, 56, 72)),
    FIRST: (first(), (224, 224, 1)),
}


def files(layer: Layer, shape: tuple[int, int, int]) -> tuple[bytes, bytes]:
    """(float32, int8) of a layer whose input is (1, *shape)."""
    concrete = tf.function(layer, input_signature=[tf.TensorSpec((1, *shape))]).get_concrete_function()
    samples = [_RNG.normal(size=(1, *shape)).astype(np.float32) for _ in range(8)]
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], None)
    plain = converter.convert()
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([sample] for sample in samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return plain, converter.convert()


def opened(content: bytes) -> Interpreter:
    """With one thread and an input of zeros."""
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    (into,) = interpreter.get_input_details()
    interpreter.set_tensor(into["index"], np.zeros(into["shape"], into["dtype"]))
    return interpreter


def main() -> None:
    """Measure and print."""
    rows = {name: files(*kind) for name, kind in KINDS.items()}
    plain, int8 = rows[FIRST]
    rows[f"{FIRST}, int8's columns merged"] = plain, merge_columns(int8)
    models = [opened(content) for pair in rows.values() for content in pair]
    taken = np.empty((ROUNDS + 1, len(models)))
    for number in range(ROUNDS + 1):
        for place, model in enumerate(models):
            begun = time.thread_time()
            for _ in range(RUNS):
                model.invoke()
            taken[number, place] = 1e6 * (time.thread_time() - begun) / RUNS
    median = np.median(taken[1:], axis=0).reshape(-1, 2)  # the first round warms up
    print(f"{RESEARCH_NOTICE}\n\n| layer | float32, us | int8, us | int8 / float32 |\n|---|---|---|---|")
    for name, (of_float, of_int8) in zip(rows, median, strict=True):
        print(f"| {name} | {of_float:.0f} | {of_int8:.0f} | {of_int8 / of_float:.2f} |")


if __name__ == "__main__":
    main()
