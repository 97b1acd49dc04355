"""One training on two processes through torchrun, gloo on this machine: slow tests."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_recipe import write_tiny_recipe
from train_commands import refused, weights_hash

from device.main import main
from train.networks.backbone import Luma
from train.runs import load_run

pytestmark = pytest.mark.slow

# A training command, and beside it the batches that the student was shown in this process while it trained.
# SEPARATE: each process has its own --out, as on machines without a common folder. KILL: the first dies in this epoch.
WATCH = """
import os, sys
import torch
from device.main import main
from train import fit
from train.networks.backbone import Luma

seen, rank = [], os.environ["RANK"]
folder, *arguments = sys.argv[1:]
if os.environ.get("SEPARATE"):
    arguments[arguments.index("--out") + 1] += rank

def shown(module, inputs):
    if isinstance(module, Luma) and module.training and torch.is_grad_enabled():
        seen.append(inputs[0].clone())

def epoch_starts(self, epoch_starts=fit.Fitting.on_train_epoch_start):
    if rank == "0" and str(self.current_epoch) == os.environ.get("KILL"):
        os.kill(os.getpid(), 9)
    epoch_starts(self)

torch.nn.modules.module.register_module_forward_pre_hook(shown)
fit.Fitting.on_train_epoch_start = epoch_starts
status = main(arguments)
# Left to the interpreter's end, gloo's threads may abort a process that has done its work.
assert not torch.distributed.is_initialized(), "the processes must part before they end"
torch.save(seen, f"{folder}/{rank}.pt")
sys.exit(status)
"""
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


def _distill(phantoms: Path, recipe: str, out: Path) -> list[str]:
    return ["train", "distill", str(phantoms), "--recipe", recipe, "--no-teacher", "--out", str(out)]


def _python(*words: str, **variables: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    command = [sys.executable, *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            said, trouble = process.communicate(timeout=240)
        except subprocess.TimeoutExpired:  # two processes wait for each other; torchrun ends both when it is told to
            process.terminate()
            raise
        return subprocess.CompletedProcess(command, process.returncode, said, trouble)


def _watched(folder: Path, command: list[str], **variables: str) -> tuple[subprocess.CompletedProcess, list]:
    """Run a command under WATCH; returns the process and the batches of each rank that came to the end."""
    folder.mkdir()
    script = folder / "watch.py"
    script.write_text(WATCH)
    done = _python(*TORCHRUN, str(script), str(folder), *command, **variables)
    return done, [torch.load(path) for path in sorted(folder.glob("*.pt"))]


@pytest.fixture(scope="module")
def hard_recipe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """With all that could differ between processes: BatchNorm, a running average, a second loss, a warm-up."""
    return write_tiny_recipe(
        tmp_path_factory.mktemp("hard") / "tiny.toml",
        ('class_weights = "balanced"', 'class_weights = "balanced", ema = 0.9, select = "last"'),
        ("[distill]", "masks = { weight = 0.5 }\nwarmup = { epochs = 1, batch = 8, width = 16 }\n\n[distill]"),
    )


@pytest.fixture(scope="module")
def together(phantoms: Path, hard_recipe: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list]:
    """A finished run of two processes, and the batches that each of them saw."""
    folder = tmp_path_factory.mktemp("together")
    done, watched = _watched(folder / "watch", _distill(phantoms, hard_recipe, folder / "run"), SEPARATE="1")
    assert done.returncode == 0, done.stderr
    return folder / "run0", watched


def test_two_processes_make_one_run_that_the_first_alone_writes(together: tuple[Path, list]) -> None:
    folder, _ = together
    run = load_run(folder, "student")
    figures = run.meta.validation
    assert all(np.isfinite(value) for value in figures.values())
    assert figures["selected_epoch"] == 2
    assert run.meta.hardware.endswith(", 2 processes")
    assert all(torch.isfinite(tensor).all() for tensor in run.network.state_dict().values())
    # Both judged the network that is kept, with the first one's BatchNorm statistics.
    losses = _logged(folder, "val_loss")
    assert len(losses) == 3
    assert losses[-1] == pytest.approx(figures["val_loss"], abs=1e-6)
    assert (folder / "warmup.safetensors").is_file()
    assert sorted(path.name for path in folder.parent.iterdir()) == ["run0", "watch"]


def test_each_process_sees_its_half_of_every_batch(
    together: tuple[Path, list], phantoms: Path, hard_recipe: str, tmp_path: Path
) -> None:
    wholes: list[torch.Tensor] = []
    hook = torch.nn.modules.module.register_module_forward_pre_hook(
        lambda module, inputs: (
            wholes.append(inputs[0].clone())
            if isinstance(module, Luma) and module.training and torch.is_grad_enabled()
            else None
        )
    )
    try:
        assert main(_distill(phantoms, hard_recipe, tmp_path / "alone")) == 0
    finally:
        hook.remove()
    assert len(wholes) == 3 * 5
    for one, two, whole in zip(*together[1], wholes, strict=True):
        assert (len(one), len(two), len(whole)) == (4, 4, 8)
        assert _pictures(one, two) == _pictures(whole)


def _pictures(*batches: torch.Tensor) -> list[bytes]:
    return sorted(picture.numpy().tobytes() for batch in batches for picture in batch)


def test_killed_it_goes_on_to_the_same_weights(
    together: tuple[Path, list], phantoms: Path, hard_recipe: str, tmp_path: Path
) -> None:
    cut, apart = tmp_path / "cut", tmp_path / "apart"
    command = _distill(phantoms, hard_recipe, cut)
    done, watched = _watched(tmp_path / "one", command, KILL="1")
    assert done.returncode != 0
    assert watched == []
    assert torch.load(cut / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 0
    assert not (cut / "meta.json").exists()

    # The checkpoints of the first process alone are there: the second would begin anew, and both wait for ever.
    shutil.copytree(cut, tmp_path / "apart0")
    done, _ = _watched(tmp_path / "two", _distill(phantoms, hard_recipe, apart), SEPARATE="1")
    assert done.returncode != 0
    assert "apart1: this process sees another checkpoint than the first one" in done.stderr
    assert not (tmp_path / "apart0" / "meta.json").exists()

    done = _python(*TORCHRUN, "-m", "device.main", *command)
    assert done.returncode == 0, done.stderr
    assert "Epoch 0: " not in done.stdout + done.stderr, "it must go on, not begin anew"
    assert weights_hash(cut) == weights_hash(together[0])
    assert done.stdout.count(f"{cut}: student, ") == 2, "both processes know the run at the end"


def test_the_gradient_is_that_of_one_process(phantoms: Path, tmp_path: Path) -> None:
    # A transformer has no BatchNorm, and with one whole step AdamW's first moment is the gradient, times 0.1.
    recipe = write_tiny_recipe(
        tmp_path / "step.toml",
        ("mobilenetv3_small_050", "test_vit"),
        ('epochs = 3, batch = 8, lr = 2e-3, class_weights = "balanced"', "epochs = 1, batch = 40, lr = 2e-3"),
    )
    assert main(_distill(phantoms, recipe, tmp_path / "alone")) == 0
    done = _python(*TORCHRUN, "-m", "device.main", *_distill(phantoms, recipe, tmp_path / "together"))
    assert done.returncode == 0, done.stderr
    assert "It is recommended to use `self.log(" not in done.stderr, "what is logged is of one process alone"
    one, two = (_moments(tmp_path / name) for name in ("alone", "together"))
    assert len(one) == len(two) > 20
    largest = max(moment.abs().max().item() for moment in one)
    for mine, theirs in zip(one, two, strict=True):
        torch.testing.assert_close(theirs, mine, rtol=1e-4, atol=1e-6 * largest)
    mine, theirs = (_logged(tmp_path / name, "train_loss") for name in ("alone", "together"))
    assert len(mine) == 1
    assert theirs == pytest.approx(mine, rel=1e-5), "of both halves"


def _moments(run: Path) -> list[torch.Tensor]:
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["global_step"] == 1
    return [moments["exp_avg"] for moments in state["optimizer_states"][0]["state"].values()]


def _logged(run: Path, name: str) -> list[float]:
    values = np.genfromtxt(run / "log" / "metrics.csv", delimiter=",", names=True)[name]
    return values[~np.isnan(values)].tolist()


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"WORLD_SIZE": "3"}, "a batch of 8 cannot be shared by 3 processes; change the recipe's batch"),
        ({"WORLD_SIZE": "8"}, "a batch of 8 cannot be shared by 8 processes"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE, RANK or LOCAL_WORLD_SIZE is no number"),
        ({"WORLD_SIZE": ""}, "WORLD_SIZE, RANK or LOCAL_WORLD_SIZE is no number"),
        ({"WORLD_SIZE": "0"}, "start as many processes on each machine"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "WORLD_SIZE 2, RANK 2 and LOCAL_WORLD_SIZE 1 do not go together"),
        ({"WORLD_SIZE": "2", "RANK": "-1"}, "do not go together"),
        ({"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "3"}, "do not go together"),
        ({"LOCAL_WORLD_SIZE": "0"}, "do not go together"),
    ],
)
def test_what_torchrun_would_not_say_is_refused(
    phantoms: Path,
    recipe: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variables: dict[str, str],
    words: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    refused(capsys, _distill(phantoms, recipe, tmp_path / "run"), words)
    assert not (tmp_path / "run").exists(), "corrected, the same folder must do"
