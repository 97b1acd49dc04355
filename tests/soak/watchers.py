"""Does anybody who watches the page slow the judging down? Rounds without and with watchers, by turns, in one run.

    python -m tests.soak.watchers --watchers 8 --rounds 6 --seconds 10 [--fps 30] [--out report.json]

The real daemon on the phantom, the real page as its child, watchers that read all they are sent by WebSocket. Ends with
status 1 when the judged frames per second fall by LIMIT or more, or when a watcher got no picture.
"""

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import aiohttp

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 0.05
PIN = "271828"
PORT = 18473
_JUDGED = re.compile(r"^fps=\S+ .*?\bjudged=(\d+)\b")


class Run:
    """The daemon with the page beside it. judged: frames so far, as its lines say."""

    def __init__(self, folder: Path, fps: float) -> None:
        config = folder / "config.toml"
        page = f'[page]\nfolder = "{folder}/page"\nsocket = "{folder}/live.sock"\nport = {PORT}\n'
        config.write_text(f"{page}[governor]\nenabled = false\n")
        options = ["--page", "--config", str(config), "--fps", str(fps)]
        command = [sys.executable, "-m", "device.main", "device", "run", *options]
        self.judged = 0
        self.ready = threading.Event()
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        served = False
        for line in self.process.stdout:
            served = served or line.startswith("page: http")
            if found := _JUDGED.match(line):
                self.judged += int(found[1])
                if self.judged and served:
                    self.ready.set()

    async def rate(self, seconds: float) -> float:
        """Judged frames per second, over about so many; from line to line, since the daemon says one a second."""
        first = await self._next()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            last = await self._next()
        return (last[1] - first[1]) / (last[0] - first[0])

    async def _next(self) -> tuple[float, int]:
        before = self.judged
        while self.judged == before:
            await asyncio.sleep(0.005)
        return time.monotonic(), self.judged


class Watcher:
    """Reads all it is sent. pictures, bytes: so far."""

    def __init__(self) -> None:
        self.pictures = self.bytes = 0

    async def watch(self, http: aiohttp.ClientSession, base: str) -> None:
        """Until cancelled."""
        async with http.ws_connect(f"{base}/api/live", origin=base, max_msg_size=1 << 22) as ws:
            async for message in ws:
                self.pictures += message.type == aiohttp.WSMsgType.BINARY
                self.bytes += len(message.data)


async def measure(run: Run, watchers: int, rounds: int, seconds: float, say=print) -> dict:
    """The report as plain data."""
    base = f"http://127.0.0.1:{PORT}"
    rates: dict[int, list[float]] = {0: [], watchers: []}
    shown = []
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        async with http.post(f"{base}/api/pin", json={"new": PIN}) as response:
            response.raise_for_status()
        await asyncio.sleep(2.0)  # what starting has begun
        for number in range(2 * rounds):
            # Neither is always the first of its pair: machines drift.
            many = watchers if number % 4 in (1, 2) else 0
            eyes = [Watcher() for _ in range(many)]
            tasks = [asyncio.create_task(eye.watch(http, base)) for eye in eyes]
            began = time.monotonic()
            rates[many].append(await run.rate(seconds))
            took = time.monotonic() - began
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            shown += [eye.pictures / took for eye in eyes]
            say(f"round {number + 1}: {many} watchers, {rates[many][-1]:.2f} frames judged a second")
    without, together = (statistics.median(rates[many]) for many in (0, watchers))
    return {
        "watchers": watchers,
        "judged_fps": {"without": without, "with": together, "fewer": 1 - together / without},
        "rounds": {str(many): found for many, found in rates.items()},
        "pictures_a_second": {"least": min(shown), "median": statistics.median(shown)},
        "seconds_a_round": seconds,
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "processor": _processor(),
    }


def _processor() -> str | None:
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else None


def main() -> int:
    """Returns 0 when the watchers cost less than LIMIT of the judged frames."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--watchers", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=6, help="of each kind (default: 6)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of a round (default: 10)")
    parser.add_argument(
        "--fps", type=float, default=30.0, help="of the phantom; 0: as fast as it is judged (default: 30)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    args = parser.parse_args()
    load = os.getloadavg()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder), args.fps)
        try:
            if not run.ready.wait(60):
                raise RuntimeError("the daemon judged no frame")
            report = asyncio.run(measure(run, args.watchers, args.rounds, args.seconds))
        finally:
            run.process.terminate()
            run.process.wait(30)
    text = json.dumps(report | {"fps": args.fps, "load_before": load}, indent=2)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")
    return int(report["judged_fps"]["fewer"] >= LIMIT or report["pictures_a_second"]["least"] < 1)


if __name__ == "__main__":
    sys.exit(main())
