"""Let a torchvision wheel that was linked against another torch build be imported; import this first.

PyPI's torchvision is linked against CUDA's torch. On a CPU torch its compiled operators are absent and the
import fails with "operator torchvision::nms does not exist", although its Python parts, which timm uses, are whole.
Declaring the two schemas is enough. A complete torchvision is left alone. timm, lightning and torchmetrics all import
torchvision, so modules that use them import this one before.
"""

import importlib.util

import torch

_KEEP = []  # a torch.library.Library takes its definitions with it when it is collected


def _install() -> None:
    """Declare torchvision's two operators where its compiled library does not load."""
    if _KEEP or hasattr(torch.ops.torchvision, "nms"):
        return
    found = importlib.util.find_spec("torchvision")
    if found is None or _compiled_library_loads(found.submodule_search_locations[0]):
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _KEEP.append(library)


def _compiled_library_loads(folder: str) -> bool:
    import ctypes
    from pathlib import Path

    for path in Path(folder).glob("_C*.so"):
        try:
            ctypes.CDLL(str(path))
            return True
        except OSError:
            continue
    return False


_install()
