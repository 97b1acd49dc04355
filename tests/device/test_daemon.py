"""The daemon as systemd and a person see it: real processes, sockets, signals and files."""

import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from listening import PATIENCE_S, notify_socket, read_rows, wait_for

from device import RESEARCH_NOTICE
from device import run as run_module
from device.bundle import Bundle, load_bundle
from device.decide import decide
from device.errors import UserError
from device.preprocess import prepare, read_picture
from device.runtime import open_bundle
from device.stages import STAGES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bundle(bundle_dir: Path) -> Bundle:
    return load_bundle(bundle_dir / "int8-full")


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with notify_socket(tmp_path / "notify") as sock:
        yield sock


def command(*options: object) -> list[str]:
    # Who made the model is beside the point here: see test_trust.py.
    return [sys.executable, "-m", "device.main", "device", "run", "--allow-unsigned", *map(str, options)]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def run(*options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*options), env=environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


def second_lines(text: str) -> list[dict[str, str]]:
    """The lines of each second, as key and value."""
    return [dict(pair.split("=", 1) for pair in line.split()) for line in text.splitlines() if line.startswith("fps=")]


# --- replay: every frame once, and the same answer as without a daemon


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Six pictures, dark to bright, grey and colour, of several sizes; one broken among them, and a mask."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number, (luma, shape) in enumerate(
        [
            (40, (48, 64)),
            (84, (64, 64)),
            (128, (100, 80, 3)),
            (172, (333, 251)),
            (216, (64, 200, 3)),
            (128, (20, 20)),
        ],
        start=7,
    ):
        noisy = rng.integers(luma - 20, luma + 21, shape).astype(np.uint8)
        assert cv2.imwrite(str(folder / f"scan ({number}), left.png"), noisy)
    (folder / "scan (9)b.png").write_bytes(b"\x89PNG and then nothing")
    cv2.imwrite(str(folder / "scan (7), left_mask.png"), np.full((48, 64), 255, np.uint8))
    return folder


def test_a_replay_judges_every_picture_once_and_as_without_the_daemon(
    bundle: Bundle, pictures: Path, tmp_path: Path
) -> None:
    rows_file, summary_file = tmp_path / "v.csv", tmp_path / "s.json"
    done = run(
        *("--bundle", bundle.folder, "--source", "folder", "--path", pictures, "--fps", 0),
        *("--verdicts", rows_file, "--summary", summary_file),
    )
    assert done.returncode == 0, done.stderr
    comment, rows = read_rows(rows_file)
    assert RESEARCH_NOTICE in comment
    assert "synthetic=yes" in comment

    names = [f"scan ({number}), left.png" for number in range(7, 13)]
    assert [row["name"] for row in rows] == names
    assert [int(row["sequence"]) for row in rows] == list(range(6))
    model = open_bundle(bundle)
    for row in rows:
        luma = prepare(read_picture(pictures / row["name"]), bundle.meta.preprocess)
        verdict = decide(model.logits(luma), bundle.meta)
        assert row["verdict"] == verdict.label
        assert row["reason"] == (verdict.reason or "")
        assert {name: float(row[f"p_{name}"]) for name in bundle.meta.classes} == verdict.probabilities
    assert {row["verdict"] for row in rows} == {"normal", "benign", "malignant", "abstain"}

    assert done.stdout.count("scan (9)b.png") == 1
    assert "all pictures of" in done.stdout.splitlines()[-1]
    summary = json.loads(summary_file.read_text())
    assert summary["frames"] == {"captured": 6, "judged": 6, "skipped": 0, "bad": 0, "undecodable": 1}
    assert summary["verdicts"] == {"benign": 2, "malignant": 1, "normal": 1, "abstain": 2}
    assert summary["notice"] == RESEARCH_NOTICE
    assert summary["synthetic"] == {"source": None, "model": True}
    assert summary["bundle"] == {"name": "tiny", "id": bundle.id, "variant": "int8-full"}
    assert set(summary["stages_ms"]) == set(STAGES)
    assert all(0 <= stage["p50"] <= stage["p95"] and stage["count"] == 6 for stage in summary["stages_ms"].values())


def test_a_second_run_adds_to_the_record_and_a_failed_one_leaves_it_alone(
    bundle: Bundle, pictures: Path, tmp_path: Path
) -> None:
    rows_file = tmp_path / "v.csv"
    options = ("--bundle", bundle.folder, "--source", "folder", "--fps", 0, "--verdicts", rows_file)
    assert run(*options, "--path", tmp_path / "absent").returncode == 2
    assert not rows_file.exists()
    assert run(*options, "--path", pictures).returncode == 0
    first = rows_file.read_text()
    assert run(*options, "--path", tmp_path / "absent").returncode == 2
    assert rows_file.read_text() == first
    rows_file.write_text(first + '6,"scan (13), le')  # power failed
    assert run(*options, "--path", pictures).returncode == 0
    whole = rows_file.read_text()
    assert whole.startswith(first)
    assert whole.count("sequence,name,captured_s,verdict") == 1
    assert [RESEARCH_NOTICE in line for line in whole.splitlines() if line.startswith("#")] == [True, True]
    rows = read_rows(rows_file)[1]
    assert [row["sequence"] for row in rows] == [*"012345", "6", *"012345"]
    assert [row["verdict"] for row in rows[:6]] == [row["verdict"] for row in rows[7:]]

    other = tmp_path / "notes.csv"
    other.write_text("a,b\n1,2\n")
    done = run(*options[:-1], other, "--path", pictures)
    assert done.returncode == 2
    assert f"busi-kd: {other}: exists and is no record with the columns sequence," in done.stderr
    assert other.read_text() == "a,b\n1,2\n"


def test_a_folder_without_one_picture_that_decodes_ends_with_status_2(bundle: Bundle, tmp_path: Path) -> None:
    folder, rows_file = tmp_path / "broken", tmp_path / "v.csv"
    folder.mkdir()
    for name in ("1.png", "2.png"):
        (folder / name).write_bytes(b"\x89PNG and then nothing")
    options = ("--bundle", bundle.folder, "--source", "folder", "--path", folder, "--fps", 0, "--verdicts", rows_file)
    done = run(*options)
    assert done.returncode == 2
    sentences = [line for line in done.stderr.splitlines() if line.startswith("busi-kd: ")]
    assert len(sentences) == 1
    assert f"{folder}: none of its 2 pictures decodes" in sentences[0]
    assert not rows_file.exists()


def test_a_video_is_replayed_to_its_end(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 30, (64, 48))
    for luma in (40, 40, 128, 216):
        writer.write(np.full((48, 64, 3), luma, np.uint8))
    writer.release()
    rows_file = tmp_path / "v.csv"
    done = run(*("--bundle", bundle.folder, "--source", "video", "--path", path, "--fps", 0, "--verdicts", rows_file))
    assert done.returncode == 0, done.stderr
    verdicts = [(row["name"], row["verdict"]) for row in read_rows(rows_file)[1]]
    assert verdicts == list(
        zip([f"clip.avi#{i}" for i in range(4)], ["normal", "normal", "benign", "malignant"], strict=True)
    )


# --- as a service


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_service_is_ready_after_a_verdict_feeds_the_watchdog_and_ends_when_told(
    number: signal.Signals, bundle: Bundle, systemd: socket.socket, tmp_path: Path
) -> None:
    rows_file, summary_file = tmp_path / "v.csv", tmp_path / "s.json"
    process = subprocess.Popen(
        command("--bundle", bundle.folder, "--verdicts", rows_file, "--summary", summary_file),
        env=environment(NOTIFY_SOCKET=systemd.getsockname(), WATCHDOG_USEC="400000"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        messages = wait_for(systemd, "READY=1")
        assert read_rows(rows_file)[1], "ready before the first verdict"
        messages += wait_for(systemd, "STATUS=signal ok")
        messages += wait_for(systemd, "WATCHDOG=1")
        process.send_signal(number)
        messages += wait_for(systemd, "STOPPING=1")
        out, err = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert "WATCHDOG=1" not in messages[: messages.index("READY=1")]
    assert all("SYNTHETIC" in text and RESEARCH_NOTICE in text for text in messages if "STATUS=signal" in text)

    summary = json.loads(summary_file.read_text())
    frames = summary["frames"]
    assert frames["captured"] == frames["judged"] + frames["skipped"] > 0
    assert frames["judged"] == sum(summary["verdicts"].values()) == len(read_rows(rows_file)[1])
    assert summary["ended"] == number.name
    assert summary["synthetic"] == {"source": True, "model": True}

    head = out.splitlines()[:4]
    assert RESEARCH_NOTICE in head[0]
    assert f"id={bundle.id}" in head[1]
    assert "interpreter=" in head[1]
    assert 'source="phantom seed 0"' in head[2]
    assert head[3].startswith("SYNTHETIC")
    changes = re.findall(r"signal: ([\w ]+) -> (\w+)", out)  # through `stalled` where the machine is busy
    assert (changes[0][0], changes[-1][1]) == ("waiting", "ok")
    lines = second_lines(out)
    assert {f"{stage}_p{percent}_ms" for stage in STAGES for percent in (50, 95)} <= set(lines[0])
    assert {"fps", "cpu", "temp_c", "mem_mb", "throttled", "benign", "abstain"} <= set(lines[0])
    assert lines[-1]["signal"] == "ok"
    assert {line["use"] for line in lines} == {"research-only"}
    assert sum(int(line["judged"]) for line in lines) == frames["judged"]


def test_a_kill_leaves_whole_lines(bundle: Bundle, systemd: socket.socket, tmp_path: Path) -> None:
    rows_file = tmp_path / "v.csv"
    with subprocess.Popen(
        command("--bundle", bundle.folder, "--fps", 0, "--verdicts", rows_file),
        env=environment(NOTIFY_SOCKET=systemd.getsockname(), WATCHDOG_USEC="40000"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        for _ in range(5):
            wait_for(systemd, "WATCHDOG=1")
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert rows_file.read_bytes().endswith(b"\n")
    rows = read_rows(rows_file)[1]
    assert [int(row["sequence"]) for row in rows] == list(range(len(rows)))
    assert len(rows) >= 5
    assert all(None not in row and None not in row.values() for row in rows)


def test_a_run_can_be_given_an_end(bundle: Bundle, tmp_path: Path) -> None:
    done = run("--bundle", bundle.folder, "--duration", 0.5, "--summary", tmp_path / "s.json")
    assert done.returncode == 0, done.stderr
    assert "the duration asked for is over" in done.stdout.splitlines()[-1]
    assert json.loads((tmp_path / "s.json").read_text())["seconds"] >= 0.5


# --- what a person has to mend


def test_what_a_person_must_mend_ends_with_status_2_and_one_sentence(bundle_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.avi").write_text("no video")
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in (bundle_dir / "float32").iterdir():
        (broken / file.name).write_bytes(file.read_bytes() + b"\0" * (file.suffix == ".tflite"))
    good = ("--bundle", bundle_dir / "float32")
    for options, why in (
        ((*good, "--source", "folder", "--path", tmp_path / "absent"), "no such folder"),
        ((*good, "--source", "folder", "--path", tmp_path / "empty"), "no picture there"),
        ((*good, "--source", "video", "--path", tmp_path / "text.avi"), "no video that can be decoded"),
        (("--bundle", broken), "wrong hash"),
    ):
        done = run(*options)
        assert done.returncode == 2
        sentences = [line for line in done.stderr.splitlines() if line.startswith("busi-kd: ")]
        assert len(sentences) == 1
        assert why in sentences[0]
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--source", "folder"], "--source folder needs --path"),
        (["--source", "video"], "--source video needs --path"),
        (["--path", "/tmp"], "phantom takes none"),
        (["--path", "/tmp", "--source", "v4l2"], "v4l2 takes none"),
        (["--device", "auto"], "--device goes with --source v4l2"),
        (["--source", "v4l2", "--fps", "0"], "a v4l2 device has a pace of its own"),
        (["--source", "v4l2", "--device", "/dev/null"], "/dev/null: it is no V4L2 device"),
        (["--fps", "0.2"], "--fps is 0.2"),
        (["--duration", "0"], "--duration is 0"),
        (["--duration", "nan"], "--duration is nan"),
        (["--threads", "0"], "--threads is 0, which lies outside 1 to 64"),
        (["--verdicts", "/nowhere/v.csv"], "/nowhere/v.csv: its folder does not exist"),
        (["--summary", "/nowhere/s.json"], "/nowhere/s.json: its folder does not exist"),
        (["--summary", ".", "--duration", "0.1"], ".: is a folder; give the name of a file."),
        (["--summary", "/proc", "--duration", "0.1"], "/proc: is a folder"),
        (["--verdicts", "/proc", "--duration", "0.1"], "/proc: is a folder"),
        (["--verdicts", "/dev/full"], "/dev/full: cannot be written"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: list[str], why: str, bundle: Bundle) -> None:
    parser = argparse.ArgumentParser()
    run_module.add_arguments(parser)
    with pytest.raises(UserError) as error:
        run_module.main(parser.parse_args(["--bundle", str(bundle.folder), "--allow-unsigned", *options]))
    assert why in str(error.value)
