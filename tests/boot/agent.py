"""Runs in the booted machine as a service: does what the host says, one thing at a time, a line of JSON each way.

{"run": TEXT, "within": S}: the shell's answer, {"status": N, "output": ...}. {"stream": TEXT}: its lines as they come,
{"line": ...} each, then the status. {"write": PATH, "text": ...}: a file.
"""

import glob
import json
import os
import subprocess
from pathlib import Path


def run(text: str, within_s: float) -> dict:
    command = ["/bin/sh", "-c", text]
    how = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    try:
        done = subprocess.run(command, **how, timeout=within_s)
    except subprocess.TimeoutExpired as error:
        return {"status": 124, "output": (error.stdout or b"").decode(errors="replace")}
    return {"status": done.returncode, "output": done.stdout.decode(errors="replace")}


def main() -> None:
    (path,) = glob.glob("/dev/vport*p*")
    port = os.open(path, os.O_RDWR)  # which takes one opener

    def say(what: dict) -> None:
        data = json.dumps(what).encode() + b"\n"
        while data:
            data = data[os.write(port, data) :]

    say({"hello": Path("/proc/sys/kernel/random/boot_id").read_text().strip()})
    for line in os.fdopen(port, "rb", closefd=False):
        asked = json.loads(line)
        if "write" in asked:
            Path(asked["write"]).parent.mkdir(parents=True, exist_ok=True)
            Path(asked["write"]).write_text(asked["text"])
            say({"status": 0, "output": ""})
        elif "stream" in asked:
            how = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
            with subprocess.Popen(["/bin/sh", "-c", asked["stream"]], **how) as process:
                for said in process.stdout:
                    say({"line": said.decode(errors="replace").rstrip("\n")})
            say({"status": process.returncode, "output": ""})
        else:
            say(run(asked["run"], asked["within"]))


if __name__ == "__main__":
    main()
