"""A virtual Arm machine with a disk of its own: switched on, told what to do, switched off, or its power cut."""

import json
import os
import re
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import virtual
from debian import MEND, Debian
from fetching import run

CPU = "cortex-a72"  # of a Raspberry Pi 4
# An instruction takes a nanosecond of the guest's time, however long it takes to emulate; idle, its clock goes as ours.
# So its own limits (start, watchdog, a source that hangs) hold on any machine, and its times can be compared.
CLOCK = ("-smp", "1", "-icount", "shift=0,sleep=on")
BOOT_S = 480.0  # twenty times what it takes on a quiet machine
# Page tables apart for kernel and programs (KPTI) make every system call dear to emulate; a Raspberry Pi has none.
QUICK = "nokaslr mitigations=off systemd.show_status=no "
# Mounts that nothing here looks into, with the modules that they ask for.
UNSEEN = ("dev-hugepages", "dev-mqueue", "sys-fs-fuse-connections")
UNSEEN += ("sys-kernel-debug", "sys-kernel-tracing", "sys-kernel-config")
QUICK += " ".join(f"systemd.mask={name}.mount" for name in UNSEEN)
TIMES = (
    "InactiveExitTimestampMonotonic",
    "ActiveEnterTimestampMonotonic",
)


class Lost(AssertionError):
    """The machine did not do what it was told; str() ends with the end of its console."""


@dataclass(frozen=True)
class Answer:
    """What the machine's shell came to."""

    status: int
    output: str


def new_disk(debian: Debian, disk: Path, below: Path | None = None) -> Path:
    """A disk that begins as another one (None: the fresh Debian) and leaves that as it is: a qcow2 file above it.

    What is written to a place of it for the first time is, until the guest flushes, known to the emulator's memory
    alone, as to a card's own: killing the emulator loses it (README.md).
    """
    base = ["-F", "raw", "-b", debian.folder / "root.img"] if below is None else ["-F", "qcow2", "-b", below]
    command = [*virtual.program(debian.tools, "qemu-img"), "create", "-q", "-f", "qcow2", *base, disk]
    run("qemu-img", command, MEND)
    return disk


class Guest:
    """A machine that runs. console: what it prints there. boot: the id of this boot.

    disk: its card. share: the host's folder that it sees as /host. more: of the kernel's command line.
    """

    def __init__(self, debian: Debian, disk: Path, share: Path, memory_mb: int = 1024, more: str = "") -> None:
        self.disk, self.console = disk, disk.with_suffix(".console")
        mine, theirs = socket.socketpair()
        command = [
            *virtual.program(debian.tools, "qemu-system-aarch64"),
            "-L",
            debian.tools / "emulator/usr/share/qemu",
        ]
        command += ["-M", "virt", "-cpu", CPU, "-accel", "tcg,thread=single", *CLOCK, "-m", str(memory_mb)]
        command += ["-display", "none", "-monitor", "none", "-no-reboot", "-nic", "none"]
        command += ["-serial", f"file:{self.console}", "-kernel", debian.folder / "vmlinuz"]
        command += ["-initrd", debian.folder / "initrd"]
        command += ["-append", f"console=ttyAMA0 loglevel=4 panic=-1 root=/dev/vda ro {QUICK} {more}"]
        command += ["-drive", f"if=none,id=card,format=qcow2,file={disk},cache=unsafe"]
        command += ["-device", "virtio-blk-pci,drive=card"]
        command += ["-virtfs", f"local,path={share},mount_tag=host,security_model=none,readonly=on"]
        command += ["-chardev", f"socket,id=agent,fd={theirs.fileno()}", "-device", "virtio-serial-pci"]
        command += ["-device", "virtserialport,chardev=agent,name=agent"]
        with open(disk.with_suffix(".said"), "wb") as said:
            how = {"stdin": subprocess.DEVNULL, "stdout": said, "stderr": subprocess.STDOUT}
            self._process = subprocess.Popen(command, **how, pass_fds=[theirs.fileno()], start_new_session=True)
        theirs.close()
        self._socket, self._held = mine, b""
        self.first: tuple[float, float] | None = None  # `seconds` of busi-kd's start with the power, where it was asked
        self.began = time.monotonic()
        try:
            self.boot = self._next(BOOT_S)["hello"]
        except BaseException:
            self.cut()
            raise

    def _lost(self, why: str) -> Lost:
        said = self.disk.with_suffix(".said").read_text(errors="replace")[-500:]
        console = self.console.read_text(errors="replace")[-3000:] if self.console.exists() else ""
        return Lost(f"the virtual machine {why}; the emulator said: {said!r}; the end of its console: {console}")

    def _next(self, within_s: float) -> dict:
        """The next line of the agent."""
        until = time.monotonic() + within_s
        while b"\n" not in self._held:
            if not select.select([self._socket], [], [], max(0.0, until - time.monotonic()))[0]:
                raise self._lost(f"did not answer within {within_s:.0f} s")
            data = self._heard()
            if not data:
                raise self._lost("ended")
            self._held += data
        line, _, self._held = self._held.partition(b"\n")
        return json.loads(line)

    def _heard(self) -> bytes:
        """What lies on the socket; nothing once the emulator is gone."""
        try:
            return self._socket.recv(1 << 16)
        except ConnectionResetError:
            return b""

    def _ask(self, what: dict) -> None:
        self._socket.sendall(json.dumps(what).encode() + b"\n")

    def run(self, text: str, within_s: float = 240.0) -> Answer:
        """Have its shell do `text`, as root. Raises Lost when no answer comes."""
        self._ask({"run": text, "within": within_s})
        said = self._next(within_s + 60)
        return Answer(said["status"], said["output"])

    def well(self, text: str, within_s: float = 240.0) -> str:
        """The same for what must end with 0; its output."""
        done = self.run(text, within_s)
        assert done.status == 0, f"{text}: ended with {done.status}: {done.output}"
        return done.output

    def write(self, path: str, text: str) -> None:
        """Write a file; folders above it are made."""
        self._ask({"write": path, "text": text})
        self._next(60)

    def stream(self, text: str, within_s: float = 240.0) -> Iterator[str]:
        """The lines of what its shell does, as they come. Raises Lost when none comes within `within_s`."""
        self._ask({"stream": text})
        while "line" in (said := self._next(within_s)):
            yield said["line"]

    def until(self, text: str, pattern: str, within_s: float = 240.0) -> str:
        """Do `text` again and again until its output matches; that output. Raises Lost with the last one."""
        until = time.monotonic() + within_s
        while True:
            output = self.run(text).output
            if re.search(pattern, output, re.MULTILINE):
                return output
            if time.monotonic() > until:
                raise self._lost(f"never came to {pattern!r} by {text!r}, but to {output[-3000:]!r}")
            time.sleep(1.0)  # the machine is slow, and asking costs it time

    def cut(self) -> list[dict]:
        """Cut its power: the emulator is killed. Returns what the agent had said and nobody had heard yet.

        Nothing happens to one that is off.
        """
        if self._socket.fileno() < 0:
            return []
        self._process.kill()
        self._process.wait()
        said = self._held
        with self._socket:
            while data := self._heard():
                said += data
        return [json.loads(line) for line in said.split(b"\n")[:-1]]  # what was cut off says nothing

    def off(self) -> Path:
        """Shut it down as a person would; its disk."""
        self._ask({"run": "systemctl poweroff", "within": 60})
        try:
            self._process.wait(BOOT_S)
        except subprocess.TimeoutExpired:
            self.cut()
            raise self._lost("does not shut down") from None
        self._socket.close()
        return self.disk

    def kill(self) -> None:
        """For another thread: end it; whoever waits for it hears that it ended."""
        self._process.kill()


def seconds(guest: Guest, unit: str = "busi-kd.service") -> tuple[float, float]:
    """By the guest's own clock, which begins with its kernel: when the unit was last started, and when it was ready."""
    said = guest.well(f"systemctl show {unit} " + " ".join(f"-p {name}" for name in TIMES))
    found = dict(line.split("=") for line in said.split())
    began, ready = (int(found[name]) / 1e6 for name in TIMES)
    return began, ready


def cores() -> int:
    """How many this machine has for it."""
    return len(os.sched_getaffinity(0))
