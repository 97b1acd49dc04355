"""A USB grabber that sends MJPEG (tests/vm/grabber.py): the same bytes as on this machine, and its ways of failing."""

import csv
from collections.abc import Iterator

import goods as stock
import numpy as np
import pytest
import service
from booted import Guest

from device.bundle import load_bundle
from device.shipped import default_bundle

pytestmark = pytest.mark.timeout(1800)
CLASSES = ("benign", "malignant", "normal")


def play(guest: Guest, *words: str) -> None:
    """Tell the grabber, or whoever plays it, what to do."""
    guest.well(f"echo {' '.join(words)} >/run/player", 60)


def recorded(guest: Guest) -> list[dict[str, str]]:
    """The rows of the record so far."""
    text = guest.well(f"cat {service.RECORD}")
    return list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))


def integers(row: dict[str, str]) -> bytes:
    """The model's int8 output, from the logits in the record."""
    output = load_bundle(default_bundle()).meta.output
    raw = np.array([float(row[f"z_{label}"]) for label in CLASSES]) / output.scale + output.zero_point
    assert np.abs(raw - np.rint(raw)).max() < 1e-4
    return np.rint(raw).astype(np.int8).tobytes()


@pytest.fixture(scope="module")
def usb(guest: Guest, frames: dict[str, bytes]) -> Iterator[Guest]:
    """busi-kd reads it, and it shows the first picture; gone at the end."""
    guest.well("modprobe -a vhci-hcd uvcvideo")
    guest.well("systemd-run --quiet --unit player --property Environment=PYTHONPATH=/host python3 -Bu /host/player.py")
    guest.until("ls -l /run/player", "^p")
    play(guest, "plug", next(iter(frames)))
    guest.until("cat /sys/class/video4linux/*/name", "USB Video")
    service.configure(guest, service.usb(stock.REGION, f"{stock.SIZE[1]}x{stock.SIZE[0]}"))
    yield guest
    guest.well("systemctl stop busi-kd")
    play(guest, "unplug")
    guest.until("ls /sys/class/video4linux", r"\A\Z")
    guest.well("systemctl stop player")


def test_each_picture_gives_the_bytes_that_this_machine_gives(usb: Guest, frames: dict[str, bytes]) -> None:
    wanted = {name: answer.tobytes() for name, answer in stock.answers(frames).items() if name != "black"}
    assert len(set(wanted.values())) > len(wanted) // 2, "the pictures are not told apart"
    for name in wanted:
        before = len(recorded(usb))
        play(usb, "show", name)
        usb.until(f"grep -vc '^#' {service.RECORD}", rf"^({'|'.join(str(before + n) for n in range(5, 60))})$")
    seen = [integers(row) for row in recorded(usb)]
    runs = [one for one, before in zip(seen, [None, *seen], strict=False) if one != before]
    expected = [one for one, before in zip(wanted.values(), [None, *wanted.values()], strict=False) if one != before]
    assert runs == expected  # in this order, and nothing else between
    differ = {row["verdict"] for row in recorded(usb)}
    print(
        f"{len(seen)} frames of {len(wanted)} pictures ({', '.join(wanted)}): the same bytes; verdicts {sorted(differ)}"
    )


def test_a_frozen_picture_is_still_and_a_black_one_blank(usb: Guest) -> None:
    play(usb, "show", "phantom-benign")
    usb.until(f"{service.JOURNAL} --lines 3", r"^fps=.* scene=still .*signal=ok")
    play(usb, "show", "black")
    usb.until(f"{service.JOURNAL} --lines 3", r"^fps=.* shown=abstain .*quality=blank .*signal=ok")
    play(usb, "show", "phantom-malignant")
    usb.until(f"{service.JOURNAL} --lines 3", r"^fps=.* quality=(?!blank)\S+ .*signal=ok")


def test_a_grabber_that_falls_silent_is_named_and_goes_on(usb: Guest) -> None:
    play(usb, "silent")
    service.state_of(usb, "no data", "ok")
    play(usb, "show", "phantom-benign")
    service.state_of(usb, "ok", "no data")
    assert "signal=ok" in service.judging(usb)


def test_a_pulled_plug_is_named_and_a_new_one_found(usb: Guest) -> None:
    play(usb, "unplug")
    said = service.state_of(usb, "no device")
    assert "Active: active (running)" in said.status
    play(usb, "plug", "phantom-normal")
    service.state_of(usb, "ok")
    assert "signal=ok" in service.judging(usb)
    assert service.properties(usb, "NRestarts") == {"NRestarts": "0"}
