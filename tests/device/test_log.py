"""Log lines that a program can read, and a file of rows that is whole whatever happens."""

import resource
import signal
from pathlib import Path

import pytest

from device import log


def test_pairs_show_unknown_as_none_and_quote_blanks() -> None:
    values = {"a": None, "b": 1.234, "c": "no data", "d": 0, "e": True, "f": "", "g": 'say "x y"', "h": "ok"}
    assert log.pairs(values) == 'a=none b=1.23 c="no data" d=0 e=yes f="" g="say \'x y\'" h=ok'


def test_rows_end_whole_when_the_disk_is_full(tmp_path: Path) -> None:
    said: list[str] = []
    rows = log.RowFile(tmp_path / "v.csv", "notice", ["number", "text"], said.append)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        for number in range(200):
            rows.add([number, "x" * 10])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    content = (tmp_path / "v.csv").read_text()
    assert content.endswith("x\n")
    assert len(content) > 900
    assert content.splitlines()[2:] == [f"{number},{'x' * 10}" for number in range(rows.rows)]
    assert len(said) == 1
    assert "no further row" in said[0]


def test_rows_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "MAX_ROWS", 2)
    said: list[str] = []
    rows = log.RowFile(tmp_path / "v.csv", "notice", ["name"], said.append)
    for name in ("a, b", "c\udcff", "d", "e"):
        rows.add([name])
    assert (tmp_path / "v.csv").read_text() == '# notice\nname\n"a, b"\nc\\udcff\n'
    assert len(said) == 1
