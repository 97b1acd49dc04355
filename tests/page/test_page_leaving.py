"""Exports are made beside the studies: a small /tmp does not matter, a full card is named, nothing stays behind."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from page_served import ROOT, configuration, play, serving

from device.page import leaving
from device.store import LEAVING
from device.store.check import check
from device.store.store import Store
from tests.device.store_things import one_sentence, picture, recorder, snapshot

EXPORTING = """
import sys
from pathlib import Path
from device.page import leaving

with leaving.room(Path(sys.argv[1])) as folder:
    (folder / "study.zip").write_bytes(bytes(1000))
    print(folder, flush=True)
    sys.stdin.read()
"""
WITHOUT_ROOM = """
import json, sys
from pathlib import Path
from page_served import play, serving
from test_page_leaving import saved
from test_page_studies import plug

config, folder, root = map(Path, sys.argv[1:])
study = saved(folder / "studies", 6)
plug(root, "sda1", "/media/STICK")

async def scenario():
    async with serving(config, root=root) as served:
        browser, path = await served.signed_in(), f"/api/studies/{study}"
        answers = []
        for ending in ("zip", "dicom.zip"):
            status, body, headers = await browser.raw(f"{path}.{ending}")
            answers.append((status, json.loads(body) if status != 200 else {"bytes": len(body)}))
        answers.append(await browser.ask("POST", f"{path}/usb", {"kind": "zip"}))
        said = (await browser.ask("GET", path))[1]["study"]
        await browser.until(lambda: not any((folder / "studies/.leaving").iterdir()))
        return answers, said["exported"]

print(json.dumps(play(scenario)))
"""


def saved(studies: Path, count: int) -> str:
    """A study of so many pictures of 120 kB each, which is over."""
    with recorder(studies, reserve_bytes=0) as one:
        for number in range(count):
            one.save_frame(picture(number, 300, 400), snapshot(), True)
        return one.study.id


@pytest.fixture
def exporting(tmp_path: Path):
    """An export that runs, in a process of its own, and its folder."""
    (tmp_path / "studies").mkdir()
    command = [sys.executable, "-c", EXPORTING, str(tmp_path / "studies")]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def test_every_export_is_made_beside_the_studies(alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from test_page_studies import plug

    study = saved(tmp_path / "studies", 2)
    plug(tmp_path / "root", "sda1", "/media/STICK")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "no such folder"))  # where /tmp would be

    async def scenario() -> None:
        async with serving(alone, root=tmp_path / "root") as served:
            browser, path = await served.signed_in(), f"/api/studies/{study}"
            for ending in ("zip", "dicom.zip"):
                status, body, _ = await browser.raw(f"{path}.{ending}")
                assert (status, body[:2]) == (200, b"PK"), body
            for kind in ("zip", "dicom"):
                assert (await browser.ask("POST", f"{path}/usb", {"kind": kind}))[0] == 200
            await browser.until(lambda: not any((tmp_path / "studies" / LEAVING).iterdir()))

    play(scenario)


def test_what_a_killed_export_has_left_goes_at_the_start_and_what_runs_stays(
    alone: Path, tmp_path: Path, exporting: tuple[subprocess.Popen, Path]
) -> None:
    process, folder = exporting
    studies = tmp_path / "studies"
    assert folder.is_relative_to(studies / LEAVING)

    async def started() -> bool:
        async with serving(alone):
            return (folder / "study.zip").exists()

    assert play(started) is True
    with leaving.room(studies):
        assert (folder / "study.zip").exists()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (folder / "study.zip").exists()
    assert play(started) is False
    assert list((studies / LEAVING).iterdir()) == []


def test_the_recorder_takes_it_for_no_study(tmp_path: Path, exporting: tuple[subprocess.Popen, Path]) -> None:
    _, folder = exporting
    studies = tmp_path / "studies"
    saved(studies, 1)
    with recorder(studies) as again:
        assert (again.swept, again.damaged) == (0, ())
    store = Store(studies)
    try:
        assert check(store).wrong == []
        assert len(store.sized()) == 1
    finally:
        store.close()
    assert (folder / "study.zip").exists()


def in_small_places(tmp_path: Path, bundle: Path, card: str, temporary: str) -> tuple[list, str | None]:
    """(answers of ZIP, DICOM and stick, exported), once no file of them is left: studies on a file system of `card`
    bytes and a /tmp of `temporary`: both real, in a mount namespace of their own."""
    for name in ("card", "tmp"):
        (tmp_path / name).mkdir()
    mount = f"mount -t tmpfs -o size={card} t {tmp_path}/card && mount -t tmpfs -o size={temporary} t {tmp_path}/tmp"
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    tried = subprocess.run([*unshare, "sh", "-c", mount], capture_output=True, text=True)
    assert tried.returncode == 0, f"no file system can be mounted here: {tried.stderr}"
    config = configuration(tmp_path, bundle / "int8-full")
    config.write_text(config.read_text().replace(f"{tmp_path}/studies", f"{tmp_path}/card/studies"))
    run = [sys.executable, "-c", WITHOUT_ROOM, *map(str, (config, tmp_path / "card", tmp_path / "root"))]
    found = os.pathsep.join(map(str, (ROOT, ROOT / "tests/page")))
    environment = os.environ | {"PYTHONPATH": found, "TMPDIR": str(tmp_path / "tmp")}
    command = [*unshare, "sh", "-c", f'{mount} && exec "$@"', "sh", *run]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_full_card_is_named_and_nothing_counts_as_exported(tmp_path: Path, bundle_dir: Path) -> None:
    answers, exported = in_small_places(tmp_path, bundle_dir, card="1200k", temporary="20m")
    assert [(status, said["code"]) for status, said in answers] == [(507, "card_full")] * 3
    for _, said in answers:
        assert one_sentence(said["error"])
        assert f"{tmp_path}/card/studies" in said["error"]
    assert exported is None


def test_a_small_place_for_temporary_files_keeps_no_study_from_leaving(tmp_path: Path, bundle_dir: Path) -> None:
    answers, exported = in_small_places(tmp_path, bundle_dir, card="20m", temporary="100k")
    assert [status for status, _ in answers] == [200] * 3
    assert exported is not None
