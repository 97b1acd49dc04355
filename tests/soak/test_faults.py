"""A short soak, and that the soak itself would notice what is wrong."""

import math
from pathlib import Path

import pytest

from tests.soak.faults import FAULTS, soak, wrongs
from tests.soak.watched import Heard

TIMES = 4.0  # a hang is one after 6 s instead of 1.5 s: a busy machine holds a process up for 1.5 s
PICTURE = Path("busi/Dataset_BUSI_with_GT/benign/benign (5).png")


def test_each_fault_is_named_truly_and_survived(shared_data: Path) -> None:
    report = soak(len(FAULTS), seed=1, picture=shared_data / PICTURE, times=TIMES)
    assert report["wrong"] == []
    assert report["quality_when_well"] == "ok"
    assert set(report["recovery_s"]) == set(FAULTS)
    assert math.isfinite(report["longest_recovery_s"]), "each was recovered from"


def row(name: str, quality: str, shown: str, captured: float = 1.0) -> dict:
    return {"name": name, "quality": quality, "shown": shown, "captured_s": str(captured)}


LOST = [("ok", "no signal"), ("no signal", "ok")]


@pytest.mark.parametrize(
    ("kind", "edges", "rows", "said"),
    [
        ("no signal", LOST, [row("ok", "ok", "benign")], None),
        ("no signal", [], [], "the states were"),
        ("no signal", [("ok", "hung"), ("hung", "ok")], [], "the states were"),
        ("no signal", LOST[:1], [], "the states were"),
        ("truncated", LOST, [], "the states were"),
        ("blank", [], [row("blank", "blank", "abstain")], None),
        ("blank", [], [row("blank", "ok", "benign")], "called 'ok'"),
        ("blank", [], [row("blank", "blank", "benign")], "benign was shown"),
        ("colour", [], [row("colour", "in colour", "abstain")], None),
        ("colour", [], [row("colour", "ok", "benign", captured=0.1)], None),  # not looked at yet
        ("colour", [], [row("colour", "unfamiliar", "abstain", captured=0.1)], "called 'unfamiliar'"),
        ("other size", [], [row("other size", "unfamiliar", "abstain")], "called 'unfamiliar'"),
        ("hangs", [("ok", "hung"), ("hung", "ok")], [row("ok", "blank", "abstain")], "called 'blank'"),
    ],
)
def test_what_is_wrong_is_noticed(kind: str, edges: list, rows: list, said: str | None) -> None:
    found = wrongs(Heard(rows=rows, edges=edges), kind, began=0.0, well="ok")
    assert [said in sentence for sentence in found] == ([True] if said else []), found
