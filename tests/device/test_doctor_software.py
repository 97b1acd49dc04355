"""The doctor on Python, packages, configuration and model; and the command as a whole."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from device import RESEARCH_NOTICE
from device.config.settings import ModelSettings, Settings
from device.doctor import STATES, Finding, cli, model, software
from device.doctor.child import ask
from device.main import main
from device.shipped import default_bundle, shipped
from device.trust import SHIPPED_KEYS

ROOT = Path(__file__).parents[2]


def test_python() -> None:
    assert software.python().state == "ok"
    assert software.python((3, 9, 2), 64).state == "problem"
    assert software.python((3, 11, 2), 32).state == "problem"


def test_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert software.packages(("numpy",)).state == "ok"
    (tmp_path / "illegal.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n")
    (tmp_path / "half.py").write_text("raise OSError('wrong ELF class')\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = software.packages(("illegal", "numpy", "half", "absent_package"))
    assert found.state == "problem"
    for said in (
        "illegal (was ended by SIGILL)",
        "half (OSError: wrong ELF class)",
        "No module named 'absent_package'",
    ):
        assert said in found.says
    assert "numpy" not in found.says


def test_a_child_that_hangs_is_ended() -> None:
    assert ask(["-c", "import time; time.sleep(60)"], 0.2).ended == "gave no answer within 0.2 s"


def test_configuration(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[model]\nthreads = 2\n")
    found, now = software.configuration(file)
    assert (found.state, now.settings.model.threads) == ("ok", 2)
    for wrong in ("[model]\nthreads = 0\n", "[source]\nkind = 'folder'\n", "[model\n", "[region]\nmode = 'fixed'\n"):
        file.write_text(wrong)
        found, now = software.configuration(file)
        assert (found.state, now.settings) == ("problem", Settings())
        assert f"{file}, line " in found.says


def test_options_that_win_over_the_file(tmp_path: Path) -> None:
    assert software.environment(tmp_path) is None
    file = tmp_path / software.ENVIRONMENT
    file.parent.mkdir(parents=True)
    for content, left in (
        ("# BUSI_KD_ARGS=x\n", False),
        ('BUSI_KD_ARGS=""\n', False),
        ('BUSI_KD_ARGS="--fps 5"\n', True),
    ):
        file.write_text(content)
        found = software.environment(tmp_path)
        assert (found is not None) == left
    assert (found.state, "--fps 5 wins" in found.says) == ("note", True)


# --- model


@pytest.mark.parametrize("ships", shipped(), ids=lambda path: path.name)
def test_a_model_that_ships_answers_the_pattern_as_it_should(ships: Path, tmp_path: Path) -> None:
    default = ships == default_bundle()
    found = model.try_model(ModelSettings(None if default else ships, models=tmp_path))
    assert found.state == "ok", found.says
    assert "answers the test pattern as it should" in found.says  # after another model ships, put its answer into KNOWN
    assert "through XNNPACK" in found.says


def test_models_that_are_refused(tmp_path: Path, bundle_dir: Path, trusted_keys: Path) -> None:
    """Unsigned to this machine; altered; not there. And one that is trusted, but knows phantoms alone."""
    stranger = bundle_dir / "float32"
    found = model.try_model(ModelSettings(stranger, tmp_path, SHIPPED_KEYS))
    assert (found.state, "signed by none of the keys" in found.says) == ("problem", True)
    found = model.try_model(ModelSettings(stranger, tmp_path, SHIPPED_KEYS, allow_unsigned=True))
    assert (found.state, found.says.startswith("UNSIGNED: ")) == ("note", True)
    found = model.try_model(ModelSettings(stranger, tmp_path, trusted_keys))
    assert (found.state, "trained on phantoms" in found.says) == ("note", True)
    altered = tmp_path / "altered"
    shutil.copytree(default_bundle(), altered)
    (altered / "model.tflite").write_bytes(b"no model")
    found = model.try_model(ModelSettings(altered, tmp_path))
    assert (found.state, "wrong hash" in found.says) == ("problem", True)
    found = model.try_model(ModelSettings(tmp_path / "absent", tmp_path))
    assert found.state == "problem"


GOOD = {
    **{"name": "busi-ship", "id": "of another", "variant": "int8-full", "synthetic": False, "origin": "shipped"},
    **{"signed_by": "k.pub", "notes": [], "interpreter": "ai-edge-litert 2.1.0", "delegates": 1, "step": 0.02},
    **{"logits": [1.0, 0.0, -1.0], "black": [0.0, 1.0, 0.0], "ms": 2.0},
}


@pytest.mark.parametrize(
    ("changes", "state", "says"),
    [
        ({}, "ok", "no known answer is on record"),
        ({"delegates": 0}, "note", "XNNPACK is not used"),
        ({"logits": [float("nan"), 0.0, 0.0]}, "problem", "no finite number"),
        ({"logits": [0.0, 1.0, 0.0]}, "problem", "alike"),
        ({"id": "45dbcfba6a71"}, "problem", "not as it should"),
        ({"notes": ["INSTALLED MODEL REFUSED: x."]}, "note", "INSTALLED MODEL REFUSED"),
    ],
)
def test_what_the_trial_may_say(changes: dict, state: str, says: str) -> None:
    found = model.judge(json.loads(json.dumps(GOOD | changes)))
    assert (found.state, says in found.says) == (state, True)


# --- the command


def doctor(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "device.main", "device", "doctor", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_command_says_all_and_ends_with_3_when_there_is_a_problem(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[source]\nkind = 'folder'\npath = '/nowhere'\n")
    done = doctor("--config", file, "--json")
    assert done.returncode == 3, done.stderr
    said = json.loads(done.stdout)
    assert said["notice"] == RESEARCH_NOTICE
    names = {check["name"]: check["state"] for check in said["checks"]}
    wanted = ("python", "packages", "configuration", "source", "model", "temperature", "throttling", "power", "memory")
    assert {*wanted, "disk", "writing", "clock", "service"} <= set(names)
    assert names["source"] == "problem"
    assert sum(said["counts"].values()) == len(said["checks"])
    assert all(check["do"] for check in said["checks"] if check["state"] != "ok")

    done = doctor("--config", file)
    assert done.returncode == 3
    first, *lines, last = done.stdout.splitlines()
    assert first == RESEARCH_NOTICE
    assert any(line.split()[:2] == ["problem", "source"] for line in lines)
    assert " problem, " in last


def test_the_status_is_0_without_a_problem(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for states, status in ((("ok", "note", "unknown"), 0), (("ok", "problem"), 3)):
        found = [Finding("a check", state, "says.", None if state == "ok" else "this") for state in states]
        monkeypatch.setattr(cli, "examine", lambda _, found=found: found)
        assert main(["device", "doctor"]) == status
        assert capsys.readouterr().out == cli.text(found)


def test_lines_are_short_and_everything_is_in_them() -> None:
    found = [Finding("configuration", state, "word " * 60 + "end.", "do " * 60 + "it") for state in STATES]
    text = cli.text(found)
    assert max(map(len, text.splitlines())) <= cli.WIDTH
    assert text.count("word") == 240
    assert text.endswith("1 ok, 1 note, 1 problem, 1 unknown.\n")
