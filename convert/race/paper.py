"""A frame to a class in the paper's way: Pillow, torchvision's transforms, PyTorch eager in float32."""

import io
from collections.abc import Callable
from typing import Any

from train import torchvision_shim  # noqa: F401  before torchvision and timm

# isort: split
import torch
from PIL import Image
from torchvision import transforms

from device.phantom import CLASSES


def open_way(
    network: str, threads: int, region: list[int], size: list[int], mean: float, std: float
) -> Callable[[bytes], dict[str, Any]]:
    """network: pickled, of (1, 3, H, W) normalised RGB. region: x, y, width, height. size: (H, W)."""
    torch.set_num_threads(threads)
    eager = torch.load(network, weights_only=False).eval()
    x, y, width, height = region
    steps = [transforms.Resize(size), transforms.ToTensor(), transforms.Normalize([mean] * 3, [std] * 3)]
    transform = transforms.Compose(steps)

    def classify(jpeg: bytes) -> dict[str, Any]:
        picture = Image.open(io.BytesIO(jpeg)).convert("RGB").crop((x, y, x + width, y + height))
        with torch.no_grad():
            logits = eager(transform(picture)[None])
            label = CLASSES[int(torch.softmax(logits, 1).argmax())]
        return {"class": label, "verdict": label}

    return classify
