"""What is in the packages that ship, of each Debian and processor: the right code for it, whole, and nothing else."""

import ast
import hashlib
import json
import os
import re
import subprocess
from pathlib import Path

import machine
import pytest
import roots
import staging
import wheels
from packages import Packages
from target import ARCHES, PREFIX, ROOT, SUITES, Target

from device.doctor.model import judge
from device.errors import UserError

TARGETS = [Target(suite, arch) for suite in SUITES.values() for arch in ARCHES.values()]
MOST_MB = 330  # installed
# What the packages that it depends on hold: libc6, libgcc-s1, libstdc++6, zlib1g.
SYSTEM = {"libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libgcc_s.so.1", "libstdc++.so.6"}
SYSTEM |= {"ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1", "libutil.so.1", "libz.so.1"}
# Of device/'s imports, what comes with the system or not at all, and is asked for only where it is there.
ELSEWHERE = {"picamera2", "libcamera", "tflite_runtime", "tensorflow"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=TARGETS, ids=str)
def target(request: pytest.FixtureRequest) -> Target:
    """Each package in turn."""
    return request.param


@pytest.fixture(scope="module")
def root(target: Target, packages: Packages) -> Path:
    """Its files."""
    try:
        return packages.unpacked(target)
    except UserError as error:
        pytest.fail(str(error), pytrace=False)


def compiled(root: Path) -> list[Path]:
    """The files of compiled code."""
    files = (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    return [path for path in files if path.open("rb").read(4) == b"\x7fELF"]


def test_compiled_code_is_for_this_processor_and_finds_its_libraries(target: Target, root: Path) -> None:
    found = compiled(root)
    assert len(found) > 50
    at_hand = SYSTEM | {path.name for path in found}
    wrong = []
    for path in found:
        tag = re.search(r"\.cpython-(\d+)-(\w+)-linux-gnu\.so$", path.name)
        if tag and (f"cp{tag[1]}", tag[2]) != (target.suite.abi, target.arch.machine):
            wrong.append(path.name)
    assert wrong == []
    command = [roots.program("readelf"), "--wide", "--file-header", "--dynamic", "--version-info", *found]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"LC_ALL": "C"}).stdout
    machines = set(re.findall(r"^  Machine: +(.+)$", said, re.MULTILINE))
    assert machines == {{"amd64": "Advanced Micro Devices X86-64", "arm64": "AArch64"}[target.arch.name]}
    needed = set(re.findall(r"\(NEEDED\) +Shared library: \[(.+)\]", said))
    assert needed - at_hand == set()
    newest = max(int(minor) for minor in re.findall(r"Name: GLIBC_2\.(\d+)", said))
    assert newest <= target.suite.glibc
    assert newest <= 34  # what the package depends on


def test_what_the_device_imports_is_there(target: Target, root: Path) -> None:
    import sys

    site = root / target.site
    wanted = set()
    for path in (ROOT / "device").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                wanted |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                wanted.add(node.module.partition(".")[0])
    wanted -= {*sys.stdlib_module_names, *ELSEWHERE}
    assert {"cv2", "numpy", "linuxpy", "device"} <= wanted
    there = {path.name.partition(".")[0] for path in site.iterdir()}
    assert wanted - there == set()
    assert not {"train", "convert"} & there


def test_every_wheel_is_named_with_its_licence_and_its_record_holds(target: Target, root: Path) -> None:
    site = root / target.site
    told = (root / staging.DOC / "copyright").read_text()
    infos = list(site.glob("*.dist-info"))
    assert len(infos) == len(wheels.read_lock(target.suite.lock))
    for info in infos:
        for line in (info / "RECORD").read_text().splitlines():
            assert (site / line.split(",")[0]).is_file(), line
    for line in re.findall(r"^  /(\S.*)$", told, re.MULTILINE):
        assert (root / line).is_file(), line
    assert told.count("none in the wheel") <= 6


def test_it_is_no_larger_than_it_must_be(target: Target, root: Path) -> None:
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink()) / 1e6
    print(f"{target}: {size:.0f} MB installed")
    assert size < MOST_MB
    assert not [path for path in root.rglob("*") if path.suffix in (".pyc", ".pyi", ".h", ".a")]
    assert (root / PREFIX / "bin/busi-kd").stat().st_mode & 0o777 == 0o755


def test_a_second_build_is_the_same_to_the_byte(packages: Packages, tmp_path: Path) -> None:
    target = TARGETS[0]
    first, second = packages.of(target), packages.build(target, tmp_path)
    assert hashlib.sha256(first.read_bytes()).digest() == hashlib.sha256(second.read_bytes()).digest()


def test_the_package_for_arm_answers_on_an_emulated_pi(packages: Packages) -> None:
    """Its own files alone, on a Cortex-A72: the signature, the hashes, and XNNPACK's answer to the test pattern."""
    if os.environ.get(machine.OFF) == "1":
        pytest.skip(f"{machine.OFF}=1: the comparison with Arm was switched off")
    # The one whose Python is the emulated machine's, which is this one's.
    suite = next(one for one in SUITES.values() if f"python{one.python}" == machine.PYTHON)
    target = Target(suite, ARCHES["arm64"])
    site = packages.unpacked(target) / target.site
    code = f"""
import sys
sys.path.insert(0, {str(site)!r})
import device, cv2, numpy, ai_edge_litert
for module in (device, cv2, numpy, ai_edge_litert):
    assert module.__file__.startswith({str(site)!r}), module.__file__
import json
from device.config.settings import Settings
from device.doctor import trial
asked = {{"bundle": None, "models": "/absent", "folders": [str(one) for one in Settings().model.whom().folders]}}
print(json.dumps(trial.run(asked | {{"allow_unsigned": False, "threads": 1}})))
"""
    try:
        said = machine.prepare().run("cortex-a72", "-I", "-c", code)
    except UserError as error:
        pytest.fail(str(error), pytrace=False)
    finding = judge(json.loads(said.splitlines()[-1]))
    assert finding.state == "ok"
    assert "answers the test pattern as it should" in finding.says
