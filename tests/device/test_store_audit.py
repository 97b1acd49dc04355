"""The audit log: whole lines in one chain, and whatever is changed in it is noticed."""

import hashlib
import json
import multiprocessing
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_things import Clock

from device.store.audit import FIRST, AuditLog, entries, log_files
from device.store.audit_check import verify


def _whats(folder: Path) -> list[str]:
    return [entry["what"] for _, entry in entries(folder)]


def _fill(folder: Path, count: int = 8, **bounds: int) -> AuditLog:
    log = AuditLog(folder, Clock(), **bounds)
    for number in range(count):
        log.append("shown", verdict="benign", sequence=number, reason=None, name="größe")
    return log


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of three files; tests must not change it."""
    folder = tmp_path_factory.mktemp("audit") / "log"
    _fill(folder, 12, file_bytes=1500)
    assert len(log_files(folder)) == 3
    return folder


def test_the_hashes_are_those_of_the_standard(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, Clock())
    log.append("started", model="m")
    log.append("stopped")
    first = (
        '{"at":"2026-11-22T09:00:01.000000Z","before":"' + "0" * 64 + '","clock":true,"model":"m","monotonic":1001.0,'
        '"n":1,'
    )
    own = hashlib.sha256((first + '"what":"started"}').encode()).hexdigest()
    line = first + f'"own":"{own}","what":"started"}}'
    second = (
        '{"at":"2026-11-22T09:00:02.000000Z","before":"' + hashlib.sha256(line.encode()).hexdigest() + '",'
        '"clock":true,"monotonic":1002.0,"n":2,'
    )
    own = hashlib.sha256((second + '"what":"stopped"}').encode()).hexdigest()
    last = second + f'"own":"{own}","what":"stopped"}}'
    assert (tmp_path / "audit-00000001.jsonl").read_text() == f"{line}\n{last}\n"
    assert log.head == (2, hashlib.sha256(last.encode()).hexdigest())
    chain = verify(tmp_path)
    assert (chain.lines, chain.first, chain.last, chain.head, chain.wrong) == (2, 1, 2, log.head[1], None)


def test_an_empty_log_is_whole(tmp_path: Path) -> None:
    assert verify(tmp_path / "none").wrong is None
    assert AuditLog(tmp_path, Clock()).head == (0, FIRST)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_whatever_is_changed_is_noticed(written: Path, tmp_path_factory: pytest.TempPathFactory, data) -> None:
    folder = tmp_path_factory.mktemp("changed") / "log"
    shutil.copytree(written, folder)
    whole = verify(written)
    path = data.draw(st.sampled_from(log_files(folder)))
    raw = path.read_bytes()
    lines = raw.splitlines(keepends=True)
    how = data.draw(st.sampled_from(["byte", "remove", "swap", "repeat", "insert byte", "remove byte", "file"]))
    at, line = data.draw(st.integers(0, len(raw) - 1)), data.draw(st.integers(0, len(lines) - 1))
    if how == "byte":
        new = raw[:at] + bytes([raw[at] ^ data.draw(st.integers(1, 255))]) + raw[at + 1 :]
    elif how == "insert byte":
        new = raw[:at] + bytes([data.draw(st.integers(0, 255))]) + raw[at:]
    elif how == "remove byte":
        new = raw[:at] + raw[at + 1 :]
    elif how == "remove":
        new = b"".join(lines[:line] + lines[line + 1 :])
    elif how == "repeat":
        new = b"".join([*lines[:line], lines[line], *lines[line:]])
    elif how == "swap":
        other = data.draw(st.integers(0, len(lines) - 1).filter(lambda n: n != line))
        lines[line], lines[other] = lines[other], lines[line]
        new = b"".join(lines)
    else:
        new = b""
    path.write_bytes(new)
    found = verify(folder, {whole.last: whole.head})
    assert found.wrong is not None
    assert found.wrong.endswith(".")
    # Only what is taken away at the very end needs the noted hash to be seen.
    ended_early = path == log_files(folder)[-1] and raw.startswith(new)
    assert ended_early or verify(folder).wrong is not None or verify(folder).torn


def test_the_fault_is_named_by_file_and_line(written: Path, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    shutil.copytree(written, folder)
    path = log_files(folder)[1]
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], lines[1].replace(b"benign", b"normal"), *lines[2:]]))
    assert verify(folder).wrong == f"{path.name}, line 2: was altered, or is no entry."


def test_a_line_that_was_made_anew_with_its_own_hash_does_not_fit_the_next(written: Path, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    shutil.copytree(written, folder)
    path = log_files(folder)[0]
    lines = path.read_bytes().split(b"\n")
    entry = json.loads(lines[1])
    entry["verdict"] = "normal"
    del entry["own"]
    bare = json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()
    entry["own"] = hashlib.sha256(bare).hexdigest()
    lines[1] = json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()
    path.write_bytes(b"\n".join(lines))
    assert "line 3 (entry 3): does not follow the line before" in verify(folder).wrong


def test_a_chain_written_anew_is_noticed_by_a_noted_hash_alone(written: Path, tmp_path: Path) -> None:
    noted = {verify(written).last: verify(written).head}
    clock = Clock()
    log = AuditLog(tmp_path, clock)
    for number in range(12):
        log.append("shown", verdict="normal", sequence=number)
    assert verify(tmp_path).wrong is None
    assert "the log was rewritten" in verify(tmp_path, noted).wrong


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_line_cut_off_by_a_power_cut_is_set_aside(
    written: Path, tmp_path_factory: pytest.TempPathFactory, data
) -> None:
    folder = tmp_path_factory.mktemp("torn") / "log"
    shutil.copytree(written, folder)
    tears = data.draw(st.integers(1, 3))
    kept = len(list(entries(folder))) - 1
    for tear in range(tears):
        last = log_files(folder)[-1]
        raw = last.read_bytes()
        begin = raw.rstrip(b"\n").rfind(b"\n") + 1
        cut = data.draw(st.integers(begin + 1, len(raw) - 1))
        zeros = data.draw(st.sampled_from([b"", b"\0" * 50]))
        last.write_bytes(raw[:cut] + zeros)
        before = list(entries(folder))[:kept]
        found = verify(folder)
        assert (found.wrong, found.torn > 0) == (None, True)
        log = AuditLog(folder, Clock(), file_bytes=1200)
        log.append("started")
        assert verify(folder, dict([log.head])).wrong is None
        assert list(entries(folder))[:kept] == before
        if tear == 0:
            assert _whats(folder)[kept:] in (["continued", "started"], ["shown", "continued", "started"])
        kept = len(list(entries(folder))) - 1


def test_torn_bytes_cannot_be_changed_afterwards(tmp_path: Path) -> None:
    log = _fill(tmp_path, 3)
    (path,) = log_files(tmp_path)
    raw = path.read_bytes()
    path.write_bytes(raw[:-30])
    log.append("started")
    assert verify(tmp_path).wrong is None
    torn = path.read_bytes()
    path.write_bytes(torn.replace(b'"sequence":2', b'"sequence":3'))
    assert verify(tmp_path).wrong is not None


def test_old_files_go_and_the_chain_says_where_it_begins(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, Clock(), file_bytes=1500, files_kept=3)
    for number in range(100):
        log.append("shown", sequence=number)
        assert sum(path.stat().st_size for path in log_files(tmp_path)) <= 3 * 1500
        assert verify(tmp_path, dict([log.head])).wrong is None
    assert verify(tmp_path).first > 1
    assert "rotated" in _whats(tmp_path)
    os.unlink(log_files(tmp_path)[0])
    assert "no later entry says that those before it were removed" in verify(tmp_path).wrong


def test_what_the_disk_refuses_is_not_there_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = _fill(tmp_path, 3)
    (path,) = log_files(tmp_path)
    before, write = path.read_bytes(), os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[: len(data) // 2]))
    with pytest.raises(OSError, match="No space left"):
        log.append("shown")
    monkeypatch.undo()
    assert path.read_bytes() == before
    log.append("shown")
    assert (verify(tmp_path).lines, verify(tmp_path).wrong) == (4, None)


@pytest.mark.parametrize("values", [{"n": 3}, {"own": "x"}, {"text": "x" * 40_000}, {"p": float("nan")}])
def test_an_entry_that_cannot_stand_is_refused(tmp_path: Path, values: dict) -> None:
    log = _fill(tmp_path, 2)
    with pytest.raises(ValueError):
        log.append("shown", **values)
    assert (verify(tmp_path).lines, verify(tmp_path).wrong) == (2, None)


def _add(folder: Path, who: int) -> None:
    log = AuditLog(folder, Clock(), file_bytes=4000)
    for number in range(25):
        log.append("shown", who=who, number=number)


def test_two_processes_share_one_chain(tmp_path: Path) -> None:
    start = multiprocessing.get_context("fork")
    workers = [start.Process(target=_add, args=(tmp_path, who)) for who in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert (verify(tmp_path).lines, verify(tmp_path).wrong) == (75, None)
    for who in range(3):
        assert [e["number"] for _, e in entries(tmp_path) if e["who"] == who] == list(range(25))
