"""The parent's side of runner.py: start a competitor, ask it, and say in one sentence why it is out of the race."""

import json
import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RUNNER = Path(__file__).with_name("runner.py")
ROOT = Path(__file__).resolve().parents[2]
KILL_S = 5.0


class Failed(Exception):
    """The competitor cannot go on; str() is the reason, one sentence without the competitor's name."""


class Child:
    """A competitor's process; ends with the `with` block."""

    def __init__(self, command: Sequence[Path | str], environment: Mapping[str, str]) -> None:
        """command: that runs runner.py. environment: all its variables. Raises Failed when it cannot be started."""
        self._said = tempfile.TemporaryFile()  # a pipe would have to be emptied
        self._rest = b""
        try:
            self._process = subprocess.Popen(
                list(map(str, command)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                env=dict(environment),
                bufsize=0,
            )
        except OSError as error:
            self._said.close()
            raise Failed(f"{command[0]} cannot be started ({error.strerror})") from error
        os.set_blocking(self._process.stdout.fileno(), False)

    @classmethod
    def of(cls, python: Path | str, environment: Mapping[str, str] | None = None, script: Path = RUNNER) -> "Child":
        """python: of the engine's environment. environment: variables besides this process's own."""
        return cls([python, "-P", script], {**os.environ, **(environment or {})})

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, do: str, timeout_s: float, **request: Any) -> dict[str, Any]:
        """The answer to one request. Raises Failed when the process dies, or does not answer in time and is killed."""
        try:
            self._process.stdin.write(json.dumps({"do": do, **request}).encode() + b"\n")
        except BrokenPipeError:
            raise Failed(self._why()) from None
        return json.loads(self._line(do, time.monotonic() + timeout_s, timeout_s))

    def close(self) -> None:
        """End the process: by the end of its input, or killed when that does not suffice."""
        self._process.stdin.close()
        try:
            self._process.wait(KILL_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._said.close()

    def _line(self, do: str, ends: float, timeout_s: float) -> bytes:
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                left = ends - time.monotonic()
                if left <= 0 or not waiting.select(left):
                    self._process.kill()
                    raise Failed(f"it did not answer `{do}` within {timeout_s:g} s")
                more = self._process.stdout.read()
                if not more:
                    raise Failed(self._why())
                self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _why(self) -> str:
        try:
            status = self._process.wait(KILL_S)
        except subprocess.TimeoutExpired:  # it has closed its output and lives on
            self._process.kill()
            status = self._process.wait()
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        how = f"signal {-status}" if status < 0 else f"status {status}"
        return f"it died ({how}): {' '.join(lines[-1].split())[:200] if lines else 'it said nothing'}"
