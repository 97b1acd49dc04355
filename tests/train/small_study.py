"""A study that trains in seconds: the tiny recipe for one epoch on phantoms, and work for worker processes."""

import os
import signal
from pathlib import Path

from tiny_recipe import write_tiny_recipe

from device.errors import UserError
from train.data.busi import CLASSES

HEAD = 'name = "small"\nrecipe = "tiny.toml"\nfolds = [0, 3]\nseeds = [0]\ndecide = [3]\n'
ROWS = """
[[row]]
name = "plain"
[[row]]
name = "slower"
change.student.fit.lr = 1e-3
"""


def small_study(folder: Path, data: Path | None, rows: str = ROWS, head: str = HEAD) -> list[str]:
    """Write study, recipe and groups of the fixture `phantoms` into `folder`; returns a command line for `data`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tiny_recipe(folder / "tiny.toml", ("epochs = 3, batch = 8, lr = 2e-3", "epochs = 1, batch = 8, lr = 2e-3"))
    (folder / "study.toml").write_text(head + rows)
    lines = [f"{label} ({n}).png,{label}{n // 2}" for label in CLASSES for n in range(1, 25)]
    (folder / "groups.csv").write_text("image,group_id\n" + "\n".join(lines) + "\n")
    call = ["train", "grid", folder / "study.toml", *([data] if data else []), "--groups", folder / "groups.csv"]
    return [str(word) for word in [*call, "--out", folder / "out", "--repeats", "20"]]


def odd_work(item: tuple[str, Path], away: bool) -> object:
    """Work for worker processes that ends as the item says; its path counts how often it was tried."""
    what, path = item
    with open(path, "a") as stream:
        stream.write("x")
    tries = len(path.read_text())
    if what == "dies" or (what == "dies once" and tries == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "refuses":
        raise UserError("this one cannot be done; leave it.")
    if what == "breaks":
        raise ZeroDivisionError("of a kind that nobody foresaw")
    return what, away, os.environ.get("RAY_USAGE_STATS_ENABLED")
