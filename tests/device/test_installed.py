"""Installed models: a new one runs only when it is whole, checked and tried; whatever happens, a whole one runs."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from listening import notify_socket, pending

from device import files, installed, main, shipped, trust
from device.bundle import file_entry, load_bundle, sign_bundle
from device.choice import choose
from device.errors import UserError
from device.runtime import Model
from device.schema import dump
from device.trust import Trust

DRIVER = Path(__file__).with_name("kill_driver.py")


@pytest.fixture
def whom(trusted_keys: Path) -> Trust:
    return Trust((trusted_keys,))


@pytest.fixture
def models(bundle_dir: Path, whom: Trust, tmp_path: Path) -> Path:
    """A folder with float32 as the current and float16 as the previous model."""
    folder = tmp_path / "models"
    installed.install(bundle_dir / "float16", folder, whom)
    installed.install(bundle_dir / "float32", folder, whom)
    return folder


@pytest.fixture
def stand_in(bundle_dir: Path, trusted_keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model that ships, and its key."""
    folder = Path(shutil.copytree(bundle_dir / "int8-dynamic", tmp_path / "ship" / "stand-in"))
    monkeypatch.setattr(shipped, "FOLDER", folder.parent)
    monkeypatch.setattr(trust, "SHIPPED_KEYS", trusted_keys)
    return folder


def variants(models: Path) -> tuple[str | None, str | None]:
    """The variants of the current and the previous model."""
    found = (installed.current(models, name) for name in (installed.CURRENT, installed.PREVIOUS))
    current, previous = (None if folder is None else load_bundle(folder).meta.variant for folder in found)
    return current, previous


def contents(folder: Path) -> dict[str, bytes | str]:
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


# --- install and roll back


def test_a_new_model_takes_the_place_and_the_old_one_is_kept(bundle_dir: Path, models: Path, whom: Trust) -> None:
    assert variants(models) == ("float32", "float16")
    bundle, warning = installed.install(bundle_dir / "int8-full", models, whom)
    assert (bundle.meta.variant, bundle.signed_by, warning) == ("int8-full", "maker.pub", None)
    assert variants(models) == ("int8-full", "float32")
    assert contents(installed.current(models)) == contents(bundle_dir / "int8-full")
    assert len(list(models.iterdir())) == 4  # two models, two links: the oldest is gone
    for path in models.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644)


def test_rolling_back_twice_changes_nothing(models: Path, whom: Trust, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(models)
    for _ in range(2):
        assert installed.rollback(models, whom)[0].meta.variant == "float16"
        assert variants(models) == ("float16", "float32")
        assert installed.rollback(models, whom)[0].meta.variant == "float32"
        assert contents(models) == before
        monkeypatch.setattr(files, "swap", lambda first, second: False)  # a system that cannot swap two names


def test_the_first_model_is_rolled_back_to_the_shipped_one(
    bundle_dir: Path, whom: Trust, stand_in: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    installed.install(bundle_dir / "float32", models, whom)
    assert variants(models) == ("float32", None)
    assert installed.rollback(models, whom)[0].folder == stand_in
    assert variants(models) == (None, "float32")
    assert installed.rollback(models, whom)[0].meta.variant == "float32"
    installed.rollback(models, whom)
    installed.install(bundle_dir / "float16", models, whom)  # what ran before this one is the shipped model
    assert variants(models) == ("float16", None)


def test_the_same_model_again_mends_it_and_keeps_the_one_before(bundle_dir: Path, models: Path, whom: Trust) -> None:
    for damaged in (False, True):
        if damaged:
            (installed.current(models) / "model.tflite").write_bytes(b"a failing card")
        installed.install(bundle_dir / "float32", models, whom)
        assert variants(models) == ("float32", "float16")
        assert contents(installed.current(models)) == contents(bundle_dir / "float32")


def test_a_damaged_model_does_not_become_the_previous_one(bundle_dir: Path, models: Path, whom: Trust) -> None:
    (installed.current(models) / "model.tflite").write_bytes(b"a failing card")
    installed.install(bundle_dir / "int8-full", models, whom)
    assert variants(models) == ("int8-full", "float16")


def test_only_what_is_busi_kds_own_is_cleared_away(bundle_dir: Path, models: Path, whom: Trust) -> None:
    own = {"notes.txt", "bundle-mine", ".hidden", "bundle-0123456789ab.d"}
    for name in own:
        (models / name).mkdir()
    for name in ("bundle-0123456789ab", "bundle-0123456789ab-2", ".bundle-0123456789ab.x_1"):
        (models / name).mkdir()
    installed.install(bundle_dir / "int8-full", models, whom)
    left = {path.name for path in models.iterdir() if not (path.is_symlink() or (path / "bundle.json").is_file())}
    assert left == own - {"bundle-0123456789ab.d"}


# --- what is rejected


def rehash(folder: Path, key: Path) -> None:
    """Make bundle.json fit the model again and sign it: a maker's own mistake."""
    data = json.loads((folder / "bundle.json").read_text())
    data["files"]["model.tflite"] = dump(file_entry(folder / "model.tflite"))
    (folder / "bundle.json").write_text(json.dumps(data))
    sign_bundle(folder, key)


def unsigned(folder: Path, key: Path) -> None:
    (folder / "bundle.sig").unlink()


def altered(folder: Path, key: Path) -> None:
    (folder / "bundle.json").write_bytes((folder / "bundle.json").read_bytes() + b" ")


def truncated(folder: Path, key: Path) -> None:
    os.truncate(folder / "model.tflite", 1000)


def missing(folder: Path, key: Path) -> None:
    (folder / "model.tflite").unlink()


def no_model(folder: Path, key: Path) -> None:
    (folder / "model.tflite").write_bytes(b"signed, with the right hash, and no model" * 100)
    rehash(folder, key)


def another_network(folder: Path, key: Path) -> None:
    shutil.copy(folder.parent.parent / "float32.tflite", folder / "model.tflite")
    rehash(folder, key)


@pytest.mark.parametrize("spoil", [unsigned, altered, truncated, missing, no_model, another_network])
def test_a_rejected_bundle_never_replaces_the_running_one(
    spoil, bundle_dir: Path, maker_key: Path, models: Path, whom: Trust, tmp_path: Path, capsys
) -> None:
    before = contents(models)
    shutil.copy(bundle_dir / "float32" / "model.tflite", tmp_path / "float32.tflite")
    folder = Path(shutil.copytree(bundle_dir / "int8-full", tmp_path / "new" / "bundle"))
    spoil(folder, maker_key)
    arguments = ["device", "models", "install", folder, "--into", models, "--trusted-keys", whom.folders[0]]
    assert main.main([str(word) for word in arguments]) == 2
    out, err = capsys.readouterr()
    (sentence,) = [line for line in err.splitlines() if line.startswith("busi-kd: ")]
    assert out == ""
    assert str(folder) in sentence
    assert contents(models) == before


def test_a_model_that_gives_no_number_is_rejected(
    bundle_dir: Path, models: Path, whom: Trust, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(models)
    monkeypatch.setattr(Model, "logits", lambda self, luma: np.full(3, np.nan, np.float32))
    with pytest.raises(UserError, match="no finite number"):
        installed.install(bundle_dir / "int8-full", models, whom)
    with pytest.raises(UserError, match="no finite number"):
        installed.rollback(models, whom)
    assert contents(models) == before


def test_a_bundle_that_changes_while_it_is_copied_is_rejected(
    bundle_dir: Path, models: Path, maker_key: Path, whom: Trust, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(models)
    folder = Path(shutil.copytree(bundle_dir / "int8-full", tmp_path / "bundle"))
    real = installed.check

    def checked_and_exchanged(*arguments):
        found = real(*arguments)
        shutil.copytree(bundle_dir / "int8-dynamic", folder, dirs_exist_ok=True)  # signed and whole, but never tried
        return found

    monkeypatch.setattr(installed, "check", checked_and_exchanged)
    with pytest.raises(UserError, match="changed while it was copied"):
        installed.install(folder, models, whom)
    assert contents(models) == before


def test_a_rollback_to_what_is_damaged_is_rejected(models: Path, whom: Trust) -> None:
    (installed.current(models, "previous") / "model.tflite").write_bytes(b"a failing card")
    before = contents(models)
    with pytest.raises(UserError, match="wrong hash"):
        installed.rollback(models, whom)
    assert contents(models) == before


def test_without_a_model_before_there_is_nothing_to_roll_back_to(models: Path, whom: Trust, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        installed.rollback(tmp_path / "absent", whom)
    assert not (tmp_path / "absent").exists()
    (models / "previous").unlink()
    (models / "current").unlink()
    with pytest.raises(UserError, match="no model before"):
        installed.rollback(models, whom)


def test_one_installation_at_a_time(bundle_dir: Path, models: Path, whom: Trust) -> None:
    before, handle = contents(models), os.open(models, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(UserError, match="another installation is under way"):
        installed.install(bundle_dir / "int8-full", models, whom)
    os.close(handle)
    assert contents(models) == before


def test_something_else_named_current_is_left_alone(bundle_dir: Path, whom: Trust, tmp_path: Path) -> None:
    (tmp_path / "models" / "current").mkdir(parents=True)
    with pytest.raises(UserError, match="current: is no link"):
        installed.install(bundle_dir / "int8-full", tmp_path / "models", whom)
    assert (tmp_path / "models" / "current").is_dir()


# --- killed or refused at any step


@pytest.mark.parametrize("how", ["kill", "fail"])
@pytest.mark.parametrize(("action", "swap"), [("install", "swap"), ("rollback", "swap"), ("rollback", "none")])
def test_stopped_at_any_step_a_whole_model_runs(
    action: str, how: str, swap: str, bundle_dir: Path, models: Path, trusted_keys: Path
) -> None:
    old, older = (load_bundle(installed.current(models, name)).id for name in ("current", "previous"))
    new = load_bundle(bundle_dir / "int8-full").id
    command = [sys.executable, DRIVER, action, how, swap, bundle_dir / "int8-full", models, trusted_keys]
    environment = {**os.environ, "PYTHONPATH": str(Path(installed.__file__).parents[1])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    times = [json.loads(line) for line in done.stdout.splitlines()]
    stopped = {"kill": -9, "fail": 1}[how]
    between = {"install": (old, old), "rollback": (older, older)}[action]
    ended = {"install": (new, old), "rollback": (older, old)}[action]
    states = [(old, older), *[between] * (swap == "none" or action == "install"), ended]
    reached = 0
    assert len(times) > {"install": 15, "rollback": 1}[action]
    for status, current, previous, after, names in times:
        if status in (0, 2):
            assert (current, previous) == ended
        else:
            assert (current, previous) in states[reached:], "what was switched once stays so"
            reached = states.index((current, previous))
        assert after == new, "the next installation goes through"
        assert len(names) == 4, "and leaves nothing lying about"
    assert {status for status, *_ in times[:-1]} <= {stopped, 2 * (how == "fail")}  # 2: a clearing that failed
    assert times[-1][0] == 0


# --- what the daemon takes


def run(*options: object) -> int:
    return main.main(["device", "run", "--duration", "0.2", *map(str, options)])


def test_the_daemon_takes_the_given_then_the_installed_then_the_shipped_model(
    bundle_dir: Path, models: Path, stand_in: Path, tmp_path: Path, capsys
) -> None:
    for options, said in (
        (["--models", models, "--bundle", bundle_dir / "float16"], "variant=float16 synthetic=yes from=option"),
        (["--models", models], "variant=float32 synthetic=yes from=installed"),
        (["--models", tmp_path / "absent"], "variant=int8-dynamic synthetic=yes from=shipped"),
    ):
        assert run(*options) == 0
        out = capsys.readouterr().out
        assert f"{said} signed_by=maker.pub" in out
        assert "REFUSED" not in out


def broken_link(models: Path) -> None:
    shutil.rmtree(installed.current(models))


def broken_model(models: Path) -> None:
    (installed.current(models) / "model.tflite").write_bytes(b"a failing card")


def broken_signature(models: Path) -> None:
    (installed.current(models) / "bundle.sig").unlink()


@pytest.mark.parametrize(
    ("spoil", "why"), [(broken_link, "is not there"), (broken_model, "wrong hash"), (broken_signature, "not signed")]
)
def test_an_installed_model_that_is_refused_is_told_and_the_shipped_one_runs(
    spoil, why: str, models: Path, stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    spoil(models)
    with notify_socket(tmp_path / "notify") as sock:
        monkeypatch.setenv("NOTIFY_SOCKET", sock.getsockname())
        assert run("--models", models) == 0
        messages = pending(sock)
    lines = capsys.readouterr().out.splitlines()
    assert "variant=int8-dynamic synthetic=yes from=shipped signed_by=maker.pub" in lines[1]
    (said,) = [line for line in lines if line.startswith("INSTALLED MODEL REFUSED: ")]
    assert why in said
    assert said.endswith(" The model that ships with busi-kd runs instead.")
    states = [text for text in messages if text.startswith("STATUS=signal")]
    assert states
    assert all("Model tiny (shipped). INSTALLED MODEL REFUSED. SYNTHETIC. " in text for text in states)


def test_when_both_are_refused_both_reasons_are_told(models: Path, stand_in: Path, whom: Trust) -> None:
    broken_model(models)
    (stand_in / "bundle.sig").unlink()
    with pytest.raises(
        UserError, match=r"wrong hash.* The model that ships with busi-kd is refused, too: .*not signed"
    ):
        choose(None, models, whom, 1)


def test_a_given_bundle_that_is_refused_is_not_replaced_by_another(
    bundle_dir: Path, models: Path, stand_in: Path, whom: Trust, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="no such folder"):
        choose(tmp_path / "absent", models, whom, 1)


# --- the commands


def test_models_lists_what_ships_and_what_is_installed(
    models: Path, stand_in: Path, trusted_keys: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(installed, "FOLDER", models)
    assert main.main(["device", "models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    starts = ("tiny: int8-dynamic, ", "current: tiny: float32, ", "previous: tiny: float16, ")
    assert [line.startswith(start) for line, start in zip(lines, starts, strict=True)] == [True] * 3
    assert main.main(["device", "models", "rollback", "--trusted-keys", str(trusted_keys)]) == 0
    assert capsys.readouterr().out.startswith("rolled back to: tiny: float16, ")
    broken_link(models)
    assert main.main(["device", "models"]) == 0
    assert "current: leads to bundle-" in capsys.readouterr().out


def test_an_unsigned_model_is_installed_only_when_told_and_the_daemon_asks_again(
    bundle_dir: Path, models: Path, stand_in: Path, trusted_keys: Path, tmp_path: Path, capsys
) -> None:
    folder = Path(shutil.copytree(bundle_dir / "int8-full", tmp_path / "bundle"))
    (folder / "bundle.sig").unlink()
    call = ["device", "models", "install", str(folder), "--into", str(models), "--allow-unsigned"]
    assert main.main(call) == 0
    out, err = capsys.readouterr()
    assert out.startswith("installed: tiny: int8-full, ")
    assert "UNSIGNED: " in err
    assert "unless it is started with that option, too" in err
    assert run("--models", models) == 0
    assert "INSTALLED MODEL REFUSED: " in capsys.readouterr().out
    assert run("--models", models, "--allow-unsigned") == 0
    assert "from=installed signed_by=none" in capsys.readouterr().out
