"""The daemon hangs, or takes more memory than it may: systemd starts it again, and it judges as before."""

import pytest
import service
from booted import Guest

pytestmark = pytest.mark.timeout(1800)
GROUP = "/sys/fs/cgroup/system.slice/busi-kd.service/cgroup.procs"
HOG = 'exec python3 -c "held = [bytes([1]) * 10_000_000 for _ in range(70)]"'


@pytest.fixture
def running(guest: Guest) -> Guest:
    """It judges phantoms, and was not started again yet."""
    service.configure(guest, service.FILES)
    service.judging(guest)
    return guest


def started_again(guest: Guest, why: str) -> None:
    """It was killed and started once, for this reason, and judges."""
    guest.until("systemctl show busi-kd -p NRestarts -p ActiveState", r"^NRestarts=1$(.|\n)*ActiveState=active|"
                r"ActiveState=active(.|\n)*^NRestarts=1$")  # fmt: skip
    journal = guest.well(f"{service.JOURNAL} --lines 80")
    assert f"busi-kd.service: Failed with result '{why}'." in journal
    assert "signal=ok" in service.judging(guest)
    said = service.state_of(guest, "ok")
    assert "Active: active (running)" in said.status
    assert said.metrics["busi_kd_frames_judged_total"] > 0


def test_a_hang_ends_by_the_watchdog(running: Guest) -> None:
    running.well("systemctl kill --kill-whom=main --signal=STOP busi-kd")
    started_again(running, "watchdog")
    journal = running.well(f"{service.JOURNAL} --lines 300")
    assert "busi-kd.service: Watchdog timeout (limit 10s)!" in journal
    assert "with signal SIGABRT" in journal
    assert "Fatal Python error: Aborted" in journal  # and where each thread stood


def test_too_much_memory_ends_by_the_kernel(running: Guest) -> None:
    running.run(f"sh -c 'echo $$ >{GROUP} && {HOG}'")
    started_again(running, "oom-kill")
    assert "has been killed by the OOM killer" in running.well(f"{service.JOURNAL} --lines 300")
    assert service.properties(running, "MemoryMax") == {"MemoryMax": str(512 << 20)}
