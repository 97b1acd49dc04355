"""Writing so that SIGKILL, a full disk or a read-only folder leaves one whole version."""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from device import files
from device.errors import UserError

VERSION_BYTES = 300_000

# What the children share. Version n of a file is the text of n over and over; a folder holds that text in two files.
COMMON = f"""
import os, resource, signal, sys
from pathlib import Path
sys.path.insert(0, {str(Path(files.__file__).parents[1])!r})
from device import files

def content(n):
    return (b"%09d\\n" % n) * ({VERSION_BYTES} // 10)

def make_folder(folder, n):
    (folder / "sub").mkdir(parents=True)
    for name in ("a", "sub/b"):
        (folder / name).write_bytes(b"%d" % n)

def no_swap(first, second):
    return False
"""


def _python(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", COMMON + code, *map(str, arguments)]


def _version(data: bytes) -> int:
    """The version of a file's content; fails when it is not one whole version."""
    assert len(data) == VERSION_BYTES
    assert data == data[:10] * (VERSION_BYTES // 10)
    return int(data[:10])


def _folder_version(folder: Path) -> int:
    assert sorted(path.name for path in folder.rglob("*")) == ["a", "b", "sub"]
    versions = {(folder / name).read_bytes() for name in ("a", "sub/b")}
    assert len(versions) == 1
    return int(versions.pop())


def test_writes_whole_files_that_others_may_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folders" / "größe.json"
    files.write_text(path, "é\n")
    assert path.read_bytes() == "é\n".encode()
    assert path.stat().st_mode & 0o777 == 0o644
    files.write_json(path, {"unknown": None, "ü": [1, 2.5]})
    assert json.loads(path.read_text(encoding="utf-8")) == {"unknown": None, "ü": [1, 2.5]}
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("call", ["open", "fsync", "chmod", "replace"])
def test_ctrl_c_at_any_step_of_writing_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    files.write_text(tmp_path / "x", "old\n")
    interrupted_after(monkeypatch, call)
    with pytest.raises(KeyboardInterrupt):
        files.write_text(tmp_path / "x", "new\n")
    assert os.listdir(tmp_path) == ["x"]
    assert (tmp_path / "x").read_text() == ("new\n" if call == "replace" else "old\n")


def test_ctrl_c_while_a_folder_is_made_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    interrupted_after(monkeypatch, "mkdir")
    with pytest.raises(KeyboardInterrupt), files.folder_beside(tmp_path / "models" / "new"):
        raise AssertionError("interrupted before")
    assert os.listdir(tmp_path / "models") == []


def interrupted_after(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """Let Ctrl-C come within the system call that has to do with a hidden file: its effect is there, then the signal
    is seen."""
    whole = getattr(os, call)
    handler = signal.default_int_handler  # whatever this process took over: what runs in the background ignores Ctrl-C

    def cut(what: object, *rest: object, **more: object) -> object:
        done = whole(what, *rest, **more)
        if isinstance(what, int) or Path(what).name.startswith("."):
            before = signal.signal(signal.SIGINT, handler)
            try:
                signal.raise_signal(signal.SIGINT)
            finally:
                signal.signal(signal.SIGINT, before)
        return done

    monkeypatch.setattr(os, call, cut)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_json_holds_no_nan_and_no_infinity(tmp_path: Path, number: float) -> None:
    files.write_json(tmp_path / "x.json", {"a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(tmp_path / "x.json", {"a": number})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": 1}
    assert os.listdir(tmp_path) == ["x.json"]


def test_hash_is_that_of_the_standard(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert files.sha256_file(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    big = b"\0" * (1 << 20) + b"x" * 7  # more than one block
    (tmp_path / "big").write_bytes(big)
    done = subprocess.run(["sha256sum", tmp_path / "big"], capture_output=True, text=True, check=True)
    assert files.sha256_file(tmp_path / "big") == done.stdout.split()[0]


WRITE_FOR_EVER = """
path = Path(sys.argv[1])
n = 0
while True:
    n += 1
    data = content(n)
    os.write(1, b".")
    files.write_bytes(path, data)
"""


def test_a_killed_writer_leaves_one_whole_version(tmp_path: Path) -> None:
    path = tmp_path / "state.bin"
    drawn = random.Random(5)
    strays = 0
    for _ in range(8):
        for left in tmp_path.iterdir():
            left.unlink()
        wanted = drawn.randint(2, 30)
        with subprocess.Popen(_python(WRITE_FOR_EVER, path), stdout=subprocess.PIPE) as child:
            begun = 0
            while begun < wanted:
                begun += len(os.read(child.stdout.fileno(), 1))
            while not any(name != path.name for name in os.listdir(tmp_path)) and child.poll() is None:
                pass  # a write is under way once something stands beside the file
            child.kill()
            begun += len(child.stdout.read())
        assert child.returncode == -9
        assert _version(path.read_bytes()) in (begun - 1, begun)
        strays += len(os.listdir(tmp_path)) - 1
    assert strays > 0, "no kill struck in the middle of a write, so nothing was shown"


# One child forks a copy per line of device/files.py that the call runs through, and that copy dies at that line.
DIE_AT_EACH_LINE = """
def run_to_line(call, number):
    # Returns True when the call ended before it came to so many lines.
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    seen = 0
    def trace(frame, event, argument):
        nonlocal seen
        if frame.f_code.co_filename == files.__file__:
            seen += event == "line"
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace
    sys.settrace(trace)
    call()
    sys.settrace(None)
    os._exit(0)

def die_everywhere(prepare, call):
    number = 0
    while True:
        number += 1
        prepare(number)
        done = run_to_line(lambda: call(number), number)
        print(number, flush=True)
        sys.stdin.readline()  # the parent has looked
        if done:
            break
"""

WRITE_AND_DIE = (
    DIE_AT_EACH_LINE
    + """
path = Path(sys.argv[1])
die_everywhere(lambda n: path.write_bytes(content(1)), lambda n: files.write_bytes(path, content(2)))
"""
)

REPLACE_AND_DIE = (
    DIE_AT_EACH_LINE
    + """
import shutil
target, swap = Path(sys.argv[1]), sys.argv[2]
if swap == "no":
    files.swap = no_swap

def prepare(number):
    for path in target.parent.iterdir():
        shutil.rmtree(path)
    make_folder(target, 1)
    make_folder(target.parent / "new", 2)

die_everywhere(prepare, lambda n: files.replace_folder(target.parent / "new", target))
"""
)


def _each_death(command: list[str]):
    """Yield after each death of the child's copies, until the call ran to its end."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        while line := child.stdout.readline():
            yield int(line)
            child.stdin.write("\n")
            child.stdin.flush()
    assert child.returncode == 0


def test_death_at_any_line_of_a_write_leaves_one_whole_version(tmp_path: Path) -> None:
    path = tmp_path / "state.bin"
    found = [_version(path.read_bytes()) for _ in _each_death(_python(WRITE_AND_DIE, path))]
    assert len(found) > 10
    assert found == sorted(found)  # old before some line, new after it
    assert set(found) == {1, 2}


@pytest.mark.parametrize("swap", ["yes", "no"])
def test_death_at_any_line_of_a_replacement_leaves_a_whole_folder(tmp_path: Path, swap: str) -> None:
    target, aside = tmp_path / "bundle", tmp_path / ".bundle.old"
    found, gaps = [], 0
    for _ in _each_death(_python(REPLACE_AND_DIE, target, swap)):
        gaps += not target.exists()
        found.append(_folder_version(target if target.exists() else aside))
    assert len(found) > 10
    assert found == sorted(found)
    assert set(found) == {1, 2}
    assert os.listdir(tmp_path) == ["bundle"], "the call that ran to its end left something beside"
    # This file system swaps, so the name never stood empty; without swapping it must, or the test sees nothing.
    assert (gaps == 0) == (swap == "yes")


def test_the_name_is_never_empty_for_a_reader_meanwhile(tmp_path: Path) -> None:
    code = """
import shutil
target = Path(sys.argv[1])
for n in range(2, 40):
    make_folder(target.parent / "new", n)
    files.replace_folder(target.parent / "new", target)
"""
    target = tmp_path / "bundle"
    for name in ("a", "sub/b"):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(b"1")
    seen = set()
    with subprocess.Popen(_python(code, target)) as child:
        while child.poll() is None:
            handle = os.open(target, os.O_RDONLY)  # raises when the name stands empty
            seen.add(os.stat(handle).st_ino)
            os.close(handle)
    assert child.returncode == 0
    assert len(seen) > 1
    assert _folder_version(target) == 39


FAIL_TO_WRITE = """
path, how = Path(sys.argv[1]), sys.argv[2]
if how == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # Python ignores SIGXFSZ: write fails with EFBIG
else:
    path.parent.chmod(0o555)
    if os.geteuid() == 0:  # root may write everywhere
        os.setegid(65534)
        os.seteuid(65534)
try:
    files.write_bytes(path, content(2))
except OSError as error:
    print(type(error).__name__, error.errno)
"""


@pytest.mark.parametrize(("how", "said"), [("full", "OSError 27"), ("read-only", "PermissionError 13")])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(how: str, said: str) -> None:
    with tempfile.TemporaryDirectory() as name:  # not tmp_path, which only its owner may enter
        folder = Path(name)
        folder.chmod(0o755)
        path = folder / "state.bin"
        files.write_bytes(path, b"old")
        done = subprocess.run(_python(FAIL_TO_WRITE, path, how), capture_output=True, text=True)
        assert (done.stdout.strip(), done.stderr) == (said, "")
        assert path.read_bytes() == b"old"
        assert os.listdir(folder) == ["state.bin"]


def _make(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "file").write_text(text)
    return folder


@pytest.mark.parametrize("swap", [True, False])
def test_replacing_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swap: bool) -> None:
    if not swap:
        monkeypatch.setattr(files, "swap", lambda first, second: False)
    target = tmp_path / "made" / "target"
    for text in ("first", "second", "third"):
        files.replace_folder(_make(tmp_path / "new", text), target)
        assert (target / "file").read_text() == text
        assert os.listdir(target.parent) == ["target"]
        assert os.listdir(tmp_path) == ["made"]


@pytest.mark.parametrize("swap", [True, False])
def test_a_replacement_that_fails_leaves_the_old_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swap: bool
) -> None:
    if not swap:
        monkeypatch.setattr(files, "swap", lambda first, second: False)
    target = _make(tmp_path / "target", "old")
    with pytest.raises(OSError, match="missing"):
        files.replace_folder(tmp_path / "missing", target)
    assert os.listdir(tmp_path) == ["target"]
    assert (target / "file").read_text() == "old"

    new = _make(tmp_path / "new", "new")
    real = os.replace

    def fail_on_new(source: Path, destination: Path) -> None:
        if source == new:
            raise OSError("cannot move")
        real(source, destination)

    monkeypatch.setattr(files, "swap", lambda first, second: False)
    monkeypatch.setattr(os, "replace", fail_on_new)
    with pytest.raises(OSError, match="cannot move"):
        files.replace_folder(new, target)
    assert (target / "file").read_text() == "old"


def test_what_a_power_cut_left_aside_goes_only_after_the_new_folder_is_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aside = _make(tmp_path / ".target.old", "all that is left")
    seen = []
    real = os.replace
    monkeypatch.setattr(os, "replace", lambda *names: (seen.append(aside.exists()), real(*names)))
    files.replace_folder(_make(tmp_path / "new", "new"), tmp_path / "target")
    assert seen == [True]
    assert os.listdir(tmp_path) == ["target"]


def test_a_file_or_a_link_in_the_folders_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="file: a file stands where a folder is to be written"):
        files.replace_folder(_make(tmp_path / "new", "new"), tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"

    elsewhere = _make(tmp_path / "elsewhere", "kept")
    (tmp_path / "link").symlink_to(elsewhere)
    files.replace_folder(tmp_path / "new", tmp_path / "link")
    assert (tmp_path / "link" / "file").read_text() == "new"
    assert not (tmp_path / "link").is_symlink()
    assert (elsewhere / "file").read_text() == "kept"
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "file", "link"]
