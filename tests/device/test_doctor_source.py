"""The doctor on sources: real files and folders, real device nodes that are no cameras, and a stand-in driver."""

import errno
import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.config.settings import SourceSettings
from device.doctor import Finding, node, source
from device.doctor.child import Answer

GRABBER = {
    "driver": "uvcvideo",
    "card": "USB Video",
    "capture": True,
    "streaming": True,
    "input_status": 0,
    "timings": None,
    "edid_bytes": None,
}


def states(found: list[Finding]) -> list[tuple[str, str]]:
    assert all(one.do for one in found if one.state != "ok")
    return [(one.name, one.state) for one in found]


# --- files


def test_files_and_folders(tmp_path: Path) -> None:
    (found,) = source.source(SourceSettings())
    assert (found.state, "shows nobody" in found.says) == ("note", True)
    (found,) = source.source(SourceSettings("folder", tmp_path))
    assert (found.state, "no picture there" in found.says) == ("problem", True)
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8), np.uint8))
    assert source.source(SourceSettings("folder", tmp_path)) == [Finding("source", "ok", f"{tmp_path}: 1 pictures.")]
    assert states(source.source(SourceSettings("video", tmp_path / "a.png"))) == [("source", "ok")]
    assert states(source.source(SourceSettings("video", tmp_path / "absent"))) == [("source", "problem")]
    assert states(source.source(SourceSettings("folder"))) == [("source", "problem")]


# --- device nodes


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "dev").mkdir()
    return tmp_path


def answer(**changes: object) -> Answer:
    return Answer(json.dumps(GRABBER | changes), None)


def test_no_device_and_things_that_are_none(root: Path) -> None:
    (found,) = source.source(SourceSettings("v4l2"), root)
    assert (found.state, found.says) == ("problem", "there is no video device (/dev/video*).")
    (found,) = source.source(SourceSettings("v4l2", device=Path("/dev/video0")), root)
    assert (found.state, found.says) == ("problem", f"{root}/dev/video0: No such file or directory.")
    (root / "dev/video0").write_text("a file")
    (found,) = source.source(SourceSettings("v4l2", device=Path("/dev/video0")), root)
    assert found.says.endswith("video0: is no device.")
    (root / "dev/video0").unlink()
    (root / "dev/video0").symlink_to("/dev/null")  # a character device without a camera behind it
    (found,) = source.source(SourceSettings("v4l2", device=Path("/dev/video0")), root)
    assert found.says.endswith("video0: is no video device (ENOTTY).")
    (found,) = source.source(SourceSettings("v4l2"), root)
    assert found.says == "none of the video devices captures a picture from outside (video0)."


def test_the_first_that_captures_is_found(root: Path) -> None:
    for number in (0, 2, 10):
        (root / f"dev/video{number}").symlink_to("/dev/null")
    asked = []

    def look(path: Path) -> Answer:
        asked.append(path.name)
        return answer(driver="bcm2835-isp") if path.name == "video0" else answer(card=path.name)

    found = source.source(SourceSettings("v4l2"), root, look)
    assert found[0] == Finding("source", "ok", f"{root}/dev/video2: video2 (uvcvideo).")
    assert asked == ["video0", "video2", "video10"]


def test_a_driver_that_hangs_or_crashes(root: Path) -> None:
    (root / "dev/video0").symlink_to("/dev/null")
    for ended in ("gave no answer within 5 s", "was ended by SIGSEGV"):
        (found,) = source.node_of(root / "dev/video0", lambda _, ended=ended: Answer("", ended))
        assert (found.state, ended in found.says) == ("problem", True)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [("source", "ok"), ("signal", "unknown")]),
        ({"timings": [1280, 720], "edid_bytes": 256}, [("source", "ok"), ("signal", "ok"), ("edid", "ok")]),
        ({"timings": "ENOLINK", "edid_bytes": 0}, [("source", "ok"), ("signal", "problem"), ("edid", "problem")]),
        ({"timings": "ENOLCK"}, [("source", "ok"), ("signal", "problem")]),
        ({"timings": "ERANGE"}, [("source", "ok"), ("signal", "problem")]),
        ({"timings": "EBUSY", "edid_bytes": "ENODATA"}, [("source", "ok"), ("signal", "unknown"), ("edid", "problem")]),
        ({"input_status": 0x1}, [("source", "ok"), ("signal", "problem")]),
        ({"input_status": 0x2}, [("source", "ok"), ("signal", "problem")]),
        ({"input_status": 0x10000}, [("source", "ok"), ("signal", "problem")]),
        ({"input_status": None}, [("source", "ok"), ("signal", "unknown")]),
        ({"capture": False}, [("source", "problem")]),
        ({"driver": "bcm2835-codec"}, [("source", "problem")]),
        ({"streaming": False}, [("source", "problem")]),
        ({"error": "EACCES"}, [("source", "problem")]),
        ({"error": "EBUSY"}, [("source", "problem")]),
        ({"error": "ENODEV"}, [("source", "problem")]),
        ({"error": "ENOTTY"}, [("source", "problem")]),
    ],
)
def test_each_answer_of_a_driver_has_its_finding(changes: dict, expected: list[tuple[str, str]]) -> None:
    assert states(source.judge("/dev/video0", GRABBER | changes)) == expected


def test_the_service_must_be_allowed_to_open_it(tmp_path: Path) -> None:
    for mode, uid_gid, may in ((0o666, 0, True), (0o660, 0, False), (0o600, 44, False)):
        kind = os.stat_result((0o020000 | mode, 0, 0, 1, 0, uid_gid, 0, 0, 0, 0))
        assert states(source.group_of(tmp_path, kind)) == ([] if may else [("permission", "problem")])


def test_another_program_that_has_it_open_is_named(tmp_path: Path) -> None:
    file = tmp_path / "video0"
    file.touch()
    assert source.users(file) == []
    command = [
        sys.executable,
        "-c",
        "import sys; f = open(sys.argv[1]); print('open', flush=True); sys.stdin.read()",
        file,
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"open\n"
        (found,) = source.users(file)
        assert (found.name, found.state, f"(process {other.pid})" in found.says) == ("busy", "problem", True)
        other.stdin.close()


# --- the questions to the driver, answered by a stand-in


class Driver:
    """Answers ioctls as a driver for an HDMI bridge does; `silent` ones are not implemented."""

    def __init__(self, silent: tuple[str, ...] = (), fails: dict[str, int] | None = None) -> None:
        self.silent, self.fails = silent, fails or {}

    def __call__(self, handle: int, request: object, *arguments: object) -> int:
        from linuxpy.video import raw

        name = raw.IOC(request).name
        if name in self.silent:
            raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
        if name in self.fails:
            raise OSError(self.fails[name], os.strerror(self.fails[name]))
        said = arguments[0]
        if name == "QUERYCAP":
            said.driver, said.card = b"unicam", b"unicam"
            said.capabilities = int(raw.Capability.DEVICE_CAPS | raw.Capability.VIDEO_OUTPUT)
            said.device_caps = int(raw.Capability.VIDEO_CAPTURE | raw.Capability.STREAMING)
        elif name == "G_INPUT":
            said.value = 0
        elif name == "ENUMINPUT":
            said.status = 0x2 if said.index == 0 else 0
        elif name == "QUERY_DV_TIMINGS":
            said.bt.width, said.bt.height = 1920, 1080
        elif name == "G_EDID":
            said.blocks = 2
        return 0


def test_what_a_bridge_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "ioctl", Driver())
    expected = {"driver": "unicam", "card": "unicam", "capture": True, "streaming": True, "input_status": 2}
    assert node.look("/dev/null") == expected | {"timings": [1920, 1080], "edid_bytes": 256}


def test_what_a_usb_grabber_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "ioctl", Driver(silent=("G_INPUT", "QUERY_DV_TIMINGS", "G_EDID")))
    said = node.look("/dev/null")
    assert (said["input_status"], said["timings"], said["edid_bytes"]) == (None, None, None)
    monkeypatch.setattr(fcntl, "ioctl", Driver(fails={"QUERY_DV_TIMINGS": errno.ENOLINK, "G_EDID": errno.ENODATA}))
    said = node.look("/dev/null")
    assert (said["timings"], said["edid_bytes"]) == ("ENOLINK", "ENODATA")
    monkeypatch.setattr(fcntl, "ioctl", Driver(fails={"QUERYCAP": errno.ENODEV}))
    assert node.look("/dev/null") == {"error": "ENODEV"}


def test_the_questions_are_asked_in_a_process_of_their_own() -> None:
    assert json.loads(source.look(Path("/dev/null")).out) == {"error": "ENOTTY"}
    assert json.loads(source.look(Path("/dev/absent")).out) == {"error": "ENOENT"}


def test_a_session_and_the_pis_own_camera(tmp_path: Path) -> None:
    (tmp_path / "session.csv").write_text("captured_s,file\n1.0,000000.png\n1.1,000001.png\n")
    (found,) = source.source(SourceSettings(kind="session", path=tmp_path))
    assert (found.state, found.says) == ("ok", f"{tmp_path}: a session of 2 frames.")
    (tmp_path / "session.csv").write_text("captured_s,file\n")
    (found,) = source.source(SourceSettings(kind="session", path=tmp_path))
    assert (found.state, "holds no frame" in found.says) == ("problem", True)
    (found,) = source.source(SourceSettings(kind="picamera2"))
    assert found.state == "problem", "the package is not on this machine"
    assert "apt install python3-picamera2" in found.do
