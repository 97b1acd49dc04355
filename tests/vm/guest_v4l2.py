"""Runs in the virtual machine: the V4L2 source on the driver vivid, an HDMI input whose cable is a control.

Writes one JSON line for each scene into /answers/v4l2.jsonl; tests/vm/test_v4l2.py says what they should be.
"""

import contextlib
import errno
import io
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import guest
import numpy as np
from linuxpy.video import device as v4l

from device.capture import CaptureError, NoData, Source, Undecodable, process
from device.capture.process import ProcessSource
from device.capture.pump import Pump
from device.capture.v4l2 import V4L2Source
from device.errors import UserError
from device.latest import Latest
from device.main import main as busi_kd

PATIENCE_S = 60.0  # an emulated machine on a busy host
WHITE, BLACK, RED = 6, 5, 7  # vivid's test patterns of one colour
CURRENT, NO_SIGNAL, NO_LOCK, OUT_OF_RANGE, SELECTED = range(5)  # dv_timings_signal_mode
VGA, HD = 0, 9  # dv_timings: 640x480p59, 1280x720p60
LINK = Path("/dev/v4l/by-id/usb-grabber-video-index0")


opened: list[Source] = []  # what a scene has opened, to be closed behind it


def kept(source: Source) -> Source:
    opened.append(source)
    return source


def grabber(*arguments: object, **options: object) -> Source:
    return kept(V4L2Source(*arguments, **options))


def patiently(step: Callable[[], None]) -> None:
    """Until it no longer fails: an old device is let go of in its users' own time."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return step()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


class Vivid:
    """The driver's controls by name, through a descriptor of its own."""

    def __init__(self, path: str) -> None:
        with v4l.Device(path) as device:
            self._ids = {control.config_name: number for number, control in device.controls.items()}
        self._descriptor = os.open(path, os.O_RDWR)

    def set(self, **values: int) -> None:
        for name, value in values.items():
            v4l.set_control(self._descriptor, self._ids[name], value)

    def close(self) -> None:
        os.close(self._descriptor)


def frame_of(source: Source) -> dict:
    """What the next frame is like."""
    frame = source.grab(PATIENCE_S)
    told = {"shape": frame.pixels.shape, "low": int(frame.pixels.min()), "high": int(frame.pixels.max())}
    told |= {"coloured": float(np.mean(frame.coloured)), "name": frame.name, "age": time.monotonic() - frame.captured}
    return told


def failure(source: Source) -> dict:
    """The state in which grabbing ends, and that in which opening again does."""
    until, broken = time.monotonic() + PATIENCE_S, 0
    while time.monotonic() < until:
        try:
            source.grab(0.25)
        except Undecodable:
            broken += 1
        except CaptureError as error:
            if type(error) is not NoData:
                return {"state": error.state, "detail": str(error), "broken": broken, "again": refusal(source)}
    return {"state": "none", "broken": broken}


def refusal(source: Source) -> str:
    try:
        source.open()
    except (CaptureError, UserError) as error:
        return getattr(error, "state", "refused") + ": " + str(error)
    return "ok"


def formats(vivid: Vivid) -> dict:
    """Each format with each pattern: the lowest and highest luma, and colour, as they come out."""
    found: dict[str, dict] = {}
    for pattern, value in (("red", RED), ("black", BLACK), ("white", WHITE)):
        vivid.set(test_pattern=value)
        for name in ("GREY", "NV12", "NV21", "YUYV", "UYVY", "RGB3", "BGR3"):
            for range_ in ("auto", "full"):
                source = grabber("/dev/video0", pixel_format=name, range=range_)
                source.open()
                frame = frame_of(source)
                found.setdefault(f"{name} {range_}", {})[pattern] = [frame["low"], frame["high"], frame["coloured"]]
                source.close()
    return found


def choice(vivid: Vivid) -> dict:
    source = grabber()
    source.open()
    told = [source.grab(PATIENCE_S) for _ in range(4)]
    rest = {"format": source.layout.pixel_format, "limited": source.layout.limited}
    source.close()
    return rest | {
        "captured": [frame.captured for frame in told],
        "now": time.monotonic(),
        "sequence": [frame.sequence for frame in told],
    }


def signal(vivid: Vivid, mode: int) -> dict:
    """Lost while it streams, and back."""
    source = grabber("/dev/video0")
    source.open()
    frame_of(source)
    vivid.set(dv_timings_signal_mode=mode)
    told = failure(source)
    vivid.set(dv_timings_signal_mode=CURRENT)
    told["back"] = refusal(source)
    told |= frame_of(source)
    source.close()
    return told


def silent(vivid: Vivid, mode: int) -> dict:
    """The same with a driver that knows no events: the frames just stop."""

    def unknown(*_: object) -> None:
        raise OSError(errno.ENOTTY, "Inappropriate ioctl for device")

    kept, v4l.subscribe_event = v4l.subscribe_event, unknown
    try:
        return signal(vivid, mode)
    finally:
        v4l.subscribe_event = kept


def resized(vivid: Vivid) -> dict:
    """Another mode of the scanner while it streams."""
    source = grabber("/dev/video0")
    source.open()
    before = frame_of(source)["shape"]
    vivid.set(dv_timings=HD, dv_timings_signal_mode=SELECTED)
    told = failure(source)
    told |= {"before": before, "after": frame_of(source)["shape"]}
    source.close()
    vivid.set(dv_timings=VGA)
    source.open()
    told["small"] = frame_of(source)["shape"]
    source.close()
    vivid.set(dv_timings_signal_mode=CURRENT)
    return told


def broken(vivid: Vivid) -> dict:
    """A buffer that the driver marks, and a queue that it gives up."""
    source = grabber("/dev/video0")
    source.open()
    frame_of(source)
    vivid.set(inject_v4l2_buf_flag_error=1)
    marked = ""
    for _ in range(50):
        try:
            source.grab(PATIENCE_S)
        except Undecodable as error:
            marked = str(error)
            break
    goes_on = frame_of(source)["shape"]
    vivid.set(inject_fatal_streaming_error=1)
    told = failure(source)
    source.close()
    return told | {"marked": marked, "goes_on": goes_on}


def busy(vivid: Vivid) -> dict:
    first, second = grabber("/dev/video0"), grabber("/dev/video0")
    first.open()
    told = {"second": refusal(second), "first": frame_of(first)["shape"]}
    first.close()
    told["then"] = refusal(second)
    second.close()
    return told


def identity(vivid: Vivid) -> dict:
    """The EDID: the bridge's own is left alone, a missing one is given."""

    def held() -> str:
        with v4l.Device("/dev/video0") as device:
            try:
                return device.get_edid().hex()
            except OSError as error:
                return errno.errorcode[error.errno]

    source = grabber("/dev/video0")
    own = held()
    source.open()
    source.close()
    kept = held() == own
    with v4l.Device("/dev/video0") as device:
        device.clear_edid()
    bare = held()
    told = refusal(source)
    source.close()
    given, said = held(), []
    for clear, words in ((False, []), (True, []), (False, ["--replace"])):  # the command, before the daemon is there
        with v4l.Device("/dev/video0") as device:
            if clear:
                device.clear_edid()
        with contextlib.redirect_stdout(io.StringIO()) as out:
            busi_kd(["device", "edid", "/dev/video0", *words])
        said.append(out.getvalue())
    commanded = {"said": said, "by_command": held()}
    return {"own": len(own) // 2, "kept": kept, "bare": bare, "open": told, "given": given, **commanded}


def others(vivid: Vivid) -> dict:
    """Nodes of the same driver that are no grabbers."""
    names = {path.name: path for path in Path("/sys/class/video4linux").iterdir()}
    kinds = {(path / "name").read_text().strip(): name for name, path in names.items()}
    return {kind: refusal(grabber(f"/dev/{name}")) for kind, name in kinds.items() if "vid-cap" not in kind}


def in_a_process(vivid: Vivid) -> dict:
    """As the daemon holds it: killable, its states and colours told across; then unplugged."""
    process.OPEN_S = process.HANG_S = PATIENCE_S
    source = kept(ProcessSource(V4L2Source, device=str(LINK), pixel_format="YUYV"))
    source.open()
    vivid.set(test_pattern=RED)
    told = frame_of(source)
    for _ in range(100):
        if told["coloured"]:
            break
        told = frame_of(source)
    vivid.set(disconnect=1)
    try:
        while True:
            source.grab(PATIENCE_S)
    except CaptureError as error:
        told |= {"state": error.state, "detail": str(error)}
    source.close()
    return told


def pumped(vivid: Vivid) -> list[str]:
    """What the daemon's capture thread says while the cable and then the grabber itself are pulled and put back."""
    said: list[str] = []
    pump = Pump(grabber(), Latest(), said.append)
    pump.start()

    def wait(state: str) -> None:
        until = time.monotonic() + PATIENCE_S
        while pump.signal.state != state:
            if time.monotonic() > until:
                raise TimeoutError(f"never {state}, but {pump.signal}; said {said}")
            time.sleep(0.02)

    wait("ok")
    for mode, state in ((NO_SIGNAL, "no cable"), (NO_LOCK, "no sync")):
        vivid.set(dv_timings_signal_mode=mode)
        wait(state)
        vivid.set(dv_timings_signal_mode=CURRENT)
        wait("ok")
    vivid.set(disconnect=1)
    wait("no device")
    vivid.close()
    patiently(lambda: guest.unload("vivid"))
    guest.load("vivid", "n_devs=1 input_types=0x3 num_inputs=1 vid_cap_nr=7 vid_out_nr=0")
    wait("ok")
    pump.stop(PATIENCE_S)
    return said


def webcam(_: Vivid) -> dict:
    """An input with sizes and rates to choose from, as UVC has them."""
    guest.load("vivid", "n_devs=1 input_types=0x0 num_inputs=1")
    told = {}
    for name, wanted in (
        ("default", {}),
        ("large", {"least": (700, 700), "pixel_format": "YUYV"}),
        ("none", {"size": (123, 45)}),
    ):
        source = grabber("/dev/video0", **wanted)
        told[name] = {"open": refusal(source)}
        if told[name]["open"] == "ok":
            told[name] |= {"shape": frame_of(source)["shape"], "format": source.layout.pixel_format}
        source.close()
    return told


def main() -> int:
    """Play the scenes one after another; 0 when all of them were played, whatever came out."""
    guest.load("vivid", "n_devs=1 input_types=0x3 num_inputs=1")
    LINK.parent.mkdir(parents=True)
    LINK.symlink_to("/dev/video0")
    vivid = Vivid("/dev/video0")
    vivid.set(osd_text_mode=2, show_border=0, test_pattern=WHITE, dv_timings=VGA, dv_timings_signal_mode=SELECTED)

    def replugged(_: Vivid) -> dict:
        """Under another number, behind a node that is no grabber; found by `auto` and by its link."""
        LINK.unlink()
        LINK.symlink_to("/dev/video7")
        told = {}
        for name, device in (("auto", "auto"), ("link", str(LINK)), ("old", "/dev/video0")):
            source = grabber(device)
            told[name] = refusal(source)
            if told[name] == "ok":
                told[f"{name} frame"] = frame_of(source)["name"]
            source.close()
        return told

    def unplugged(before: Vivid) -> dict:
        """The process's grabber is gone; put a new one in for the next scenes."""
        before.close()
        patiently(lambda: guest.unload("vivid"))
        told = {"auto": refusal(grabber()), "link": refusal(grabber(str(LINK)))}
        guest.load("vivid", "n_devs=1 input_types=0x3 num_inputs=1")
        return told

    scenes: list[tuple[str, Callable]] = [
        ("formats", formats),
        ("choice", choice),
        *((f"signal {mode}", lambda v, mode=mode: signal(v, mode)) for mode in (NO_SIGNAL, NO_LOCK, OUT_OF_RANGE)),
        *((f"silent {mode}", lambda v, mode=mode: silent(v, mode)) for mode in (NO_SIGNAL, NO_LOCK, OUT_OF_RANGE)),
        ("resized", resized),
        ("broken", broken),
        ("busy", busy),
        ("identity", identity),
        ("others", others),
        ("in a process", in_a_process),
        ("unplugged", unplugged),
        ("pumped", pumped),
        ("replugged", replugged),
        ("webcam", webcam),
    ]
    with open("/answers/v4l2.jsonl", "w") as answers:
        for name, scene in scenes:
            began = time.monotonic()
            try:
                if name == "pumped":
                    vivid = Vivid("/dev/video0")
                    vivid.set(dv_timings=VGA, dv_timings_signal_mode=SELECTED)
                if name == "webcam":
                    patiently(lambda: guest.unload("vivid"))
                told = scene(vivid)
            except Exception:  # noqa: BLE001 told to the host, which fails on it
                told = {"traceback": traceback.format_exc()}
            while opened:
                opened.pop().close()
            answers.write(json.dumps({"scene": name, "told": told, "seconds": time.monotonic() - began}) + "\n")
            answers.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
