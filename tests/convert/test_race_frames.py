"""A frame's whole way: the frames, each way's answer to them, and what is said of the bars."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf
from small_models import converter_of

from convert.race import frames, plain
from convert.race.child import Child
from convert.race.report import content, figures
from convert.race.rounds import Entry, Load, Row
from device.bundle import load_bundle
from device.shipped import default_bundle

SIZE = (224, 224)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    folder = tmp_path_factory.mktemp("frames") / "frames"
    region = frames.write_frames(folder, 3)
    return folder, [region.x, region.y, region.width, region.height]


@pytest.fixture(scope="module")
def mean_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Normalised luma -> (mean, 0, -mean)."""

    def network(x: tf.Tensor) -> tf.Tensor:
        mean = tf.reduce_mean(x, axis=[1, 2])
        return tf.concat([mean, 0 * mean, -mean], axis=1)

    path = tmp_path_factory.mktemp("model") / "mean.tflite"
    path.write_bytes(converter_of(network, [np.zeros((1, *SIZE, 1), np.float32)]).convert())
    return path


def test_frames_are_720p_and_differ(shown: tuple[Path, list[int]]) -> None:
    folder, (x, y, width, height) = shown
    read = [cv2.imread(str(file)) for file in sorted(folder.glob("*.jpg"))]
    assert [one.shape for one in read] == [(*frames.FRAME, 3)] * 3
    assert not np.array_equal(read[0], read[1])
    assert x + width <= 1280
    assert y + height <= 720


def test_the_plain_script_runs_as_it_is_and_does_what_it_says(shown: tuple[Path, list[int]], mean_model: Path) -> None:
    folder, region = shown
    files = sorted(map(str, folder.glob("*.jpg")))
    command = [sys.executable, plain.__file__, str(mean_model), ",".join(map(str, region)), *files]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    x, y, width, height = region
    for file, line in zip(files, lines, strict=True):
        grey = cv2.imread(file, cv2.IMREAD_GRAYSCALE)[y : y + height, x : x + width]
        assert line == f"{file} {'benign' if grey.mean() > 127.5 else 'normal'}"


def ours(shown: tuple[Path, list[int]], **more: bool) -> list[dict]:
    folder, region = shown
    options = {"script": "ours.py", "region": region, "frame": frames.FRAME, **more}
    with Child.of(sys.executable) as child:
        child.ask("load", 60.0, kind="way", file=str(default_bundle()), threads=1, options=options)
        return child.ask("answer", 60.0, inputs=str(folder))["answers"]


def test_the_device_gives_a_verdict_of_each_frame(shown: tuple[Path, list[int]]) -> None:
    bundle = default_bundle()
    answers = ours(shown)
    classes = load_bundle(bundle).meta.classes
    assert len(answers) == 3
    for answer in answers:
        assert answer["class"] in classes
        assert answer["verdict"] in (*classes, "abstain")


def test_decoding_ahead_tells_an_earlier_frame(shown: tuple[Path, list[int]]) -> None:
    """Frames of one scene, so that the verdict over time knows no difference."""
    usual, ahead = ours(shown), ours(shown, ahead=True)
    assert [one["class"] for one in ahead] == [usual[n]["class"] for n in (0, 0, 0)]


def row(key: str, ms: float | None, answers: list[str]) -> Row:
    said = [{"class": one, "verdict": one} for one in answers]
    made = Row(Entry(key, 1, None, {}, lambda answers: None), answers=said)
    made.wall = made.cpu = np.full((2, 3), ms / 1e3)
    return made


def test_bars_and_agreement_by_hand() -> None:
    rows = [row("paper/1", 16.0, ["a", "b", "c", "d"]), row("plain/1", 5.0, ["a", "c", "c", "a"])]
    rows += [row("ours/1", 2.0, ["a", "b", "c", "d"]), row("ours-ahead/2", 4.0, ["c", "c", "a", "b"])]
    rows.append(row("plain/2", 14.0, ["a", "c", "c", "a"]))
    assert [bar["speedup"]["value"] for bar in frames.bars(rows)] == pytest.approx([8.0, 4.0, 2.5, 3.5])
    assert [bar["met"] for bar in frames.bars(rows)] == [True, False, False, True]
    assert frames.agreement(rows[1], rows) == {"same_class": 0.5, "same_verdict": 0.5}
    assert frames.agreement(rows[3], rows) == {"same_class": 1.0, "same_verdict": 1.0}, "of two before"


def test_a_way_that_judges_something_else_is_out_and_its_bar_unknown() -> None:
    rows = [row("paper/1", 16.0, ["a", "b", "a"]), row("plain/1", 5.0, ["c", "c", "c"])]
    rows += [row("ours/1", 2.0, ["a", "b", "a"]), row("ours-ahead/2", 1.0, ["a", "a", "a"])]
    rows.append(row("plain/2", 4.0, ["c", "c", "c"]))
    frames.refuse_others(rows)
    assert "0 %" in rows[1].why
    assert [bar["met"] for bar in frames.bars(rows)] == [True, True, None, None]
    found = [
        one | {"engine": "way", "precision": ""} | frames.agreement(of, rows)
        for one, of in zip(figures(rows, "paper/1"), rows, strict=True)
    ]
    settings = {"rounds": 2, "runs": 3, "network": "n", "quality": 90, "frame_kb": 100.0}
    whole = content("frames", "c", settings, Load((0.0, 0.0), None), found) | {"bars": frames.bars(rows)}
    text = frames.table(whole)
    assert rows[1].why in text
    said = "times: 8.00 [8.00, 8.00], by CPU time 8.00 [8.00, 8.00]; wanted 8: met"
    assert f"`ours/1` as fast as `paper/1`, {said}" in text


def test_a_bar_is_not_met_where_only_waiting_was_shorter() -> None:
    rows = [row("paper/1", 20.0, ["a"]), row("plain/1", 5.0, ["a"]), row("ours/1", 2.0, ["a"])]
    rows += [row("ours-ahead/2", 2.0, ["a", "a"]), row("plain/2", 4.0, ["a"])]
    rows[0].cpu = rows[0].cpu / 2
    assert [bar["met"] for bar in frames.bars(rows)] == [False, True, False, False], "two threads have two CPUs' time"


def test_a_frame_that_takes_longer_on_purpose_counts_by_its_share() -> None:
    rows = [row(key, 12.0, ["a"]) for key in ("paper/1", "plain/1", "plain/2", "ours/1", "ours-ahead/2")]
    for one in rows[3:]:
        one.wall = one.cpu = np.array([[1e-3, 1e-3, 4e-3], [1e-3, 1e-3, 4e-3]])
    assert [bar["speedup"]["value"] for bar in frames.bars(rows)] == pytest.approx([6.0, 6.0, 6.0, 6.0])
    assert figures(rows, "paper/1", frames.OF_ROUND)[3]["ms"] == pytest.approx(2.0)
    assert figures(rows, "paper/1")[3]["ms"] == pytest.approx(1.0)
