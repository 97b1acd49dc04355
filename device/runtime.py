"""The TFLite interpreter behind one small class: luma in, logits out, and where the lesion is if the model says so."""

import importlib
import importlib.metadata
from pathlib import Path

import numpy as np

from device.bundle import Bundle, Tensor
from device.errors import UserError

# The first that is installed is used. ai-edge-litert delegates int8 to XNNPACK; tflite-runtime 2.14 does not.
_BACKENDS = (
    ("ai_edge_litert.interpreter", "ai-edge-litert"),
    ("tflite_runtime.interpreter", "tflite-runtime"),
    ("tensorflow.lite.python.interpreter", "tensorflow"),
)


def find_backend() -> tuple[type, str]:
    """The interpreter class and its `name version`. Raises UserError when none of the three is installed."""
    for module, distribution in _BACKENDS:
        try:
            interpreter = importlib.import_module(module).Interpreter
        except (ImportError, AttributeError):
            continue
        try:
            version = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:  # under another name, such as tensorflow-cpu
            version = "of unknown version"
        return interpreter, f"{distribution} {version}"
    raise UserError("No TFLite interpreter is installed; run: pip install ai-edge-litert")


def describe_tensor(detail: dict, layout: str) -> Tensor:
    """An interpreter's tensor detail as a `Tensor` (per-tensor quantisation; None for float).

    Raises ValueError when it is neither float32 nor 8-bit with a scale.
    """
    dtype = np.dtype(detail["dtype"]).name
    if dtype not in ("float32", "uint8", "int8"):
        raise ValueError(f"a tensor of {dtype} where float32, uint8 or int8 is wanted")
    scale, zero_point = detail["quantization"]
    integer = dtype != "float32"
    shape = tuple(int(n) for n in detail["shape"])
    return Tensor(shape, layout, dtype, float(scale) if integer else None, int(zero_point) if integer else None)


class Model:
    """One TFLite file, opened. Not thread-safe: one thread calls `logits`.

    The interpreter trusts the file: a truncated or altered one can end the process (SIGSEGV, SIGBUS). Files that have
    travelled are therefore opened through `load_bundle`, which compares their hash first.

    input, output: the luma's and the class logits' tensors. mask: of the second output, None of a file with one;
    mask_name, mask_index: its name, and its place among the file's outputs.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Open `path` with `threads` CPU threads. Raises UserError when it is no TFLite file this runtime can run."""
        if threads < 1:
            raise UserError(f"threads must be 1 or more, not {threads}.")
        interpreter, self.backend = find_backend()
        self.path, self.threads = Path(path), threads
        if not self.path.is_file():
            raise UserError(f"{path}: no such model file; give a .tflite file or a bundle folder.")
        try:
            self._interpreter = interpreter(model_path=str(path), num_threads=threads)
            self._interpreter.allocate_tensors()
            inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        except (ValueError, RuntimeError) as error:  # what all three runtimes raise for a broken model
            said = " ".join(str(error).split())[:200]
            raise UserError(f"{path}: {self.backend} cannot open this model ({said}).") from error
        # By shape and not by order: each converter has an order of its own, and a row is never a plane.
        rows = [detail for detail in outputs if len(detail["shape"]) == 2]
        planes = [detail for detail in outputs if len(detail["shape"]) == 4 and detail["shape"][3] == 1]
        known = len(rows) == 1 and len(planes) <= 1 and len(rows) + len(planes) == len(outputs)
        if len(inputs) != 1 or len(inputs[0]["shape"]) != 4 or inputs[0]["shape"][3] != 1 or not known:
            raise UserError(f"{path}: expected one luma picture in and one row of logits out; this is another network.")
        self._in, self._out = inputs[0]["index"], rows[0]["index"]
        self._mask = planes[0]["index"] if planes else None
        self.mask_name = str(planes[0]["name"]) if planes else None
        self.mask_index = next((n for n, detail in enumerate(outputs) if len(detail["shape"]) == 4), None)
        try:
            self.input, self.output = describe_tensor(inputs[0], "NHWC"), describe_tensor(rows[0], "NC")
            self.mask = describe_tensor(planes[0], "NHWC") if planes else None
        except ValueError as error:
            raise UserError(f"{path}: {str(error).rstrip('.')}; this is another network.") from error
        if self.input.dtype == "int8" and self.input.scale != 1.0:
            raise UserError(f"{path}: an int8 input must have scale 1 to take luma - 128 directly.")
        if self.input.dtype == "uint8" and (self.input.scale, self.input.zero_point) != (1.0, 0):
            raise UserError(f"{path}: a uint8 input must have scale 1 and zero point 0 to take luma directly.")

    def logits(self, luma: np.ndarray) -> np.ndarray:
        """(H, W) luma uint8 0..255 -> (classes,) float32 logits. Raises ValueError on another shape or dtype."""
        raw = self.raw(luma)
        if self.output.scale is None:
            return raw.astype(np.float32, copy=False)
        return (raw.astype(np.float32) - self.output.zero_point) * np.float32(self.output.scale)

    def raw(self, luma: np.ndarray) -> np.ndarray:
        """As `logits`, but as the file gives them, before they are scaled: (classes,) of the output's own type."""
        if luma.dtype != np.uint8 or (1, *luma.shape, 1) != self.input.shape:
            raise ValueError(f"the model takes uint8 luma {self.input.shape[1:3]}, not {luma.dtype} {luma.shape}.")
        batch = luma[None, :, :, None]
        if self.input.dtype == "float32":
            batch = batch.astype(np.float32)
        elif self.input.dtype == "int8":
            # luma - 128 without widening. Its real value, that minus the zero point, is luma minus the network's mean.
            batch = (batch ^ 0x80).view(np.int8)
        self._interpreter.set_tensor(self._in, batch)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._out)[0]

    def raw_mask(self) -> np.ndarray:
        """(h, w) of the mask tensor's own type: what the picture last given to `logits` or `raw` came to, as the file
        gives it. Nothing is scaled: `device.bundle_parts.MaskOutput.cut` says where a lesion begins in these numbers.
        Raises ValueError for a model without a mask."""
        if self._mask is None:
            raise ValueError(f"{self.path}: this model has no mask.")
        return self._interpreter.get_tensor(self._mask)[0, :, :, 0]


def open_bundle(bundle: Bundle, threads: int = 1) -> Model:
    """Open a bundle's model and check that the file is what its bundle.json says. Raises UserError otherwise."""
    model = Model(bundle.model_path, threads)
    for name, said, found in (
        ("input", bundle.meta.input, model.input),
        ("output", bundle.meta.output, model.output),
    ):
        if said != found:
            raise UserError(
                f"{bundle.model_path}: its {name} tensor is {found}, but bundle.json says {said}; "
                "convert the model again."
            )
    mask = bundle.meta.mask
    said = None if mask is None else (mask.name, mask.index, mask.output)
    found = None if model.mask is None else (model.mask_name, model.mask_index, model.mask)
    if said != found:
        raise UserError(
            f"{bundle.model_path}: its mask output is {found or 'not there'}, but bundle.json says {said or 'none'}; "
            "convert the model again."
        )
    return model
