"""The slot between capture and judging: nothing is lost uncounted, nothing is given twice."""

import threading

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from device.latest import Latest


class SlotMachine(RuleBasedStateMachine):
    """The slot against its model: at most one item waits."""

    def __init__(self) -> None:
        super().__init__()
        self.slot: Latest[int] = Latest()
        self.waiting: int | None = None
        self.put = self.taken = self.replaced = 0
        self.closed = False

    @precondition(lambda self: not self.closed)
    @rule(item=st.integers())
    def put_newest(self, item: int) -> None:
        self.slot.put(item)
        self.put += 1
        self.replaced += self.waiting is not None
        self.waiting = item

    @precondition(lambda self: not self.closed)
    @rule(item=st.integers())
    def put_when_empty(self, item: int) -> None:
        done = self.slot.put_when_empty(item, 0)
        assert done == (self.waiting is None)
        if done:
            self.put += 1
            self.waiting = item

    @rule()
    def take(self) -> None:
        assert self.slot.take(0) == self.waiting
        self.taken += self.waiting is not None
        self.waiting = None

    @rule()
    def close(self) -> None:
        self.slot.close()
        self.closed = True

    @precondition(lambda self: self.closed)
    @rule()
    def put_is_refused(self) -> None:
        with pytest.raises(ValueError, match="closed"):
            self.slot.put(0)
        with pytest.raises(ValueError, match="closed"):
            self.slot.put_when_empty(0, 0)

    @invariant()
    def the_counts_add_up(self) -> None:
        assert self.slot.replaced == self.replaced
        assert self.put == self.taken + self.replaced + (self.waiting is not None)
        assert self.slot.finished == (self.closed and self.waiting is None)


SlotMachine.TestCase.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
TestSlot = SlotMachine.TestCase


def test_a_waiting_reader_is_woken_by_an_item_and_by_the_end() -> None:
    slot: Latest[str] = Latest()
    got: list[str | None] = []
    reader = threading.Thread(target=lambda: got.extend([slot.take(60), slot.take(60)]))
    reader.start()
    slot.put("frame")
    assert slot.put_when_empty("last", 60)  # returns once the reader has taken the first
    slot.close()
    reader.join(60)
    assert got == ["frame", "last"]
    assert slot.take(60) is None  # at once, for nothing can follow


@pytest.mark.parametrize("count", [2000])
def test_with_waiting_every_item_arrives_once_and_in_order(count: int) -> None:
    slot: Latest[int] = Latest()

    def give() -> None:
        for item in range(count):
            assert slot.put_when_empty(item, 60)
        slot.close()

    giver = threading.Thread(target=give)
    giver.start()
    got = []
    while (item := slot.take(60)) is not None:
        got.append(item)
    giver.join(60)
    assert got == list(range(count))
    assert slot.replaced == 0
