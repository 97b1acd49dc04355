"""The daemon's loop, with real models and sources made for one case each."""

import queue
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from listening import PATIENCE_S, notify_socket, pending, read_rows, wait_for

from device import capture, daemon, log
from device.bundle import Bundle, load_bundle
from device.capture import pump
from device.capture.folder import FolderSource
from device.errors import UserError
from device.notify import Notifier
from device.runtime import Model, open_bundle


@pytest.fixture(scope="module")
def bundle(bundle_dir: Path) -> Bundle:
    return load_bundle(bundle_dir / "int8-full")


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with notify_socket(tmp_path / "notify") as sock:
        yield sock


class Scripted:
    """A source that does what the steps say: give pixels, raise a failure, or call a function (to wait, to signal).

    opening: what each `open` raises, in turn, None for nothing; afterwards it succeeds.
    """

    description, synthetic, skipped = "scripted", None, 0

    def __init__(self, steps: list, live: bool = True, opening: list[Exception | None] | None = None) -> None:
        self.live, self._steps, self._opening = live, iter(steps), iter(opening or [])
        self.sequence, self.is_open = 0, False

    def open(self) -> None:
        failure = next(self._opening, None)
        if failure is not None:
            raise failure
        self.is_open = True

    def grab(self, timeout: float) -> capture.Frame:
        for step in self._steps:
            if isinstance(step, Exception):
                raise step
            if callable(step):
                step()
                continue
            self.sequence += 1
            number = self.sequence - 1
            return capture.Frame(step, number, daemon.time.monotonic(), f"frame {number}")
        raise capture.EndOfStream("the script is over")

    def close(self) -> None:
        self.is_open = False


def grey(luma: int) -> np.ndarray:
    return np.full((48, 64), luma, np.uint8)


class Started:
    """A daemon in a thread of its own, and its lines as they come."""

    def __init__(self, bundle: Bundle, source: Scripted, notifier: Notifier, model: Model | None = None) -> None:
        self.lines: list[str] = []
        self._fresh: queue.Queue[str] = queue.Queue()
        self.daemon = daemon.Daemon(bundle, model or open_bundle(bundle), source, notifier, say=self._say)
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _say(self, line: str) -> None:
        self.lines.append(line)
        self._fresh.put(line)

    def _run(self) -> None:
        try:
            self.daemon.run()
        except (RuntimeError, UserError) as error:
            self.error = error

    def line(self, wanted: Callable[[str], bool]) -> str:
        """Wait for the next line that is wanted."""
        while not wanted(line := self._fresh.get(timeout=PATIENCE_S)):
            pass
        return line

    def end(self) -> None:
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()


class Gated:
    """A model that is as slow as the test wants: each `logits` says that it began, and waits for a permit."""

    def __init__(self, model: Model) -> None:
        self._model, self.began, self.permits = model, threading.Event(), threading.Semaphore(0)
        self.backend, self.threads = model.backend, model.threads

    def logits(self, luma: np.ndarray) -> np.ndarray:
        self.began.set()
        assert self.permits.acquire(timeout=PATIENCE_S)
        return self._model.logits(luma)


def test_a_slow_judge_sees_the_newest_frame_and_the_others_are_counted(bundle: Bundle, tmp_path: Path) -> None:
    model = Gated(open_bundle(bundle))

    def release() -> None:
        model.permits.release(2)

    source = Scripted([grey(40), lambda: model.began.wait(PATIENCE_S), *[grey(128)] * 8, grey(216), release])
    rows = log.RowFile(
        tmp_path / "v.csv", "notice", ["sequence", "name", "captured", "verdict", "reason", "b", "m", "n"]
    )
    lines: list[str] = []
    judge = daemon.Daemon(bundle, model, source, Notifier({}), rows, lines.append)
    assert judge.run() == "the script is over"
    rows.close()
    assert [(row["name"], row["verdict"]) for row in read_rows(rows.path)[1]] == [
        ("frame 0", "normal"),
        ("frame 9", "malignant"),
    ]
    assert judge.frames() == {"captured": 10, "judged": 2, "skipped": 8, "bad": 0, "undecodable": 0}
    assert judge.latest.sequence == 9
    assert not source.is_open


def test_the_watchdog_starves_while_the_source_is_stuck(
    bundle: Bundle, systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "STALL_S", 0.5)
    monkeypatch.setattr(daemon, "TICK_S", 0.3)
    monkeypatch.setattr(daemon, "STOP_S", 0.05)
    released = threading.Event()
    # An absence known earlier must not feed the watchdog later.
    source = Scripted([capture.NoData("late"), grey(40), lambda: released.wait(PATIENCE_S), grey(40)])
    notifier = Notifier({"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "4000"})
    started = Started(bundle, source, notifier)
    wait_for(systemd, "READY=1")
    wait_for(systemd, "WATCHDOG=1")
    assert "ok -> stalled" in started.line(lambda line: line.startswith("signal: ok -> "))
    pending(systemd)
    for _ in range(3):
        assert "signal=stalled" in started.line(lambda line: line.startswith("fps="))
    messages = pending(systemd)
    assert any("the source has not answered" in message for message in messages)
    assert "WATCHDOG=1" not in messages
    started.daemon.asked_to_stop = "SIGTERM"  # a stuck source does not keep the daemon from ending
    started.end()
    assert "STOPPING=1" in pending(systemd)
    assert started.lines[-1] == "stopped: SIGTERM."
    assert any("left behind" in line for line in started.lines)
    released.set()


def test_a_known_absence_is_progress_and_the_source_is_opened_again_until_it_is_back(
    bundle: Bundle, systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump, "BACK_OFF_S", (0.01, 0.02))
    monkeypatch.setattr(daemon, "POLL_S", 0.001)
    unplugged = [capture.NoDevice("nothing at /dev/video0")] * 50
    source = Scripted([grey(40), grey(40), capture.NoSignal("the scanner is off"), grey(216)], opening=unplugged)
    notifier = Notifier({"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "4000"})
    started = Started(bundle, source, notifier)
    started.line(lambda line: line.startswith("signal: waiting"))
    assert "READY=1" in wait_for(systemd, "WATCHDOG=1")
    started.end()
    edges = [line for line in started.lines if line.startswith("signal: ")]
    assert edges == [
        "signal: waiting -> no device: nothing at /dev/video0",
        "signal: no device -> ok",
        "signal: ok -> no signal: the scanner is off",
        "signal: no signal -> ok",
        "signal: ok -> ended: the script is over",
    ]
    frames = started.daemon.frames()
    assert frames["captured"] == 3 == frames["judged"] + frames["skipped"]


def test_a_source_that_says_it_has_nothing_feeds_the_watchdog(bundle: Bundle, systemd: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "4000"})
    source = Scripted([capture.NoData("nothing came"), lambda: wait_for(systemd, "WATCHDOG=1"), grey(40)], live=False)
    judge = daemon.Daemon(bundle, open_bundle(bundle), source, notifier, say=lambda line: None)
    judge.run()  # the source gives its frame only once the watchdog has been fed
    assert judge.frames()["judged"] == 1


def test_a_source_that_was_open_once_may_fail_to_open_later(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump, "BACK_OFF_S", (0.0, 0.0))
    opening = [None, UserError("no such folder"), UserError("no such folder"), None]
    source = Scripted([grey(40), capture.NoSignal("off"), grey(40)], live=False, opening=opening)
    lines: list[str] = []
    daemon.Daemon(bundle, open_bundle(bundle), source, Notifier({}), say=lines.append).run()
    assert [line for line in lines if line.startswith("signal: ")][1:4] == [
        "signal: ok -> no signal: off",
        "signal: no signal -> no device: no such folder",
        "signal: no device -> ok",
    ]


def test_a_source_that_cannot_be_opened_at_the_start_is_the_users_to_mend(bundle: Bundle) -> None:
    source = Scripted([], opening=[UserError("no such folder")])
    with pytest.raises(UserError, match="no such folder"):
        daemon.Daemon(bundle, open_bundle(bundle), source, Notifier({}), say=lambda line: None).run()


def test_silence_becomes_no_data_only_after_a_while(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump, "BACK_OFF_S", (0.0, 0.0))
    silence = capture.NoData("nothing came")
    source = Scripted([grey(40), silence, silence, grey(40)])
    lines: list[str] = []
    daemon.Daemon(bundle, open_bundle(bundle), source, Notifier({}), say=lines.append).run()
    assert not any("no data" in line for line in lines)
    monkeypatch.setattr(pump, "NO_DATA_S", 0.0)
    source = Scripted([grey(40), silence, silence, grey(40)])
    lines.clear()
    daemon.Daemon(bundle, open_bundle(bundle), source, Notifier({}), say=lines.append).run()
    assert [line for line in lines if "no data" in line] == [
        "signal: ok -> no data: nothing came",
        "signal: no data -> ok",
    ]


def test_a_live_source_of_which_no_frame_decodes_is_not_called_well(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump, "NO_DATA_S", 0.0)
    broken = capture.Undecodable("half a picture")
    lines: list[str] = []
    for live in (True, False):
        source = Scripted([grey(40), broken, broken, grey(40)], live=live)
        daemon.Daemon(bundle, open_bundle(bundle), source, Notifier({}), say=lines.append).run()
    assert [line for line in lines if "undecodable" in line and line.startswith("signal: ")] == [
        "signal: ok -> undecodable: half a picture",
        "signal: undecodable -> ok",
    ]


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("good", [[], [grey(40)]], ids=["from the start", "after a good frame"])
def test_frames_of_which_none_decodes_are_a_known_absence_and_no_reason_to_be_killed(
    good: list, live: bool, bundle: Bundle, systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump, "NO_DATA_S", 0.0)
    monkeypatch.setattr(daemon, "POLL_S", 0.001)
    broken = capture.Undecodable("a bad cable")

    def fed() -> None:
        wait_for(systemd, "WATCHDOG=1")

    # Each broken frame must be told before the next one comes; the first of all has to bring READY=1 as well.
    first = [*(good or [broken]), lambda: wait_for(systemd, "READY=1"), fed]
    source = Scripted([*first, *[broken, fed] * 3, grey(40)], live=live)
    # So short a time that no message is left out as being too early.
    notifier = Notifier({"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "4"})
    started = Started(bundle, source, notifier)
    started.end()
    assert started.error is None
    assert started.daemon.frames()["undecodable"] == (3 if good else 4)


def test_bad_frames_are_counted_named_once_and_survived(bundle: Bundle) -> None:
    four_channels, floats = np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8), np.float32)
    source = Scripted([grey(40), four_channels, floats, np.zeros((0, 5), np.uint8), grey(40)], live=False)
    lines: list[str] = []
    judge = daemon.Daemon(bundle, open_bundle(bundle), source, Notifier({}), say=lines.append)
    judge.run()
    assert judge.frames() == {"captured": 5, "judged": 2, "skipped": 0, "bad": 3, "undecodable": 0}
    named = [line for line in lines if "bad frame" in line]
    assert len(named) == 1
    assert "number 1 (frame 1)" in named[0]
    assert "(8, 8, 4)" in named[0]


def test_frames_that_do_not_decode_are_named_up_to_a_bound(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump, "MAX_NAMED", 3)
    broken = [capture.Undecodable(f"picture {i} is broken") for i in range(10)]
    source = Scripted([*broken, np.zeros((8, 8, 4), np.uint8)], live=False)
    lines: list[str] = []
    judge = daemon.Daemon(bundle, open_bundle(bundle), source, Notifier({}), say=lines.append)
    judge.run()
    assert judge.frames()["undecodable"] == 10
    assert sum("is broken" in line for line in lines) == 3
    assert sum("not named" in line for line in lines) == 1
    assert judge.summary("over")["fps_judged"] == 0.0
    assert judge.summary("over")["stages_ms"]["infer"] == {"p50": None, "p95": None, "highest": None, "count": 0}


def test_a_source_of_which_nothing_decodes_is_the_users_to_mend(bundle: Bundle) -> None:
    source = Scripted([capture.Undecodable("broken")] * 3, live=False)
    judge = daemon.Daemon(bundle, open_bundle(bundle), source, Notifier({}), say=lambda line: None)
    with pytest.raises(UserError, match="scripted: none of its 3 pictures decodes"):
        judge.run()
    assert not source.is_open


def test_a_bug_in_a_source_ends_the_daemon_loudly(bundle: Bundle) -> None:
    source = Scripted([grey(40), RuntimeError("a bug")])
    with pytest.raises(RuntimeError, match="a bug"):
        daemon.Daemon(bundle, open_bundle(bundle), source, Notifier({}), say=lambda line: None).run()
    assert not source.is_open


def test_told_to_stop_as_well_as_to_begin_anew_it_stops_and_systemd_hears_that(
    bundle: Bundle, systemd: socket.socket
) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "4000"})
    judge = daemon.Daemon(bundle, open_bundle(bundle), Scripted([]), notifier, say=lambda line: None)
    judge.asked_to_restart, judge.asked_to_stop = True, "SIGTERM"
    assert judge.run() == "SIGTERM"
    messages = pending(systemd)
    assert "STOPPING=1" in messages
    assert not any("RELOADING=1" in message for message in messages)


def test_a_folder_that_vanishes_and_comes_back_is_read_again(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    assert cv2.imwrite(str(pictures / "dark.png"), grey(40))
    monkeypatch.setattr(pump, "BACK_OFF_S", (0.01, 0.02))
    source = FolderSource(pictures, fps=0, loop=True)
    started = Started(bundle, source, Notifier({}))
    started.line(lambda line: "waiting -> ok" in line)
    away = pictures.with_name("unplugged")
    pictures.rename(away)
    assert "pictures is gone" in started.line(lambda line: "ok -> no device" in line)
    away.rename(pictures)
    started.line(lambda line: "no device -> ok" in line)
    started.daemon.asked_to_stop = "SIGTERM"
    started.end()
    assert started.error is None
