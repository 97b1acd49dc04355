"""A daemon that begins anew in place is still told to stop: no signal is lost on the way, and none is held for ever."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from page_served import PATIENCE_S, ROOT, Started, configuration

from device.live.message import encode

# What runs when the handlers of the program before have gone, and its mask has stayed, with a signal behind it.
MASKED = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
os.kill(os.getpid(), int(sys.argv[1]))
os.execv(sys.executable, [sys.executable, "-m", "device.main", *sys.argv[2:]])
"""


def ask_to_restart(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.connect(str(folder / "live.sock"))
        sock.sendall(encode({"ask": "command", "do": "restart"}))
        assert sock.recv(4096)


def status(process: int, key: str) -> str:
    """A line of /proc/PROCESS/status."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{key}:"))


def children(parent: int) -> list[int]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if int(status(int(name), "PPid")) == parent:
                found.append(int(name))
        except OSError:  # it has ended meanwhile
            continue
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("line", ["stopped: it starts again", "starting again in place."])
def test_told_to_stop_while_it_begins_anew_it_ends(
    line: str, number: signal.Signals, tmp_path: Path, bundle_dir: Path
) -> None:
    daemon = Started(configuration(tmp_path, bundle_dir / "int8-full"))
    try:
        daemon.wait_for(" -> ok")
        ask_to_restart(tmp_path)
        daemon.wait_for(line)
        daemon.process.send_signal(number)
        # By the signal itself, where it comes just before a handler stands, and as Ctrl-C of a start does.
        assert daemon.process.wait(PATIENCE_S) in {0, -number, 130}
    finally:
        daemon.process.kill()
        daemon.process.wait()
        daemon.process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_that_came_on_the_way_is_the_first_thing_that_is_heard(
    number: signal.Signals, tmp_path: Path, bundle_dir: Path
) -> None:
    config = configuration(tmp_path, bundle_dir / "int8-full")
    command = [sys.executable, "-c", MASKED, str(int(number)), "device", "run", "--config", str(config)]
    done = subprocess.run([*command, "--duration", "0.1"], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.returncode, done.stdout) == (0, f"stopped: {number.name}.\n"), done.stderr
    assert not (tmp_path / "studies").exists(), "nothing was begun"


def test_once_it_has_begun_anew_it_and_its_source_take_signals_as_ever(tmp_path: Path, bundle_dir: Path) -> None:
    daemon = Started(configuration(tmp_path, bundle_dir / "int8-full"))
    try:
        daemon.wait_for(" -> ok")
        ask_to_restart(tmp_path)
        daemon.wait_for("starting again in place.")
        daemon.wait_for(" -> ok")
        begun = children(daemon.process.pid)
        assert begun
        assert {int(status(process, "SigBlk"), 16) for process in (daemon.process.pid, *begun)} == {0}
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(PATIENCE_S) == 0
        assert daemon.process.stdout.readlines()[-1] == "stopped: SIGTERM.\n"
    finally:
        daemon.process.kill()
        daemon.process.wait()
        daemon.process.stdout.close()
