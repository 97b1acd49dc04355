"""`device bench --pipeline` on real bundles: every stage there and counted, sums that are sums, frames that decode."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from device import RESEARCH_NOTICE
from device.bench_pipeline import ROW_FIELDS, frame_size, table_of
from device.bench_pipeline_report import table
from device.bench_stages import EVERY, STAGES, stages_of
from device.bench_stream import FORMATS, SHOTS, StreamSource, region_on, screen, write_stream
from device.bundle import load_bundle
from device.capture.pixels import Layout, picture
from device.capture.process import ProcessSource
from device.errors import UserError
from device.main import main as busi_kd
from device.phantom import make_phantom
from device.preprocess import to_luma

SIZE = (240, 320)
SMALL = ("--pipeline", "--size", "320x240", "--runs", "31", "--rounds", "1", "--warmup", "1")


def bench(folder: Path, *more: str | Path) -> tuple[int, dict[str, Any]]:
    """Run the CLI's command in this process; returns the exit status and the report."""
    report = folder / "report.json"
    status = busi_kd(["device", "bench", *map(str, more), "--json", str(report)])
    return status, json.loads(report.read_text())


@pytest.fixture(scope="module")
def phantom() -> np.ndarray:
    return make_phantom("benign", 0, (120, 160)).image


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_all_stages_are_timed_and_their_sum_is_the_overhead(
    pixel_format: str, bundle_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    status, report = bench(tmp_path, bundle_dir / "int8-full", *SMALL, "--format", pixel_format)
    assert status == 0
    assert (report["kind"], report["notice"]) == ("pipeline", RESEARCH_NOTICE)
    assert (report["settings"]["size"], report["settings"]["format"]) == ([240, 320], pixel_format)
    (row,) = report["rows"]
    assert set(row) == {"folder", "threads", "error", *ROW_FIELDS}
    assert (row["error"], row["frames"]) == (None, 31)
    assert tuple(row["stages"]) == STAGES
    assert {stage: found["count"] for stage, found in row["stages"].items()} == {
        stage: -(-31 // EVERY.get(stage, 1)) for stage in STAGES
    }
    for clock in ("wall", "cpu"):
        for found in row["stages"].values():
            assert 0 < found[f"{clock}_ms"]["p50"] <= found[f"{clock}_ms"]["p95"]
            assert found[f"per_frame_{clock}_ms"] == found[f"{clock}_ms"]["mean"] / found["every"]
        around = [found for stage, found in row["stages"].items() if stage != "infer"]
        for key in (f"{clock}_percent", f"{clock}_ms"):
            of_stage = f"per_frame_{clock}_ms" if key.endswith("ms") else key
            assert row["overhead"][key] == pytest.approx(sum(found[of_stage] for found in around))
    live = row["live"]
    assert live["frames"]["judged"] > 0
    assert live["frames"]["bad"] == live["frames"]["undecodable"] == 0
    total = [live["total_ms"][name] for name in ("p50", "p95", "p99")]
    assert total == sorted(total)
    assert live["total_frame_times"]["p50"] == pytest.approx(live["total_ms"]["p50"] * 30 / 1e3)
    said = capsys.readouterr().out
    assert said.startswith(RESEARCH_NOTICE)
    assert all(f"\n{stage.replace('_', '-')} " in said for stage in STAGES)
    assert "Glass to verdict: p50 " in said


def test_a_model_that_outlines_has_one_stage_more(mask_bundle_dir: Path, tmp_path: Path, capsys) -> None:
    folder = mask_bundle_dir / "int8-full"
    status, report = bench(tmp_path, folder, *SMALL)
    (row,) = report["rows"]
    assert (status, row["error"]) == (0, None)
    assert tuple(row["stages"]) == stages_of(load_bundle(folder).meta)
    assert set(row["stages"]) - set(STAGES) == {"outline"}
    assert row["stages"]["outline"]["count"] == row["frames"]
    assert "\noutline " in capsys.readouterr().out


def test_sums_and_shares_by_hand() -> None:
    """2 ms inference; quality 3 ms in one frame of six, the second's line 6 ms in one of thirty, the others 0.1 ms."""
    spent = {stage: [(1e-4, 5e-5)] for stage in STAGES}
    spent |= {"infer": [(2e-3, 1e-3)], "quality": [(3e-3, 3e-3)], "second": [(6e-3, 6e-3)]}
    found = table_of(spent)
    assert found["overhead"] == pytest.approx(
        {"wall_ms": 7 * 0.1 + 0.5 + 0.2, "wall_percent": 70.0, "cpu_ms": 7 * 0.05 + 0.7, "cpu_percent": 105.0}
    )
    assert found["stages"]["quality"]["wall_percent"] == pytest.approx(25.0)
    assert found["stages"]["infer"]["cpu_percent"] == 100.0


def test_a_bundle_that_does_not_load_is_named_and_the_others_are_measured(
    bundle_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "bundle.json").write_text("{}")
    status, report = bench(tmp_path, broken, bundle_dir / "float32", *SMALL)
    assert status == 1
    assert str(broken) in report["rows"][0]["error"]
    assert report["rows"][0]["stages"] is None
    assert report["rows"][1]["overhead"]["cpu_percent"] > 0
    assert "broken, 1 thread(s)\nFAILED: " in capsys.readouterr().out


def test_a_busy_machine_and_a_run_without_frames_are_told(bundle_dir: Path, tmp_path: Path) -> None:
    _, report = bench(tmp_path, bundle_dir / "int8-full", *SMALL)
    (row,) = report["rows"]
    row["other_cpu_percent"] = 90.0
    row["live"]["total_ms"] = row["live"]["total_frame_times"] = dict.fromkeys(("p50", "p95", "p99", "highest"))
    said = table(report)
    assert "90 % of a core went to other programs" in said
    assert "Glass to verdict: unknown, no frame was judged." in said


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_every_frame_of_the_stream_decodes_to_the_screen_it_was_made_of(
    pixel_format: str, phantom: np.ndarray, tmp_path: Path
) -> None:
    made = write_stream(tmp_path, [phantom], SIZE, pixel_format)
    assert len({data for data, _ in made}) == len(made) == SHOTS
    for shot, (data, region) in enumerate(made):
        shown, there = screen(phantom, SIZE, shot)
        found = picture(data, Layout(pixel_format, *SIZE), SIZE)
        assert region == there
        assert cv2.PSNR(found.luma, to_luma(shown)) > 30
        assert 0 < found.coloured < 0.01  # the mark


def test_the_source_gives_all_its_frames_in_a_process_of_its_own(phantom: np.ndarray, tmp_path: Path) -> None:
    made = write_stream(tmp_path, [phantom], SIZE, "MJPG")
    source = ProcessSource(StreamSource, folder=tmp_path, size=SIZE, least=SIZE, fps=240.0)
    source.open()
    try:
        for _ in range(SHOTS + 2):
            frame = source.grab(1.0)
            number = int(frame.name.removeprefix("frame "))
            there = picture(made[number % SHOTS][0], Layout("MJPG", *SIZE), SIZE)
            np.testing.assert_array_equal(frame.pixels, there.luma)
            assert frame.coloured == there.coloured
    finally:
        source.close()


def test_a_source_without_frames_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no \.frame file there"):
        StreamSource(tmp_path, SIZE, SIZE).open()


def test_a_picture_keeps_its_aspect_on_the_screen_and_a_tiny_screen_is_refused() -> None:
    found = region_on((720, 1280), (480, 640))
    assert str(found) == "864x648+208+36@1280x720"
    assert str(region_on((720, 1280), (100, 800))) == "1024x128+128+296@1280x720"
    with pytest.raises(UserError, match="--size 64x64"):
        region_on((64, 64), (480, 2000))


@pytest.mark.parametrize("text", ["1280", "1281x720", "1280x32", "9999x9998", "x", "1280x720x3", "-1x64"])
def test_a_size_that_is_none_is_refused(text: str, capsys: pytest.CaptureFixture) -> None:
    assert frame_size("1920x1080") == (1080, 1920)
    with pytest.raises(SystemExit):
        busi_kd(["device", "bench", f"--size={text}"])
    assert "is no size" in capsys.readouterr().err
