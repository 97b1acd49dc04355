"""Log lines that a program can read, and a file of rows that is whole whatever happens."""

import csv
import re
import resource
import signal
from pathlib import Path

import pytest

from device import log
from device.errors import UserError


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
    whole = '# notice\nname\n"a, b"\nc\\udcff\n'
    monkeypatch.setattr(log, "MAX_BYTES", len(whole))
    said: list[str] = []
    rows = log.RowFile(tmp_path / "v.csv", "notice", ["name"], said.append)
    for name in ("a, b", "c\udcff", "d", "e"):
        rows.add([name])
    assert (tmp_path / "v.csv").read_text() == whole
    assert len(said) == 1
    again = log.RowFile(tmp_path / "v.csv", "notice", ["name"], said.append)
    again.add(["what was there before counts too"])
    assert (tmp_path / "v.csv").read_text() == whole + "# notice\n"
    assert len(said) == 2


def test_nothing_is_made_before_the_first_row(tmp_path: Path) -> None:
    log.RowFile(tmp_path / "v.csv", "notice", ["name"]).close()
    assert not (tmp_path / "v.csv").exists()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "# new\na,b\n"),
        ("# old\n", "# old\n# new\na,b\n"),
        ("# ol", "# ol\n# new\na,b\n"),
        ("# old\na", "# old\na,b\n# new\n"),
        ("# old\na,b", "# old\na,b\n# new\n"),
        ("# old\na,b\n", "# old\na,b\n# new\n"),
        ("a,b\n1,2\n", "a,b\n1,2\n# new\n"),
        ("# old\na,b\n1,2\n3", "# old\na,b\n1,2\n3\n# new\n"),
        ('# old\na,b\n1,"x, y"', '# old\na,b\n1,"x, y"\n# new\n'),
        ('# old\na,b\n1,"x, ', '# old\na,b\n1,"x, "\n# new\n'),
        ('# old\na,b\n1,"x""', '# old\na,b\n1,"x"""\n# new\n'),
    ],
)
def test_rows_are_added_to_an_earlier_record_however_it_ended(tmp_path: Path, before: str, after: str) -> None:
    path = tmp_path / "v.csv"
    path.write_text(before)
    rows = log.RowFile(path, "new", ["a", "b"])
    assert path.read_text() == before
    rows.add([5, "five, six"])
    rows.add([None, "two\nlines\r"])
    rows.close()
    assert path.read_text() == after + '5,"five, six"\n,two\\nlines\\r\n'
    read = list(csv.DictReader(line for line in path.read_text().splitlines() if not line.startswith("#")))
    assert read[-2] == {"a": "5", "b": "five, six"}


@pytest.mark.parametrize("content", [b"a,b,c\n1,2,3\n", b"a\n", b"b", b"# x\n\na,b\n", b"\x00\xff" * 100_000])
def test_what_is_no_such_record_is_never_touched(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "v.csv"
    rows = log.RowFile(path, "notice", ["a", "b"])
    path.write_bytes(content)
    wanted = re.escape(f"{path}: exists and is no record with the columns a,b; give another file.")
    with pytest.raises(UserError, match=wanted):
        log.RowFile(path, "notice", ["a", "b"])
    with pytest.raises(UserError, match=wanted):  # it came in between
        rows.add([1, 2])
    assert path.read_bytes() == content


def test_a_folder_and_a_full_disk_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        log.RowFile(tmp_path, "notice", ["a"])
    with pytest.raises(UserError, match="/dev/full: cannot be written"):
        log.RowFile(Path("/dev/full"), "notice", ["a"]).add([1])
