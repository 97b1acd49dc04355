"""`python -m tests.fleet.many --units 300`: many units against one real Mosquitto, and what that costs the broker.

Each unit is the project's own Publisher with the settings of [fleet], fed with what a daemon tells; several of them
share a process. Measured at a subscriber: messages per second, and how long one takes; of the broker: CPU and memory
(/proc). Then all connections are lost at once, and how long it takes until every unit is back.
"""

import argparse
import json
import multiprocessing
import os
import queue
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

sys.path.insert(0, str(Path(__file__).parent))
from brokers import broker, certificates, password_file, until

from device.config.fleet import FleetSettings
from device.fleet.allowed import METRICS, Sample
from device.fleet.publisher import Publisher
from device.fleet.watch import Reading

PER_PROCESS = 25


def samples() -> tuple[Sample, ...]:
    """One sample of every metric that may leave; of labels the first words."""
    found = []
    for name, metric in METRICS.items():
        words = {
            label: min(them) if isinstance(them, frozenset) else {"version": "0.1.0", "id": "0" * 12}[label]
            for label, them in metric.labels.items()
        }
        found.append((name, tuple(words.items()), min(metric.high, max(metric.low, 42.0))))
    return tuple(found)


def units(settings: FleetSettings, first: int, count: int, stop: object) -> None:
    """One process: each unit in a thread of its own, as each is in a process of its own."""

    def unit(number: int) -> None:
        time.sleep(settings.every_s * number / (first + count))  # units are not switched on in the same instant
        publisher = Publisher(settings, f"{number:016x}", lambda _: None)
        while not stop.is_set():
            publisher.take(Reading("running", "", SAMPLES, time.monotonic()))
            publisher.work(1.0)
        publisher.leave()

    threads = [threading.Thread(target=unit, args=(number,)) for number in range(first, first + count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


SAMPLES = samples()


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far: utime and stime of /proc/PID/stat."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    """Resident memory of a process, in MB."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines["VmRSS"].split()[0]) * 1024 / 1e6


class Watcher:
    """Counts what a subscriber of everything gets."""

    def __init__(self, port: int, ca: Path | None, user: tuple[str, str]) -> None:
        self.messages = self.bytes = 0
        self.status: dict[str, bool] = {}
        self.delays: queue.Queue[float] = queue.Queue()
        self.leaves: dict[str, list[int]] = {}
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.username_pw_set(*user)
        if ca is not None:
            self._client.tls_set(str(ca))
        self._client.on_connect = lambda client, *_: client.subscribe("busi-kd/#", qos=1)
        self._client.on_message = self._heard
        self._client.reconnect_delay_set(0.1, 0.5)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _heard(self, _client: object, _data: object, message: object) -> None:
        self.messages += 1
        self.bytes += len(message.topic) + len(message.payload)
        _, _, unit, leaf = message.topic.split("/")
        self.leaves.setdefault(leaf, []).append(len(message.payload))
        if leaf == "status":
            self.status[unit] = json.loads(message.payload)["online"]

    def online(self) -> int:
        """How many units are online, as far as it was told."""
        return sum(list(self.status.values()))

    def close(self) -> None:
        """Go."""
        self._client.disconnect()
        self._client.loop_stop()


def measure(count: int, every_s: float, seconds: float, tls: bool) -> None:
    """Print the figures of `count` units that report every `every_s`, over `seconds`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ca = certificates(folder / "pki", "broker")
        users = password_file(folder / "users", "unit", "word")
        word = folder / "word"
        word.write_text("word\n")
        word.chmod(0o600)
        lines = [f"password_file {users}", "max_queued_messages 1000"]
        pki = folder / "pki"
        if tls:
            lines = [*lines, f"cafile {ca}", f"certfile {pki}/broker.pem", f"keyfile {pki}/broker.key"]
        with broker(folder / "broker", *lines, anonymous=False) as there:
            keys = {"enabled": True, "broker": "127.0.0.1", "port": there.port, "user": "unit", "password_file": word}
            settings = FleetSettings(**keys, tls=tls, ca=ca if tls else None, every_s=every_s)
            idle_mb = rss_mb(there.process.pid)
            watcher = Watcher(there.port, ca if tls else None, ("unit", "word"))
            context = multiprocessing.get_context("spawn")
            stop = context.Event()
            made = [
                context.Process(target=units, args=(settings, first, min(PER_PROCESS, count - first), stop))
                for first in range(0, count, PER_PROCESS)
            ]
            began = time.monotonic()
            for process in made:
                process.start()
            wait(lambda: watcher.online() == count, every_s + 120.0)
            print(f"units: {count}, every {every_s:g} s, {'TLS 1.3' if tls else 'no TLS'}, user and password")
            print(f"all online {time.monotonic() - began:.0f} s after the first was started")
            time.sleep(every_s)  # past the crowd of the beginning
            report(there.process.pid, watcher, seconds, idle_mb)
            there.stop()
            watcher.status.clear()
            there.start()
            back = time.monotonic()
            wait(lambda: watcher.online() == count, 400.0)
            print(f"after a restart of the broker all are back in {time.monotonic() - back:.1f} s, ", end="")
            print(f"which took it {cpu_s(there.process.pid):.2f} s of CPU")
            stop.set()
            for process in made:
                process.join()
            until(lambda: watcher.online() == 0, "all have said that they stopped")
            print("all said farewell")
            watcher.close()


def report(pid: int, watcher: Watcher, seconds: float, idle_mb: float) -> None:
    """Count for so long, and print."""
    before = (watcher.messages, watcher.bytes, cpu_s(pid), time.monotonic())
    time.sleep(seconds)
    took = time.monotonic() - before[3]
    messages, sent, cpu = watcher.messages - before[0], watcher.bytes - before[1], cpu_s(pid) - before[2]
    print(f"over {took:.0f} s: {messages / took:.1f} messages/s, {sent / took / 1000:.1f} kB/s at one subscriber")
    print(
        f"broker: {100 * cpu / took:.2f} % of one core, {rss_mb(pid):.1f} MB resident ({idle_mb:.1f} MB without units)"
    )
    sizes = {leaf: f"{statistics.median(found):.0f}" for leaf, found in sorted(watcher.leaves.items())}
    print("payload, median bytes: " + ", ".join(f"{leaf} {size}" for leaf, size in sizes.items()))


def wait(true: object, seconds: float) -> None:
    """Look again and again; raises TimeoutError."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError("not all units are online")
        time.sleep(0.05)


def main() -> None:
    """Parse and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=300)
    parser.add_argument("--every", type=float, default=30.0, help="seconds between two reports")
    parser.add_argument("--seconds", type=float, default=120.0, help="how long is counted")
    parser.add_argument("--no-tls", action="store_true")
    args = parser.parse_args()
    model = next(
        (line.partition(":")[2].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), ""
    )
    print(f"{model}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the beginning")
    measure(args.units, args.every, args.seconds, not args.no_tls)


if __name__ == "__main__":
    main()
