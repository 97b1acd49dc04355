"""The service: is the unit installed, does it run, has it failed?"""

import shutil
import subprocess

from device.doctor import Finding

UNIT = "busi-kd.service"
ASK_S = 10.0


def service() -> Finding:
    """Ask systemctl. Nothing is known where there is none, or where systemd does not run."""
    program = shutil.which("systemctl")
    if program is None:
        return Finding("service", "unknown", "there is no systemctl.", "Start the daemon by hand: busi-kd device run")
    command = [program, "show", UNIT, "--property=LoadState,ActiveState,SubState,Result,NRestarts,StatusText"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=ASK_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("service", "unknown", f"systemctl does not answer ({type(error).__name__}).", "Start again.")
    lines = done.stdout.decode(errors="replace").splitlines()
    said = dict(line.split("=", 1) for line in lines if "=" in line)
    if done.returncode or "LoadState" not in said:
        return Finding(
            "service", "unknown", "systemd does not run here.", "Start the daemon by hand: busi-kd device run"
        )
    return judge(said)


def judge(said: dict[str, str]) -> Finding:
    """Properties of the unit as `systemctl show` prints them -> the finding."""
    if said["LoadState"] == "not-found":
        return Finding(
            "service",
            "note",
            f"{UNIT} is not installed.",
            "To have it run by itself, install the package (docs/install.md).",
        )
    if said["LoadState"] != "loaded":
        do = f"systemd-analyze verify {UNIT} says what is wrong; install the package again."
        return Finding("service", "problem", f"{UNIT} cannot be loaded ({said['LoadState']}).", do)
    active, sub = said.get("ActiveState", ""), said.get("SubState", "")
    restarts = int(said["NRestarts"]) if said.get("NRestarts", "").isdecimal() else 0
    if active == "failed":
        do = "journalctl -u busi-kd -n 20 says why; then systemctl reset-failed busi-kd, and systemctl start busi-kd."
        return Finding("service", "problem", f"{UNIT} has failed ({said.get('Result') or 'unknown'}).", do)
    if active == "active":
        text = f" {said['StatusText']}" if said.get("StatusText") else ""
        if restarts:
            do = "journalctl -u busi-kd says why it was started again."
            return Finding("service", "note", f"{UNIT} runs; it was started again {restarts} times.{text}", do)
        return Finding("service", "ok", f"{UNIT} runs.{text}")
    if active == "activating":
        do = "journalctl -fu busi-kd: it waits for a first frame, or is being started again after a failure."
        return Finding("service", "note", f"{UNIT} is starting ({sub}, {restarts} times started again).", do)
    return Finding("service", "note", f"{UNIT} does not run ({active}).", "sudo systemctl start busi-kd")
