"""A segmentation study that trains in seconds on phantoms."""

from pathlib import Path

from train.data.busi import CLASSES

TEXT = """
name = "small"
folds = [0, 2]
seeds = [0]

[recipe]
preprocess = { height = 32, width = 32 }
augment = { flip = 0.5, shift = 0.05, gain = 0.1 }
network = { name = "simplified-unet", channels = [4, 8] }
fit = { epochs = 2, batch = 4, lr = 5e-3 }

[[row]]
name = "alone"
tables = ["I", "III"]

[[row]]
name = "benign teacher"
tables = ["II"]
change.train_on = ["benign"]
change.network.channels = [8, 8]

[[row]]
name = "taught"
tables = ["I", "III"]
against = "alone"
change.hard_share = 0.5
change.teachers = [{ row = "benign teacher", share = 0.5 }]
"""


def write_study(folder: Path, *changes: tuple[str, str]) -> str:
    """Write the study with some texts replaced, each of which must occur; returns its path."""
    text = TEXT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.toml").write_text(text)
    return str(folder / "study.toml")


def write_groups(path: Path) -> Path:
    """Groups of the fixture `phantoms`, two pictures each."""
    lines = [f"{label} ({n}).png,{label}{n // 2}" for label in CLASSES for n in range(1, 25)]
    path.write_text("image,group_id\n" + "\n".join(lines) + "\n")
    return path
