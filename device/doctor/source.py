"""Where frames come from: is it there, may it be opened, does it capture, does it see a signal?"""

import grp
import json
import os
import stat
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from device.capture.folder import list_pictures
from device.capture.picamera import INSTALL
from device.capture.session import read_times
from device.config.settings import SourceSettings
from device.doctor import Finding
from device.doctor.child import Answer, ask
from device.errors import UserError

ASK_S = 20.0  # Python and linuxpy take seconds on a cold card; a driver that hangs longer does not work
GROUP = "video"
# Nodes of the Pi's own codecs and picture processors capture, too, but never from outside.
NOT_CAMERAS = ("bcm2835-codec", "bcm2835-isp", "rpivid", "rpi-hevc-dec", "pispbe", "hantro-vpu")
_NO_POWER, _NO_SIGNAL, _NO_LOCK = 0x1, 0x2, 0x100 | 0x400 | 0x800 | 0x10000 | 0x40000  # V4L2_IN_ST_*

Look = Callable[[Path], Answer]


def look(node: Path) -> Answer:
    """device.doctor.node of a device, in a process of its own."""
    return ask(["-m", "device.doctor.node", str(node)], ASK_S)


def source(settings: SourceSettings, root: Path = Path("/"), look: Look = look) -> list[Finding]:
    """The findings for the source that the settings name."""
    if settings.kind == "phantom":
        do = 'For a real picture: kind = "v4l2" below [source] of the configuration file.'
        return [Finding("source", "note", "the phantom, a self-test that shows nobody, is the source.", do)]
    if settings.kind == "v4l2":
        return _video(settings.device, root, look)
    if settings.kind == "picamera2":
        if find_spec("picamera2") is None:
            return [Finding("source", "problem", "the package picamera2 cannot be imported here.", INSTALL)]
        do = "See that rpicam-hello --list-cameras names the camera."
        return [Finding("source", "unknown", f"picamera2 is there; camera {settings.camera} was not tried.", do)]
    if settings.path is None:
        return [Finding("source", "problem", f"source.kind {settings.kind} has no source.path.", "Give the path.")]
    if settings.kind == "folder":
        try:
            count = len(list_pictures(settings.path))
        except UserError as error:
            return [Finding("source", "problem", str(error), "Correct source.path, or mount what it is on.")]
        return [Finding("source", "ok", f"{settings.path}: {count} pictures.")]
    if settings.kind == "session":
        try:
            count = len(read_times(settings.path))
        except UserError as error:
            return [Finding("source", "problem", str(error), "Correct source.path, or mount what it is on.")]
        return [Finding("source", "ok", f"{settings.path}: a session of {count} frames.")]
    if not settings.path.is_file() or not os.access(settings.path, os.R_OK):
        do = "Correct source.path or the file's permissions, or mount what it is on."
        return [Finding("source", "problem", f"{settings.path}: no video file that can be read.", do)]
    return [Finding("source", "ok", f"{settings.path}: is there and can be read.")]


def _video(given: Path | None, root: Path, look: Look) -> list[Finding]:
    if given is not None:
        node = root / given.relative_to("/") if given.is_absolute() else given
        found = node_of(node, look)
        return [*found, *users(node, root)] if found[0].state in ("ok", "note") else found
    nodes = sorted(root.glob("dev/video*"), key=lambda node: (len(node.name), node.name))
    tried = [(node, node_of(node, look)) for node in nodes]
    for node, found in tried:
        if found[0].state == "ok":
            return [*found, *users(node, root)]
    do = "Plug the grabber in (USB: try another port; CSI: its dtoverlay in /boot/firmware/config.txt): ls /dev/video*"
    if not tried:
        return [Finding("source", "problem", "there is no video device (/dev/video*).", do)]
    closed = [found for _, found in tried if "permission" in found[0].says]
    if closed:
        return closed[0]
    names = ", ".join(node.name for node in nodes)
    return [Finding("source", "problem", f"none of the video devices captures a picture from outside ({names}).", do)]


def node_of(node: Path, look: Look = look) -> list[Finding]:
    """The findings for one device node."""
    try:
        kind = node.stat()
    except OSError as error:
        do = "Plug it in, or correct source.device; ls /dev/video* shows what is there."
        return [Finding("source", "problem", f"{node}: {error.strerror}.", do)]
    if not stat.S_ISCHR(kind.st_mode):
        return [Finding("source", "problem", f"{node}: is no device.", "Correct source.device.")]
    answer = look(node)
    if answer.ended is not None:
        do = "Unplug the device and plug it in again; if it stays so, start the machine again, then try another cable."
        return [Finding("source", "problem", f"{node}: asked for its name, it {answer.ended}.", do)]
    found = judge(str(node), json.loads(answer.out))
    if found[0].state == "ok":
        found += group_of(node, kind)
    return found


def judge(node: str, said: dict) -> list[Finding]:
    """What device.doctor.node.look said -> the findings for the device and, where it can tell, its signal and EDID."""
    error = said.get("error")
    if error in ("EACCES", "EPERM"):
        do = f"Add yourself to the group: sudo usermod -aG {GROUP} $USER, then log in again; or run this with sudo."
        return [Finding("source", "problem", f"{node}: no permission to open it.", do)]
    if error == "EBUSY":
        do = f"End what uses it: sudo fuser -v {node}"
        return [Finding("source", "problem", f"{node}: another program holds it.", do)]
    if error in ("ENODEV", "ENXIO"):
        return [Finding("source", "problem", f"{node}: the device behind it is gone.", "Plug it in again.")]
    if error is not None:
        return [Finding("source", "problem", f"{node}: is no video device ({error}).", "Correct source.device.")]
    what = f"{node}: {said['card']} ({said['driver']})"
    if not said["capture"] or said["driver"] in NOT_CAMERAS:
        do = "Correct source.device: v4l2-ctl --list-devices shows which node belongs to the grabber."
        return [Finding("source", "problem", f"{what} captures no picture from outside.", do)]
    if not said["streaming"]:
        return [Finding("source", "problem", f"{what} cannot stream.", "Take another camera or grabber.")]
    return [Finding("source", "ok", f"{what}."), _signal(said["input_status"], said["timings"]), *_edid(node, said)]


def _signal(status: int | str | None, timings: list[int] | str | None) -> Finding:
    cable = "Switch the ultrasound machine on, check both ends of the cable, and that its picture is put out there."
    if isinstance(timings, list):
        return Finding("signal", "ok", f"a picture of {timings[0]}x{timings[1]} pixels comes in.")
    if timings == "ENOLINK":
        return Finding("signal", "problem", "nothing comes in: no cable, or the machine is off.", cable)
    if timings in ("ENOLCK", "ERANGE"):
        why = "is not steady" if timings == "ENOLCK" else "has a form that the grabber cannot take"
        do = "Try a shorter or better cable, or let the machine put out 1280x720 or 1920x1080 at 60 Hz or less."
        return Finding("signal", "problem", f"a signal comes in, but it {why}.", do)
    if isinstance(status, int) and status & _NO_POWER:
        return Finding("signal", "problem", "the driver says that what is connected has no power.", cable)
    if isinstance(status, int) and status & _NO_SIGNAL:
        return Finding("signal", "problem", "the driver says that no signal comes in.", cable)
    if isinstance(status, int) and status & _NO_LOCK:
        return Finding(
            "signal", "problem", "a signal comes in, but the driver cannot lock to it.", "Try another cable."
        )
    do = "busi-kd device run shows it: signal ok, or blank when the grabber paints a colour."
    return Finding("signal", "unknown", "this driver cannot tell whether a signal comes in.", do)


def _edid(node: str, said: dict) -> list[Finding]:
    size = said["edid_bytes"]
    if size is None:
        return []  # USB grabbers have one of their own, and say nothing of it
    if isinstance(size, int) and size > 0:
        return [Finding("edid", "ok", f"the machine is shown an EDID of {size} bytes.")]
    do = f"Set one, or the machine may put out nothing: v4l2-ctl -d {node} --set-edid type=hdmi --fix-edid-checksums"
    return [Finding("edid", "problem", "the grabber shows the machine no EDID.", do)]


def group_of(node: Path, kind: os.stat_result) -> list[Finding]:
    """May the service open it? It runs as the user busi-kd, in the group `video`; nothing when it may."""
    try:
        gid = grp.getgrnam(GROUP).gr_gid
    except KeyError:
        gid = None
    mode = kind.st_mode
    may = (kind.st_gid == gid and mode & 0o060 == 0o060) or mode & 0o006 == 0o006
    if may:
        return []
    do = f'sudo chgrp {GROUP} {node}; sudo chmod g+rw {node}; a udev rule with GROUP="{GROUP}" keeps it so.'
    says = f"{node}: the service, which is in the group {GROUP}, may not open it."
    return [Finding("permission", "problem", says, do)]


def users(node: Path, root: Path = Path("/")) -> list[Finding]:
    """Which other programs have the device open; those of other users only root can see."""
    holders, paths = [], {str(node), str(node.resolve())}
    for folder in root.glob("proc/[0-9]*"):
        try:
            names = {os.readlink(handle) for handle in (folder / "fd").iterdir()}
            if paths & names and folder.name != str(os.getpid()):
                words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
                holders.append((folder.name, " ".join(words).strip()))
        except OSError:  # it has ended, or it is another user's
            continue
    ours = ("busi-kd", "device.capture.child")
    strangers = [f"{words[:60]} (process {pid})" for pid, words in holders if not any(name in words for name in ours)]
    if not strangers:
        return []
    says = f"{node} is open in another program, too: {', '.join(strangers)}."
    return [Finding("busy", "problem", says, "End that program: only one can take frames from a device.")]
