"""The benchmark as its users run it: the real script and command, on real bundles, in real processes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import device.bench
import device.child
from device import RESEARCH_NOTICE
from device.bench_report import ROW_FIELDS
from device.bundle import VARIANTS, load_bundle
from device.main import main as busi_kd

SCRIPT = Path(device.bench.__file__)
STATISTICS = ("min", "p50", "p90", "p95", "p99", "max")
SHORT = ("--runs", "3", "--warmup", "1")


@pytest.fixture
def empty_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with the shell's tools and no vcgencmd, should the tests run on a Raspberry Pi."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("sh", "cat"):
        (folder / tool).symlink_to(shutil.which(tool))
    monkeypatch.setenv("PATH", str(folder))
    return folder


def fake_vcgencmd(folder: Path, *answers: str) -> None:
    """Answers get_throttled with `answers` in turn, the last one for ever after."""
    for index, answer in enumerate(answers):
        (folder / f"answer-{index}").write_text(f"throttled={answer}\n")
    (folder / "turn").write_text("0")
    script = f"""#!/bin/sh
if [ "$1" != get_throttled ]; then echo "frequency(48)=600000000"; exit; fi
turn=$(cat {folder}/turn)
cat {folder}/answer-$turn
if [ -f {folder}/answer-$((turn + 1)) ]; then echo $((turn + 1)) > {folder}/turn; fi
"""
    (folder / "vcgencmd").write_text(script)
    (folder / "vcgencmd").chmod(0o755)


def bench(folder: Path, *more: str | Path) -> tuple[int, dict[str, Any]]:
    """Run the CLI's command in this process; returns the exit status and the report."""
    report = folder / "report.json"
    status = busi_kd(["device", "bench", *map(str, more), "--json", str(report)])
    return status, json.loads(report.read_text())


@pytest.fixture(scope="module")
def script_run(bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """Standard output and report of `python device/bench.py` from a folder full of traps."""
    here = tmp_path_factory.mktemp("elsewhere")
    for decoy in ("numpy.py", "device.py", "files.py"):
        (here / decoy).write_text("raise SystemExit('a decoy was imported')\n")
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    arguments = [str(bundle_dir), "--threads", "1,2", "--rounds", "2", "--json", "out/report.json", *SHORT]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], cwd=here, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads((here / "out/report.json").read_text())


def test_a_script_runs_the_copy_it_belongs_to(bundle_dir: Path, tmp_path: Path) -> None:
    copied = tmp_path / "checkout" / "device"
    shutil.copytree(SCRIPT.parent, copied, ignore=shutil.ignore_patterns("__pycache__"))
    marks = {
        "__init__.py": ("__version__ = ", "__version__ = 'mine' #"),
        "bench_row.py": ('"runs": done', '"runs": 77'),
    }
    for name, (old, new) in marks.items():
        text = (copied / name).read_text()
        assert old in text
        (copied / name).write_text(text.replace(old, new))
    command = [sys.executable, copied / "bench.py", bundle_dir / "float32", *SHORT, "--rounds", "1", "--json", "x.json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "x.json").read_text())
    assert report["software"]["busi-kd"] == "mine"
    assert report["rows"][0]["rounds"][0]["runs"] == 77


def test_the_report_has_every_documented_field(script_run: tuple[str, dict[str, Any]]) -> None:
    report = script_run[1]
    top = {"schema_version", "notice", "created", "machine", "software", "settings", "warnings", "rows"}
    assert set(report) == top
    assert report["notice"] == RESEARCH_NOTICE
    fields = {"folder", "threads", "model_sha256", "error", *ROW_FIELDS}
    parts = {"temperature_c": {"before", "after", "max"}, "clock_mhz": {"before", "after", "min"}}
    for row in report["rows"]:
        assert set(row) == fields
        for key in ("prepare_ms", "interpreter_ms", "path_ms"):
            assert set(row[key]) == {*STATISTICS, "mean"}
        for key, wanted in parts.items():
            assert set(row[key]) == wanted
        assert set(row["throttled"]) == {"before", "during", "after"}
    for name in top | fields | set(report["machine"]) | set(report["software"]) | set(report["settings"]):
        assert name in device.bench.__doc__, f"{name} is not documented"


def test_a_row_per_bundle_and_thread_count(script_run: tuple[str, dict[str, Any]], bundle_dir: Path) -> None:
    rows = script_run[1]["rows"]
    assert {(row["variant"], row["threads"]) for row in rows} == {(v, n) for v in VARIANTS for n in (1, 2)}
    for row in rows:
        bundle = load_bundle(bundle_dir / row["variant"])
        assert row["error"] is None
        assert (row["bundle_id"], row["name"]) == (bundle.id, bundle.meta.name)
        assert row["file_kb"] == bundle.model_path.stat().st_size / 1000
        assert row["model_sha256"] == bundle.meta.files["model.tflite"].sha256
        assert row["interpreter"].split()[0] in ("ai-edge-litert", "tflite-runtime", "tensorflow")
        assert [one["runs"] for one in row["rounds"]] == [3, 3]


def test_the_figures_hold_together(script_run: tuple[str, dict[str, Any]]) -> None:
    for row in script_run[1]["rows"]:
        for key in ("prepare_ms", "interpreter_ms", "path_ms"):
            values = [row[key][name] for name in STATISTICS]
            assert values == sorted(values)
            assert values[0] > 0
        for one in row["rounds"]:
            assert one["path_ms"]["mean"] > one["interpreter_ms"]["mean"] + one["prepare_ms"]["mean"]
            assert one["fps"] == pytest.approx(1000 / one["path_ms"]["mean"])
            assert one["load_ms"] > 0
            assert one["first_ms"] > 0
        assert row["process_cpu_percent"] > 0
        assert row["peak_memory_mb"] == max(one["peak_memory_mb"] for one in row["rounds"])
        assert row["p50_spread_percent"] >= 0


def test_the_table_says_what_was_measured(script_run: tuple[str, dict[str, Any]]) -> None:
    out, report = script_run
    lines = out.splitlines()
    assert lines[0] == RESEARCH_NOTICE
    assert "8 synthetic phantoms 480 x 640" in lines[2]
    assert "2 x 3 runs after 1 warm-up" in lines[2]
    for row in report["rows"]:
        wanted = [row["name"], row["variant"], row["bundle_id"], str(row["threads"])]
        line = next(line.split() for line in lines if line.split()[:4] == wanted)
        assert f"{row['interpreter_ms']['p50']:.2f}" in line
        assert f"{row['path_ms']['p95']:.2f}" in line


def test_a_row_measures_its_own_memory(bundle_dir: Path, tmp_path: Path) -> None:
    ballast = np.ones(400 << 20, np.uint8)  # ours: it must not appear in the row
    frames, _ = device.bench.load_frames(None)
    request = {"folder": str(bundle_dir / "float32"), "threads": 1, "seconds": 1.0, "runs": 1, "warmup": 0}
    np.save(tmp_path / "000.npy", frames[0])
    answer = device.bench.run_row({**request, "frames": str(tmp_path)})
    assert answer["peak_memory_mb"] < ballast.nbytes / 2**20


def test_a_broken_bundle_stays_in_the_table(
    bundle_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(bundle_dir / "float32", tmp_path / "all" / "a-good")
    shutil.copytree(bundle_dir / "int8-full", tmp_path / "all" / "b-broken")
    with open(tmp_path / "all" / "b-broken" / "model.tflite", "ab") as stream:
        stream.write(b"x")
    status, report = bench(tmp_path, tmp_path / "all", *SHORT, "--rounds", "2")
    assert status == 1
    good, broken = report["rows"]
    assert good["error"] is None
    assert "wrong hash" in broken["error"]
    assert all(broken[key] is None for key in ROW_FIELDS)
    out, err = capsys.readouterr()
    assert "b-broken, 1 thread(s) FAILED: " in out
    assert err.count("b-broken") == 1  # it is not tried again in the second round


def test_plain_files_are_measured_beside_bundles(
    bundle_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own"
    shutil.copytree(bundle_dir / "float32", own / "whole")
    (own / "a-broken.tflite").write_bytes(b"nothing")
    shutil.copyfile(bundle_dir / "int8-full" / "model.tflite", own / "small-int8-full.tflite")
    assert busi_kd(["device", "bench", str(own), *SHORT, "--rounds", "1", "--result", str(tmp_path / "x.json")]) == 1
    whole, broken, plain = json.loads((tmp_path / "x.json").read_text())["rows"]
    digests = [load_bundle(bundle_dir / name).meta.files["model.tflite"].sha256 for name in ("float32", "int8-full")]
    assert [row["folder"] for row in (whole, broken, plain)] == ["whole", "a-broken.tflite", "small-int8-full.tflite"]
    assert [whole["model_sha256"], plain["model_sha256"]] == digests
    assert len(broken["model_sha256"]) == 64, "also of a file that does not open, so that its failure is found again"
    assert broken["error"] is not None
    known = {"name": "small-int8-full.tflite", "file_kb": (own / "small-int8-full.tflite").stat().st_size / 1000}
    unknown = dict.fromkeys(("error", "bundle_id", "variant", "synthetic", "cautions", "metrics"))
    assert {key: plain[key] for key in (*known, *unknown)} == known | unknown
    assert plain["path_ms"]["p50"] > plain["interpreter_ms"]["p50"] > 0, "frames are prepared for it too"
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("small-int8-full.tflite ") for line in lines)
    assert any(line.startswith("a-broken.tflite, 1 thread(s) FAILED: ") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["empty"], "empty: no bundle.json"),
        (["float32", "--pictures", "nowhere"], "nowhere: no such folder"),
        (["float32", "--pictures", "empty"], "empty: no picture there"),
        (["float32", "--pictures", "bad"], "bad/x.png: this picture does not decode"),
        (["float32", "--threads", "1,0"], "'0' must be 1 or more"),
        (["float32", "--threads", "two"], "'two' is not a whole number"),
        (["float32", "--seconds", "-1"], "'-1' must be above 0"),
        (["float32", "--seconds", "nan"], "'nan' must be above 0"),
        (["float32", "--json", "empty", *SHORT, "--rounds", "1"], "empty: the report cannot be written"),
        (["bad/x.png"], "bad/x.png: is no .tflite file"),
        (["float32/model.tflite", "--pipeline"], "float32/model.tflite: only a bundle says how its frames are judged"),
    ],
)
def test_what_the_user_can_mend_exits_2(bundle_dir: Path, tmp_path: Path, arguments: list[str], words: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.png").write_bytes(b"no picture")
    (tmp_path / "float32").symlink_to(bundle_dir / "float32")
    command = [sys.executable, str(SCRIPT), *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_frames_from_pictures(bundle_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures" / "deeper").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(11):
        size = (100 + index, 90, 3) if index % 2 else (120, 70)
        name = f"deeper/{index:02}.PNG" if index % 3 else f"{index:02}.jpg"
        coded = cv2.imencode(".png", rng.integers(0, 255, size, np.uint8))[1]
        (tmp_path / "pictures" / name).write_bytes(coded.tobytes())
    for name in ("notes.txt", "00_mask.png", "deeper/01_mask2.png", "._00.png"):  # not pictures
        (tmp_path / "pictures" / name).write_text("nothing that decodes")
    frames, _ = device.bench.load_frames(tmp_path / "pictures")
    assert len(frames) == device.bench.MAX_FRAMES
    assert {frame.ndim for frame in frames} == {2, 3}
    pictures = tmp_path / "pictures"
    status, report = bench(tmp_path, bundle_dir / "int8-full", *SHORT, "--rounds", "1", "--pictures", pictures)
    assert status == 0
    assert report["settings"]["inputs"] == f"8 of 11 pictures in {pictures}"
    assert report["rows"][0]["p50_spread_percent"] is None  # one round tells nothing of drift


@pytest.mark.parametrize(
    ("answers", "valid", "reason"),
    [
        (["0x0"], True, None),
        (["0x4"], False, "held back: throttled"),
        # The first answer is the table's warning, then before and after a row.
        (["0x0", "0x0", "0x40000"], False, "held back: throttled"),
        (["0x0", "0x1", "0x0"], False, "held back: under-voltage"),
        (["0x10000"], True, None),
        (["nonsense"], None, "no throttle sensor"),
    ],
)
def test_a_row_counts_only_at_full_speed(
    bundle_dir: Path,
    tmp_path: Path,
    empty_path: Path,
    capsys: pytest.CaptureFixture[str],
    answers: list[str],
    valid: bool | None,
    reason: str | None,
) -> None:
    fake_vcgencmd(empty_path, *answers)
    status, report = bench(tmp_path, bundle_dir / "float32", *SHORT, "--rounds", "1")
    assert status == 0  # the figures are there, and say of themselves what they are worth
    row = report["rows"][0]
    assert row["valid"] is valid
    assert reason is None if row["reason"] is None else reason in row["reason"]
    out = capsys.readouterr().out
    assert (
        next(line for line in out.splitlines() if row["bundle_id"] in line).split()[-1]
        == {
            True: "yes",
            False: "NO",
            None: "?",
        }[valid]
    )
    assert ("not valid: the processor was held back" in out) is (valid is False)
    assert ("Since boot: under-voltage" in out) is (answers == ["0x10000"])
    assert ("No throttle sensor" in out) is (valid is None)
    if answers == ["0x4"]:
        assert row["clock_mhz"]["min"] == 600.0
        assert row["throttled"] == {"before": ["throttled"], "during": None, "after": ["throttled"]}


def test_throttling_in_the_midst_of_a_row_is_seen(bundle_dir: Path, tmp_path: Path, empty_path: Path) -> None:
    fake_vcgencmd(empty_path, "0x0", "0x0", "0x8", "0x0")
    status, report = bench(tmp_path, bundle_dir / "float32", "--seconds", "2.5", "--rounds", "1")
    assert status == 0
    row = report["rows"][0]
    assert row["throttled"] == {"before": [], "during": ["soft-temperature-limit"], "after": []}
    assert row["valid"] is False


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("kill -9 $$", "died (signal 9): it said nothing"),
        ("echo first >&2; echo 'out of memory' >&2; exit 7", "died (status 7): out of memory"),
    ],
)
def test_a_measuring_process_that_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: str
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    monkeypatch.setattr(device.child.sys, "executable", str(python))
    request = {"folder": "x", "threads": 1, "frames": "y", "seconds": 1.0, "runs": 1, "warmup": 0}
    assert words in device.bench.run_row(request)["error"]


def test_a_measuring_process_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 600\n")
    python.chmod(0o755)
    monkeypatch.setattr(device.child.sys, "executable", str(python))
    monkeypatch.setattr(device.bench, "MEASURING_TIMEOUT_S", 0.2)
    request = {"folder": "x", "threads": 1, "frames": "y", "seconds": 0.01, "runs": None, "warmup": 0}
    assert "did not end" in device.bench.run_row(request)["error"]


def test_each_bundle_is_found_once(bundle_dir: Path) -> None:
    found = device.bench.find_bundles([bundle_dir / "int8-full", bundle_dir])
    assert found[0] == bundle_dir / "int8-full"
    assert sorted(path.name for path in found) == sorted(VARIANTS)
