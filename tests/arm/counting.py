"""An emulated Arm that counts its instructions: tests/arm's userland, QEMU's dynamic build, a plugin; in .cache/count.

Counts, never times: emulation says nothing of speed, and instructions of different kinds take different times. They
tell what an engine has to do, on a CPU with int8 dot products (A76) and on one without (A72).
"""

import os
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import machine
from fetching import ROOT, apt_get, kept, recipe_name, run, unpack

from convert.race.child import RUNNER, Child, Failed
from device.errors import UserError

CACHE = ROOT / ".cache" / "count"
MEND = "see docs/performance.md"
SOURCE = Path(__file__).with_name("count.c")
EMULATOR = "qemu-user:amd64"
# Besides those of the userland; pip finds aarch64 builds of the very versions that are raced on x86-64.
WHEELS = ("onnxruntime==1.23.0", "ncnn==1.0.20261020", "packaging==26.3", "flatbuffers==25.12.19", "protobuf==4.25.5")
ASK_S = 900.0


@dataclass(frozen=True)
class Counter:
    """A prepared emulator. folder: of what is fetched here. userland: of tests/arm/machine.py."""

    folder: Path
    userland: machine.Machine

    def per_run(
        self, cpu: str, load: dict[str, Any], inputs: Path, step: int
    ) -> tuple[float, float, list[dict[str, Any]]]:
        """(instructions per inference on an emulated `cpu`, by how much of that two counts differ, the answers).

        What lies between two requests is counted: `step` inferences, twice. Raises UserError with the last line that
        the competitor said when it dies.
        """
        view, emulator = self.userland.folder, self.folder / "emulator"
        search = os.pathsep.join(map(str, (ROOT, view / "wheels", self.folder / "wheels")))
        environment = {"PYTHONPATH": search, "LC_ALL": "C.UTF-8", "PATH": os.environ.get("PATH", "")}
        environment |= {"PYTHONPYCACHEPREFIX": str(view / "compiled"), "OPENBLAS_NUM_THREADS": "1"}
        environment |= _libraries(self.folder)
        with tempfile.TemporaryDirectory() as work:
            counted = Path(work) / "count"
            command = [emulator / "usr" / "bin" / "qemu-aarch64", "-cpu", cpu, "-L", view / cpu]
            command += ["-U", "LD_LIBRARY_PATH", "-plugin", f"{self.folder / 'count.so'},out={counted}"]
            command += [view / "userland" / "usr" / "bin" / machine.PYTHON, "-P", RUNNER]
            try:
                with Child(command, environment) as child:
                    child.ask("load", ASK_S, **load)
                    answers = child.ask("answer", ASK_S, inputs=str(inputs))["answers"]
                    for _ in range(2):
                        child.ask("time", ASK_S, count=step)
            except Failed as failed:
                raise UserError(f"on the emulated {cpu} {failed}.") from failed
            # Asked for the first request, the second, ...: the last but one is the end of the input.
            counts = [int(line) for line in counted.read_text().split()][:5]
        first, second = ((after - before) / step for before, after in pairwise(counts[2:]))
        mean = (first + second) / 2
        return mean, abs(second - first) / mean, answers


def prepare(cache: Path = CACHE) -> Counter:
    """The emulator in `cache`, fetched and compiled when it is not there yet. Raises UserError when it cannot be."""
    userland = machine.prepare()
    return Counter(kept(cache, f"{recipe_name(Path(__file__))}-{recipe_name(SOURCE)}", _fetch), userland)


def _fetch(folder: Path) -> None:
    apt = folder / "apt"
    unpack(apt_get(apt, MEND), apt, (EMULATOR,), folder / "emulator", MEND)
    emulator = folder / "emulator" / "usr" / "bin" / "qemu-aarch64"
    said = run("the emulator", [emulator, "--version"], MEND, _libraries(folder))
    major = int(said.split("version ", 1)[1].split(".")[0])
    api = 1 if major < 9 else 2  # QEMU 9 and later refuse the first
    build = ["gcc", "-shared", "-fPIC", "-O2", f"-DAPI={api}", SOURCE, "-o", folder / "count.so"]
    run("gcc, which builds the counting plugin", build, MEND)
    machine.fetch_wheels(folder / "wheels", WHEELS, ("--no-deps",))


def _libraries(folder: Path) -> dict[str, str]:
    found = (folder / "emulator" / path / "x86_64-linux-gnu" for path in ("usr/lib", "lib"))
    return {"LD_LIBRARY_PATH": os.pathsep.join(map(str, found))}
