"""What a machine answers to folders of pictures: run here and, emulated, by an Arm's Python; all the device's code.

    python answers.py FILE.npz PICTURES BUNDLE THREADS [PICTURES BUNDLE THREADS ...]

writes for each such question the prepared luma, the interpreter's raw output, the verdicts, and how many pieces of the
network XNNPACK took. It needs what a Pi has and nothing more.
"""

import json
import platform
import struct
import sys
from pathlib import Path

import numpy as np

from device.bundle import load_bundle
from device.decide import decide
from device.preprocess import prepare, read_picture
from device.runtime import Model, open_bundle

_AT_HWCAP, _HWCAP_ASIMDDP = 16, 1 << 20  # Linux, arch/arm64/include/uapi/asm/hwcap.h


def raw_output(model: Model) -> np.ndarray:
    """(classes,) of the model's last run as the file's own type: what `logits` scales, before it is scaled."""
    return model._interpreter.get_tensor(model._out)[0].copy()


def delegated(model: Model) -> int:
    """How many pieces of the network XNNPACK runs; 0 when TFLite's built-in kernels do all the work."""
    return sum(op["op_name"] == "DELEGATE" for op in model._interpreter._get_ops_details())


def has_dot_product() -> bool:
    """Whether this Arm CPU multiplies four int8 pairs in one instruction (A76 does, A72 does not)."""
    words = Path("/proc/self/auxv").read_bytes()
    return bool(dict(struct.iter_unpack("=QQ", words)).get(_AT_HWCAP, 0) & _HWCAP_ASIMDDP)


def answer(asked: list[tuple[Path, Path, list[int]]]) -> dict[str, np.ndarray]:
    """Everything by name, as `numpy.savez` takes it: `about` (JSON), and `luma/I`, `output/I` and `mask/I` for
    question I.

    asked: for each question a folder of PNG pictures, a bundle, and the numbers of threads to open it with.
    output: (threads asked for, pictures, classes) in the file's own type; mask: (threads, pictures, h, w), of a file
    that outlines.
    """
    arm = platform.machine() == "aarch64"
    about = {"machine": platform.machine(), "dot_product": arm and has_dot_product(), "questions": []}
    found = {}
    for number, (pictures, folder, threads) in enumerate(asked):
        bundle = load_bundle(folder)
        luma = [prepare(read_picture(path), bundle.meta.preprocess) for path in sorted(pictures.glob("*.png"))]
        outputs, masks = [], []
        for count in threads:
            model = open_bundle(bundle, count)
            verdicts, raw, outlined = [], [], []
            for picture in luma:
                verdicts.append(decide(model.logits(picture), bundle.meta).label)
                raw.append(raw_output(model))
                if bundle.meta.mask is not None:
                    outlined.append(model.raw_mask().copy())
            outputs.append(raw)
            masks.append(outlined)
            said = {"interpreter": model.backend, "delegated": delegated(model)}
            about["questions"].append(said | {"question": number, "verdicts": verdicts})
        found |= {f"luma/{number}": np.stack(luma), f"output/{number}": np.array(outputs)}
        if bundle.meta.mask is not None:
            found[f"mask/{number}"] = np.array(masks)
    return found | {"about": np.array(json.dumps(about))}


def main(file: str, *words: str) -> None:
    """Answer the questions PICTURES BUNDLE THREADS PICTURES BUNDLE THREADS ..., threads as `1` or `1,4`."""
    triples = zip(words[::3], words[1::3], words[2::3])
    asked = [(Path(folder), Path(bundle), [int(n) for n in threads.split(",")]) for folder, bundle, threads in triples]
    np.savez(file, **answer(asked))


if __name__ == "__main__":
    main(*sys.argv[1:])
