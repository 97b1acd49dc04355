"""The network as a file for each engine, each maker in a process of its own: one that fails costs its rows only.

`python -m convert.race.models FOLDER MAKER` makes one maker's files in FOLDER, which `convert.race.subject.save` has
filled; the others call `make`.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
CENTRE = "centre.json"  # what the network of student-int8.onnx takes less than luma
PNNX = "PNNX"  # the environment variable with the path of ncnn's converter
MAKER_S = 900.0


@dataclass(frozen=True)
class Made:
    """path: of the file; None when there is none. why: then, in one sentence."""

    path: Path | None
    said: str | None = None

    @property
    def why(self) -> str | None:
        """Why there is no file; None when there is one."""
        return self.said if self.path is None else None


def _eager(folder: Path) -> None:
    import torch

    from convert.export import deployable
    from convert.race import subject

    torch.save(deployable(subject.load(folder)[0].network, False), folder / "eager.pt")


def _onnx(folder: Path) -> None:
    from convert.int8_network import write_float_onnx
    from convert.race import subject

    raced, _ = subject.load(folder)
    write_float_onnx(raced.network, raced.preprocess, folder / "student.onnx")


def _int8_onnx(folder: Path) -> None:
    """Still in float: the function as int8 likes it, which both TFLite's and ONNX Runtime's int8 are made from."""
    from convert.int8_network import write_int8_onnx
    from convert.race import subject

    raced, lumas = subject.load(folder)
    centre = write_int8_onnx(raced.network, raced.convert, raced.preprocess, lumas, folder / "student-int8.onnx")
    (folder / CENTRE).write_text(json.dumps(centre))


def _tflite(folder: Path, wanted: tuple[str, ...] = ("float32", "float16", "int8-dynamic")) -> None:
    from convert import tflite
    from convert.int8_network import how_of
    from convert.race import subject

    raced, _ = subject.load(folder)
    centre = json.loads((folder / CENTRE).read_text())
    job = tflite.Job(
        str(folder / "student.onnx"),
        str(folder / "student-int8.onnx"),
        centre,
        (str(folder / "calibration.npy"),),
        how_of(raced.convert),
    )
    work = folder / f"tflite-{os.getpid()}"
    for name, path in tflite.write_variants(job, work, wanted, folder / "tflite.log").items():
        path.replace(folder / f"{name}.tflite")
    shutil.rmtree(work)


def _tflite_int8(folder: Path) -> None:
    _tflite(folder, ("int8-full",))


def _ort_float16(folder: Path) -> None:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    network = convert_float_to_float16(onnx.load(folder / "student.onnx"), keep_io_types=True)
    onnx.save(network, folder / "float16.onnx")


def _ort_int8(folder: Path) -> None:
    """ONNX Runtime's own static quantisation, weights per channel; OpenVINO reads the same file."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    centre = np.float32(json.loads((folder / CENTRE).read_text()))
    shown = iter([luma[None, None].astype(np.float32) - centre for luma in np.load(folder / "calibration.npy")])

    class Reader(CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(({"luma": one} for one in shown), None)

    ready = folder / "student-int8.ready.onnx"
    quant_pre_process(str(folder / "student-int8.onnx"), str(ready), skip_symbolic_shape=True)
    kinds = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    quantize_static(
        str(ready), str(folder / "int8.onnx"), Reader(), quant_format=QuantFormat.QDQ, per_channel=True, **kinds
    )


def _torch_int8(folder: Path) -> None:
    """PyTorch's own static quantisation of the traced graph (FX), for oneDNN; as TorchScript."""
    from train import torchvision_shim  # noqa: F401  before timm, which unpickling needs

    # isort: split
    import torch
    from torch.ao.quantization import get_default_qconfig_mapping
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

    torch.backends.quantized.engine = "onednn"
    network = torch.load(folder / "eager.pt", weights_only=False)
    shown = torch.from_numpy(np.load(folder / "calibration.npy"))[:, None].float()
    prepared = prepare_fx(network, get_default_qconfig_mapping("onednn"), (shown[:1],))
    with torch.no_grad():
        for one in shown:
            prepared(one[None])
        # What is quantised cannot be pickled.
        torch.jit.trace(convert_fx(prepared), shown[:1]).save(str(folder / "int8.pt"))


def _ncnn(folder: Path) -> None:
    from train import torchvision_shim  # noqa: F401  before timm, which unpickling needs

    # isort: split
    import torch

    network = torch.load(folder / "eager.pt", weights_only=False)
    height, width = np.load(folder / "pictures.npy", mmap_mode="r").shape[1:]
    with torch.no_grad():
        torch.jit.trace(network, torch.zeros(1, 1, height, width)).save(str(folder / "traced.pt"))
    for name, half in (("float32", 0), ("float16", 1)):
        work = folder / f"pnnx-{name}-{os.getpid()}"  # pnnx leaves its own files in the working directory, too
        work.mkdir()
        out = folder / f"ncnn-{name}"
        call = [os.environ[PNNX], str(folder / "traced.pt"), f"inputshape=[1,1,{height},{width}]", f"fp16={half}"]
        call += [f"ncnnparam={out}.param", f"ncnnbin={out}.bin"]
        subprocess.run(call, cwd=work, check=True)
        shutil.rmtree(work)


def _three(folder: Path) -> None:
    """The network inside: three channels of normalised RGB."""
    import torch

    from convert.race import subject

    torch.save(subject.load(folder)[0].network.net, folder / "three.pt")


def _normalised(folder: Path) -> None:
    """float32 TFLite that takes one channel of normalised luma, as most published files take normalised input."""
    import copy

    from convert import tflite
    from convert.export import export_onnx
    from convert.race import subject
    from train.networks.backbone import fold_stem

    raced, _ = subject.load(folder)
    net, preprocess = copy.deepcopy(raced.network.net), raced.preprocess
    if not raced.network.one_channel:
        fold_stem(net)
    export_onnx(net.eval(), (preprocess.height, preprocess.width), folder / "normalised.onnx", ("logits",))
    work = folder / f"tflite-{os.getpid()}"
    job = tflite.Job(str(folder / "normalised.onnx"), "", 0, ())
    made = tflite.write_variants(job, work, ["float32"], folder / "normalised-tflite.log")
    made["float32"].replace(folder / "normalised.tflite")
    shutil.rmtree(work)


def _ncnn_int8(folder: Path) -> None:
    raise SystemExit("ncnn's wheels bring no quantiser, and pnnx writes no int8.")


# In the order in which they need each other's files.
MAKERS: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "eager": (_eager, ("eager.pt",)),
    "onnx": (_onnx, ("student.onnx",)),
    "int8-onnx": (_int8_onnx, ("student-int8.onnx", CENTRE)),
    "tflite": (_tflite, ("float32.tflite", "float16.tflite", "int8-dynamic.tflite")),
    "tflite-int8": (_tflite_int8, ("int8-full.tflite",)),
    "ort-float16": (_ort_float16, ("float16.onnx",)),
    "ort-int8": (_ort_int8, ("int8.onnx",)),
    "torch-int8": (_torch_int8, ("int8.pt",)),
    "ncnn": (_ncnn, ("ncnn-float32.param", "ncnn-float16.param")),
    "ncnn-int8": (_ncnn_int8, ("ncnn-int8.param",)),
    "three": (_three, ("three.pt",)),
    "normalised": (_normalised, ("normalised.tflite",)),
}
_NEEDS = {
    "int8-full.tflite": ("onnx", "int8-onnx", "tflite-int8"),
    "float32.tflite": ("onnx", "int8-onnx", "tflite"),
    "float16.tflite": ("onnx", "int8-onnx", "tflite"),
    "int8-dynamic.tflite": ("onnx", "int8-onnx", "tflite"),
    "float16.onnx": ("onnx", "ort-float16"),
    "int8.onnx": ("int8-onnx", "ort-int8"),
    "int8.pt": ("eager", "torch-int8"),
    "ncnn-float32.param": ("eager", "ncnn"),
    "ncnn-float16.param": ("eager", "ncnn"),
}


def makers_of(wanted: set[str]) -> list[str]:
    """Who has to work for these files, in order."""
    needed = {maker for file in wanted for maker in _NEEDS.get(file, ())}
    needed |= {maker for maker, (_, files) in MAKERS.items() if wanted & set(files)}
    return [maker for maker in MAKERS if maker in needed]


def _drop(folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (folder / name).unlink(missing_ok=True)


def make(folder: Path, wanted: set[str], pnnx: Path | None) -> dict[str, Made]:
    """Make those of the wanted files that `folder` does not hold yet; file name -> what became of it."""
    reasons: dict[str, str] = {}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    if pnnx is not None:
        environment[PNNX] = str(pnnx)
    for maker in makers_of(wanted):
        outputs, making = MAKERS[maker][1], folder / f"{maker}.making"
        if making.exists():  # it was cut off: what lies there may be half a file
            _drop(folder, outputs)
        if all((folder / name).is_file() for name in outputs):
            continue
        print(f"making {', '.join(outputs)}", file=sys.stderr)
        making.touch()
        call = [sys.executable, "-m", "convert.race.models", str(folder.absolute()), maker]
        with open(folder / f"{maker}.log", "w+") as log:
            try:
                subprocess.run(call, env=environment, stdout=log, stderr=log, timeout=MAKER_S, check=True)
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
                log.seek(0)
                said = log.read().strip().splitlines() or [str(error)]
                reasons |= dict.fromkeys(outputs, f"its file was not made: {' '.join(said[-1].split())[:200]}")
                _drop(folder, outputs)
        making.unlink()
    return {
        name: Made(folder / name)
        if (folder / name).is_file()
        else Made(None, reasons.get(name, "its file is not there"))
        for name in wanted
    }


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch; see train/cli.py
    MAKERS[sys.argv[2]][0](Path(sys.argv[1]))
