"""The look at the service from outside: what is found, and what is done; systemctl is a stand-in that notes it down."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device import RESEARCH_NOTICE, main
from device.config.settings import KEYS
from device.doctor import health

RUNS = {"LoadState": "loaded", "ActiveState": "active", "Result": "success", "StatusText": "signal ok."}


@pytest.mark.parametrize(
    ("said", "figures_s", "up_s", "healthy", "act"),
    [
        (RUNS, None, 5.0, True, "none"),
        (RUNS, 3.0, 500.0, True, "none"),
        (RUNS, health.STALE_S + 1, 500.0, False, "restart"),
        (RUNS, float("inf"), 500.0, False, "restart"),
        (RUNS, float("inf"), 5.0, True, "none"),  # it has only just been started
        (RUNS, float("inf"), None, False, "restart"),
        (RUNS | {"ActiveState": "failed", "Result": "watchdog"}, None, None, False, "start"),
        (RUNS | {"ActiveState": "failed", "Result": "start-limit-hit"}, None, None, False, "start"),
        (RUNS | {"ActiveState": "failed", "Result": "exit-code", "ExecMainStatus": "2"}, None, None, False, "none"),
        (RUNS | {"ActiveState": "failed", "Result": "exit-code", "ExecMainStatus": "1"}, None, None, False, "start"),
        (RUNS | {"ActiveState": "inactive"}, float("inf"), None, None, "none"),
        (RUNS | {"ActiveState": "activating"}, float("inf"), None, None, "none"),
        ({"LoadState": "not-found", "ActiveState": "inactive"}, None, None, None, "none"),
        ({}, None, None, None, "none"),
    ],
)
def test_what_is_found(said: dict, figures_s: float, up_s: float, healthy: bool, act: str) -> None:
    found = health.judge(said, figures_s, up_s)
    assert (found.healthy, found.act) == (healthy, act)
    assert len(found.says) < 200


@given(
    st.dictionaries(st.sampled_from(health.ASKED.split(",")), st.text(max_size=20)),
    st.none() | st.floats(0) | st.just(float("inf")),
    st.none() | st.floats(0, 1e9),
)
def test_nothing_is_done_to_what_systemd_does_not_call_active_or_failed(said: dict, age: float, up: float) -> None:
    found = health.judge(said, age, up)
    if said.get("ActiveState") not in ("active", "failed") or said.get("LoadState") != "loaded":
        assert (found.healthy, found.act) == (None, "none")
    assert not (found.healthy and found.act != "none")


def systemctl(folder: Path, properties: dict[str, str], monkeypatch: pytest.MonkeyPatch, status: int = 0) -> Path:
    """A systemctl that answers `show` with these properties and notes every call; returns the file of its notes."""
    folder.mkdir()
    notes = folder / "notes"
    answer = "".join(f"{key}={value}\n" for key, value in properties.items())
    (folder / "answer").write_text(answer)
    program = folder / "systemctl"
    program.write_text(
        f'#!/bin/sh\nshift\necho "$@" >>{notes}\n'
        f"case $1 in show) cat {folder}/answer ;; *) echo no >&2; exit {status} ;; esac\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return notes


def test_a_failed_service_is_started_once_and_only_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = systemctl(tmp_path / "bin", RUNS | {"ActiveState": "failed", "Result": "watchdog"}, monkeypatch)
    config = tmp_path / "config.toml"
    config.write_text("")
    assert main.main(["device", "health", "--config", str(config)]) == 3
    assert [line.split()[0] for line in notes.read_text().splitlines()] == ["show"]
    assert "busi-kd.service has failed (watchdog)." in capsys.readouterr().out
    assert main.main(["device", "health", "--mend", "--config", str(config)]) == 0
    assert notes.read_text().splitlines()[2:] == ["reset-failed busi-kd.service", "start busi-kd.service"]
    said = capsys.readouterr().out
    assert "was started" in said
    assert RESEARCH_NOTICE in said


def test_stale_figures_bring_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures, config = tmp_path / "busi-kd.prom", tmp_path / "config.toml"
    config.write_text(f'[log]\nmetrics = "{figures}"\n')
    assert "log.metrics" in KEYS
    notes = systemctl(tmp_path / "bin", RUNS, monkeypatch)
    figures.write_text("busi_kd_info 1\n")
    assert main.main(["device", "health", "--mend", "--config", str(config)]) == 0
    assert len(notes.read_text().splitlines()) == 1
    old = figures.stat().st_mtime - 2 * health.STALE_S
    os.utime(figures, (old, old))
    assert main.main(["device", "health", "--mend", "--config", str(config)]) == 0
    assert notes.read_text().splitlines()[-1] == "restart busi-kd.service"


def test_a_wrong_configuration_is_left_to_the_daemon_to_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[nothing]\n")
    notes = systemctl(tmp_path / "bin", RUNS, monkeypatch)
    assert main.main(["device", "health", "--config", str(config)]) == 0
    assert len(notes.read_text().splitlines()) == 1


def test_a_refusal_of_systemd_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    systemctl(tmp_path / "bin", RUNS | {"ActiveState": "failed", "Result": "signal"}, monkeypatch, status=1)
    assert main.main(["device", "health", "--mend", "--config", "/dev/null"]) == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert "systemctl reset-failed busi-kd.service was refused (no)" in sentence
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert main.main(["device", "health", "--config", "/dev/null"]) == 2
    assert "systemctl show does not answer" in capsys.readouterr().err
