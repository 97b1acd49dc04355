"""A card that is really full, and a file-size limit: nothing half is kept, judging could go on, saved stays saved."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CODE = """
import json, resource, sys
from pathlib import Path
from store_things import picture, recorder, snapshot
from device.store import NotSaved, database
from device.store.check import check
from device.store.store import Store

folder, how = Path(sys.argv[1]) / "studies", sys.argv[2]
saved, refused, said = [], [], []
kept = recorder(folder, say=said.append, reserve_bytes=0)
kept.begin_study()
if how == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, resource.RLIM_INFINITY))
for number in range(60):
    try:
        saved.append(kept.save_frame(picture(number, 150 + 10 * (number % 7), 200), snapshot(), True).id)
        kept.shown(snapshot("benign" if number % 2 else "normal"))
    except NotSaved as error:
        refused.append(str(error))
if how == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
else:
    Path(sys.argv[1], "ballast").unlink()
after = kept.save_frame(picture(99), snapshot(), True).id
kept.close()
again = recorder(folder, say=said.append, reserve_bytes=0)
again.close()
store = Store(folder)
files = sorted(p.relative_to(store.pictures).as_posix() for p in store.pictures.rglob("*") if p.is_file())
items = database.items(store.connection)
print(json.dumps({"saved": saved, "refused": refused, "after": after, "swept": again.swept,
    "ids": [item.id for item in items], "stray": sorted(set(files) ^ {item.file for item in items}),
    "wrong": check(store).wrong, "damaged": len(again.damaged)}))
"""


def _check(done: subprocess.CompletedProcess) -> dict:
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["ids"] == [*found["saved"], found["after"]]
    assert (found["wrong"], found["stray"], found["damaged"]) == ([], [], 0)
    assert found["saved"]
    assert found["refused"]
    return found


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (HERE.parents[1], HERE)))}


def test_a_full_file_system(tmp_path: Path) -> None:
    # A small file system in a mount namespace of its own, which a plain user may make where the kernel lets him.
    (tmp_path / "card").mkdir()
    mount = f"mount -t tmpfs -o size=2m tmpfs {tmp_path}/card && head -c 300000 /dev/zero > {tmp_path}/card/ballast"
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    tried = subprocess.run([*unshare, "sh", "-c", mount], capture_output=True, text=True)
    if tried.returncode != 0:
        pytest.skip(f"no file system can be mounted here ({tried.stderr.strip()}); the file-size limit is still tested")
    run = [sys.executable, "-c", CODE, str(tmp_path / "card"), "card"]
    command = [*unshare, "sh", "-c", f'{mount} && exec "$@"', "sh", *run]
    found = _check(subprocess.run(command, env=_environment(), capture_output=True, text=True))
    assert all("free room on the card" in why for why in found["refused"])


def test_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    run = [sys.executable, "-c", CODE, str(tmp_path), "limit"]
    found = _check(subprocess.run(run, env=_environment(), capture_output=True, text=True))
    assert len(found["refused"]) > 5
