"""A model whose figures or pictures need a caution says so wherever it is shown: show, daemon, benchmark."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from device.bundle import load_bundle
from device.main import main

LEAKY = {"protocol": "paper", "leaks": True}


@pytest.fixture
def cautioned(bundle_dir: Path, tmp_path: Path) -> Path:
    """A bundle of a student trained on lesion crops under a leaky protocol."""
    folder = tmp_path / "bundle"
    shutil.copytree(bundle_dir / "int8-full", folder)
    meta = json.loads((folder / "bundle.json").read_text())
    meta["training"] |= {"split": LEAKY, "view": "lesion-crop"}
    (folder / "bundle.json").write_text(json.dumps(meta))
    return folder


def test_the_sentences(bundle_dir: Path, cautioned: Path) -> None:
    assert load_bundle(bundle_dir / "int8-full").meta.cautions == ()
    leak, crop = load_bundle(cautioned).meta.cautions
    assert leak.startswith("LEAKY SPLIT: ")
    assert "'paper'" in leak
    assert crop.startswith("LESION CROPS: ")


def test_copies_that_nobody_looked_for(cautioned: Path) -> None:
    meta = json.loads((cautioned / "bundle.json").read_text())
    meta["training"] |= {"split": {"leaks": False, "groups": "one per picture"}, "view": "whole"}
    for synthetic, said in ((True, ()), (False, ("COPIES UNKNOWN",))):
        meta["synthetic"] = synthetic
        (cautioned / "bundle.json").write_text(json.dumps(meta))
        found = load_bundle(cautioned).meta.cautions
        assert tuple(caution.split(":")[0] for caution in found) == said


def test_show_and_the_daemon_say_them(cautioned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = load_bundle(cautioned).meta.cautions
    assert main(["device", "show", str(cautioned), "--allow-unsigned"]) == 0
    assert json.loads(capsys.readouterr().out)["cautions"] == list(said)
    command = ["device", "run", "--bundle", str(cautioned), "--allow-unsigned", "--duration", "0.3"]
    done = subprocess.run(
        [sys.executable, "-m", "device.main", *command, "--summary", str(tmp_path / "s.json")],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for caution in said:
        assert any(line.endswith(caution) for line in lines)
    assert json.loads((tmp_path / "s.json").read_text())["cautions"] == list(said)


def test_the_benchmark_says_them_beside_the_figures(
    cautioned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "bench.json"
    assert main(["device", "bench", str(cautioned), "--runs", "3", "--rounds", "1", "--json", str(report)]) == 0
    said = load_bundle(cautioned).meta.cautions
    out = capsys.readouterr().out
    assert all(f"tiny: {caution}" in out.splitlines() for caution in said)
    assert json.loads(report.read_text())["rows"][0]["cautions"] == list(said)
