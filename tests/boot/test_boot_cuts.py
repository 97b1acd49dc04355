"""Twenty power cuts, each followed by a boot: it boots, nothing that was reported is lost, what runs is whole."""

import subprocess
from contextlib import ExitStack
from pathlib import Path

import booted
import cuts as power
import pytest
import virtual
from debian import Debian

pytestmark = [pytest.mark.slow, pytest.mark.timeout(5000)]


@pytest.fixture(scope="module")
def cut(cutting: power.Cutting, scenes: ExitStack) -> power.Cutting:
    """The cuts, at work since the installation; from here on alone."""
    scenes.close()
    return cutting


@pytest.mark.parametrize("flushed", [False, True])
def test_killing_the_emulator_loses_what_was_not_flushed_and_no_more(
    linux: Debian, tmp_path: Path, flushed: bool
) -> None:
    """As the machine's disk is opened: the test of the tests below."""
    disk = booted.new_disk(linux, tmp_path / "disk.qcow2")
    at, size = 2 << 30, 65536
    command = [*virtual.program(linux.tools, "qemu-io"), "-t", "unsafe", disk]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        told = process.stdout.read(4096)
        for line in (f"write -P 7 {at} {size}\n", "flush\n")[: 1 + flushed]:
            process.stdin.write(line.encode())  # one at a time: it answers when it has read no more than that
            before = told.count(b"qemu-io> ")
            while told.count(b"qemu-io> ") == before:
                told += process.stdout.read(4096)
        assert f"wrote {size}/{size}".encode() in told
        process.kill()
    again = subprocess.run([*command, "-c", f"read -P 7 {at} {size}"], capture_output=True, text=True)
    assert f"read {size}/{size}" in again.stdout
    assert ("Pattern verification failed" in again.stdout) is not flushed


@pytest.mark.parametrize("kind", power.CHAINS)
def test_after_a_power_cut_it_boots_and_nothing_is_lost(cut: power.Cutting, kind: str) -> None:
    found = cut.of(kind)
    for line in power.facts(found):
        print(line)
    assert len(found) == power.CHAINS[kind]
    assert [(one.number, one.when, one.wrong) for one in found if one.wrong] == []
    if kind == "saving":
        assert found[-1].reported >= power.CHAINS[kind]  # so there was something to lose
