"""A running daemon and all that it says, as it comes: rows of frames, edges, the lines of seconds."""

import csv
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SAID_S = 20.0  # for an edge behind the line that tells of it; longer than that it is missing
_EDGE = re.compile(r"signal: (?P<before>[a-z ]+) -> (?P<after>[a-z ]+?)(: .*)?$")


@dataclass
class Heard:
    """Since the last trial began. rows: of judged frames, `at` added: when it was read, time.monotonic()."""

    rows: list[dict[str, str]] = field(default_factory=list)
    edges: list[tuple[str, str]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Watched:
    """The process and its two streams. state: what it last said of its source."""

    def __init__(self, folder: Path, *command: str | Path) -> None:
        """command: of Python, which also gets the file for the rows as its last argument."""
        fifo = folder / "rows"
        os.mkfifo(fifo)
        self._rows = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        self.process = subprocess.Popen(
            [sys.executable, *command, fifo],
            stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            cwd=ROOT,
        )
        os.set_blocking(self.process.stdout.fileno(), False)
        self._partial = {self.process.stdout.fileno(): b"", self._rows: b""}
        self._columns: list[str] | None = None
        self.state = "waiting"
        self._left: set[str] = set()  # the states that were left since the last line of seconds
        self.lines = 0
        self.heard = Heard()

    def wait(self, until: Callable[[], bool], seconds: float) -> bool:
        """Take in what it says until `until()` holds; False when it did not within `seconds`."""
        end = time.monotonic() + seconds
        while not until():
            left = end - time.monotonic()
            if left <= 0:
                return False
            for stream in select.select(list(self._partial), [], [], min(left, 0.05))[0]:
                self._read(stream)
        return True

    def listen(self, seconds: float) -> None:
        """Take in all it says for so long."""
        self.wait(lambda: False, seconds)

    def _read(self, stream: int) -> None:
        data = os.read(stream, 1 << 16)
        if not data:
            if self.process.poll() is not None:
                raise RuntimeError(f"the daemon has ended with status {self.process.returncode}")
            return
        *lines, self._partial[stream] = (self._partial[stream] + data).split(b"\n")
        for line in lines:
            (self._row if stream == self._rows else self._line)(line.decode())

    def _row(self, text: str) -> None:
        if text.startswith("#"):
            return
        (cells,) = csv.reader([text])
        if self._columns is None:
            self._columns = cells
            return
        self.heard.rows.append(dict(zip(self._columns, cells, strict=True)) | {"at": time.monotonic()})

    def _line(self, text: str) -> None:
        self.lines += 1
        if edge := _EDGE.match(text):
            if edge["before"] != self.state:
                self.heard.wrong.append(f"an edge from {edge['before']!r} while the state was {self.state!r}")
            self.state = edge["after"]
            self._left.add(edge["before"])
            self.heard.edges.append((edge["before"], edge["after"]))
        elif text.startswith("fps="):
            said = dict(re.findall(r'(\S+?)=("[^"]*"|\S+)', text))["signal"].strip('"')
            begun, left, self._left = len(self.heard.edges), self._left, set()

            def told() -> bool:
                return said == self.state or any(said == after for _, after in self.heard.edges[begun:])

            # Another thread says the edges: between this line's making and its writing one may come, or just behind it.
            if said not in left and not self.wait(told, SAID_S):
                self.heard.wrong.append(f"signal={said!r} while the state was {self.state!r}")

    def memory_kb(self, which: str = "Anonymous") -> dict[str, int]:
        """Memory of the daemon and of its child, kB. which: `Anonymous`, their own alone; `Rss`, resident; `Pss`,
        shared pages in parts, which grows when other programs with the same libraries end."""
        pids = {"daemon": str(self.process.pid)}
        for thread in Path(f"/proc/{self.process.pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                pids["child"] = child
        wanted = re.compile(rf"^{which}:\s+(\d+) kB$", re.MULTILINE)
        return {who: int(wanted.search(Path(f"/proc/{pid}/smaps_rollup").read_text())[1]) for who, pid in pids.items()}

    def end(self) -> None:
        """Stop it."""
        self.process.terminate()
        self.process.wait(30)
        self.process.stdout.close()
        os.close(self._rows)
