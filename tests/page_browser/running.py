"""A real daemon with its page, judging phantoms that a test puts before it, and a real Chromium that looks at it.

The daemon reads a folder that holds one picture. Another picture takes its place by a rename, and with the folder gone
there is no signal: so every state is reached by what a machine would really send.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import Browser, sync_playwright

from device.bundle import Bundle, intended_use, load_bundle, sign_bundle, write_bundle
from device.decide import ABSTAIN, decide
from device.phantom import CLASSES, make_phantom
from device.preprocess import prepare
from device.runtime import open_bundle
from device.shipped import default_bundle
from device.signing import new_key

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = "/usr/bin/chromium"
PIN = "2468"
FPS = 10
PATIENCE_S = 120.0  # for what takes a moment on a busy machine; nothing waits so long that works
MODEL = '[model]\nbundle = "{}"\ntrusted_keys = "{}/keys"\n'
SEEDS = 80  # phantoms that are tried until the model says what is wanted


def demonstration_bundle(folder: Path, ships: Path | None = None) -> Bundle:
    """A shipped network, the default one unless another is given, in a bundle that is marked as synthetic, so that
    phantoms are judged and said to be such; signed, with the public key beside it in `folder`/../keys."""
    shipped = load_bundle(ships or default_bundle())
    meta = replace(shipped.meta, synthetic=True, intended_use=intended_use(synthetic=True), familiar=None)
    bundle = write_bundle(folder, shipped.model_path, meta)
    keys = folder.parent / "keys"
    keys.mkdir()
    new_key(keys / "demonstration")
    sign_bundle(folder, keys / "demonstration")
    return bundle


def phantoms_by_verdict(bundle: Bundle) -> dict[str, np.ndarray]:
    """One phantom, (H, W) uint8, for each verdict that the bundle's model gives: malignant, benign and abstain, the
    surest of the first SEEDS. Fails when there is none."""
    model = open_bundle(bundle)
    best: dict[str, tuple[float, np.ndarray]] = {}
    for seed in range(SEEDS):
        for name in CLASSES:
            image = make_phantom(name, seed).image
            verdict = decide(model.logits(prepare(image, bundle.meta.preprocess)), bundle.meta)
            largest = max(verdict.probabilities.values())
            sure = -largest if verdict.label == ABSTAIN else verdict.probabilities[verdict.label]
            if verdict.label not in best or sure > best[verdict.label][0]:
                best[verdict.label] = sure, image
        if seed >= 10 and {"benign", "malignant", ABSTAIN} <= set(best):
            break
    missing = {"benign", "malignant", ABSTAIN} - set(best)
    assert not missing, f"the model calls none of {SEEDS * len(CLASSES)} phantoms {missing}"
    return {name: image for name, (_, image) in best.items()}


class Device:
    """A daemon with a page in a folder of its own. lines: (time.time(), line) of what it said."""

    def __init__(self, folder: Path, bundle: Path | None = None, region: str = "whole") -> None:
        """region: region.mode of the configuration file. bundle: of demonstration_bundle; None: no daemon."""
        self.folder, self.source = folder, folder / "screen"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.lines: list[tuple[float, str]] = []
        self._said = threading.Condition()
        folder.mkdir(parents=True, exist_ok=True)
        self.source.mkdir(exist_ok=True)
        config = folder / "config.toml"
        bundled = "" if bundle is None else MODEL.format(bundle, bundle.parent)
        config.write_text(
            f'{bundled}[source]\nkind = "folder"\npath = "{self.source}"\nfps = "{FPS} fps"\nloop = true\n'
            f'[page]\nfolder = "{folder}/page"\nsocket = "{folder}/live.sock"\nport = {self.port}\n'
            f'[recorder]\nenabled = true\nfolder = "{folder}/studies"\nreserve = "0 B"\n'
            f'[region]\nmode = "{region}"\nregions = "{folder}/regions.json"\n'
        )
        what = ["page"] if bundle is None else ["run", "--page"]
        self.command = [sys.executable, "-m", "device.main", "device", *what, "--config", str(config)]
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start it, and wait until the page listens."""
        env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env, cwd=self.folder
        )
        threading.Thread(target=self._listen, args=(self.process.stdout,), daemon=True).start()
        self.wait_for("page: http://")

    def _listen(self, stream) -> None:
        for line in stream:
            with self._said:
                self.lines.append((time.time(), line.rstrip()))
                self._said.notify_all()

    def wait_for(self, part: str, since: int = 0) -> tuple[float, str]:
        """When a line with `part` came, and the line; from the line number `since` on."""

        def found() -> tuple[float, str] | None:
            return next((one for one in self.lines[since:] if part in one[1]), None)

        with self._said:
            done = self._said.wait_for(lambda: found() is not None, PATIENCE_S)
            assert done, f"no line with {part!r}:\n" + "\n".join(line for _, line in self.lines[-20:])
            return found()

    def show(self, picture: np.ndarray) -> None:
        """Put another picture before the daemon, (H, W) or (H, W, 3) uint8; it is there at once and whole."""
        back = self.source.with_name("gone")
        if back.is_dir():
            back.rename(self.source)
        aside = self.folder / "next.png"
        assert cv2.imwrite(str(aside), picture)
        aside.replace(self.source / "picture.png")

    def lose_signal(self) -> float:
        """Take the source away; returns time.time() at which the daemon noticed."""
        since = len(self.lines)
        self.source.rename(self.source.with_name("gone"))
        return self.wait_for("-> no device", since)[0]

    def pause(self, stopped: bool) -> None:
        """Let the daemon, and not its page, stand still, as one that hangs; or go on."""
        os.kill(self.process.pid, signal.SIGSTOP if stopped else signal.SIGCONT)

    def stop(self) -> None:
        """End it."""
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(PATIENCE_S)
            finally:
                self.process.kill()  # one that does not end fails its test, and must not outlive it


@contextmanager
def device(
    folder: Path, bundle: Path | None = None, region: str = "whole", first: np.ndarray | None = None
) -> Iterator[Device]:
    """A running Device. first: the picture that it begins with."""
    one = Device(folder, bundle, region)
    if first is not None:
        one.show(first)
    try:
        one.start()
        yield one
    finally:
        one.stop()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, headless. Fails with what to do where there is none: a skip would look like a pass."""
    if not shutil.which(CHROMIUM):
        raise AssertionError(f"{CHROMIUM}: the page's tests need a browser; install it: apt-get install chromium")
    with sync_playwright() as playwright:
        # --no-sandbox: the tests may run as root, where Chromium starts no other way. They load nothing but the page.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def free_port() -> int:
    """A TCP port of this machine that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]
