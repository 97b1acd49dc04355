"""A recipe that trains in seconds: 64 x 64 input and timm's own smallest test networks, from random weights."""

from pathlib import Path

TEXT = """
name = "tiny"
seed = 3

[preprocess]
height = 64
width = 64

[augment]
flip = 0.5
rotate = 5.0
shift = 0.05
gain = 0.2

[teacher]
hidden = [16]
dropout = 0.4
backbones = [
  { name = "test_vit", weights = "random", mean = 0.5, std = 0.5 },
  { name = "test_resnet", weights = "random" },
]
fit = { epochs = 3, batch = 8, lr = 1e-3, schedule = "cosine", warmup_epochs = 1.0 }

[student]
network = { name = "mobilenetv3_small_050", weights = "random" }
fit = { epochs = 3, batch = 8, lr = 2e-3, class_weights = "balanced" }

[distill]
alpha = 0.5
temperature = 4.0
"""


def write_tiny_recipe(path: Path, *changes: tuple[str, str]) -> str:
    """Write the recipe with some texts replaced; each must occur. Returns the path as `--recipe` takes it."""
    text = TEXT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return str(path)
