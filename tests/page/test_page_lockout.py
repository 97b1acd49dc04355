"""The lock-out by itself, with a clock that the test turns: guessing stays slow, and typos do not add up for ever."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from page_served import Clock

from device.page.lockout import FADES_S, FIRST_S, FREE, FREE_TOGETHER, LONGEST_S, Lockout

STRANGER = "10.9.9.9"
DAY_S = 86400.0
DOUBLINGS = math.ceil(math.log2(LONGEST_S / FIRST_S))  # from the first lock to the longest


def many_wrong(lockout: Lockout, count: int, first: int = 0) -> None:
    """Wrong tries, each from an address of its own."""
    for number in range(first, first + count):
        assert lockout.locked_s(f"10.0.0.{number}") == 0
        lockout.tried(f"10.0.0.{number}")


@pytest.mark.parametrize("every_s", [FADES_S, 2 * FADES_S, DAY_S, 30 * DAY_S])
@pytest.mark.parametrize("then_right", [True, False])
def test_typos_with_time_between_them_never_lock_the_network(every_s: float, then_right: bool) -> None:
    clock = Clock()
    lockout = Lockout(clock)
    for number in range(10 * FREE_TOGETHER):
        address = f"10.0.0.{number % 60}"
        assert lockout.locked_s(address) == 0
        lockout.tried(address)
        if then_right:
            lockout.tried(address)
            lockout.right(address)
        assert lockout.locked_s(STRANGER) == 0, number
        clock.now += every_s


def test_a_right_pin_takes_back_what_its_own_try_had_set() -> None:
    clock = Clock()
    lockout = Lockout(clock)
    many_wrong(lockout, FREE_TOGETHER)
    clock.now += lockout.locked_s(STRANGER) + 1
    for _ in range(3):
        lockout.tried(STRANGER)
        assert lockout.locked_s("10.0.0.200") > 0  # while it is looked at, others wait
        lockout.right(STRANGER)
        assert lockout.locked_s(STRANGER) == lockout.locked_s("10.0.0.200") == 0
    lockout.tried("10.0.0.200")  # and one more wrong one locks for as long as if no right one had been there
    assert lockout.locked_s(STRANGER) == pytest.approx(2 * FIRST_S)


@pytest.mark.parametrize(("waited_s", "free"), [(0, 0), (FADES_S - 60, 0), (FADES_S + 60, 1), (5.5 * FADES_S, 5)])
def test_many_wrong_tries_in_a_short_time_lock_and_fade_one_by_one(waited_s: float, free: int) -> None:
    clock = Clock()
    lockout = Lockout(clock)
    many_wrong(lockout, FREE_TOGETHER - 1)
    clock.now += waited_s
    many_wrong(lockout, free, first=100)
    assert lockout.locked_s(STRANGER) == 0
    assert lockout.tried("10.0.1.1") == 0
    assert lockout.locked_s(STRANGER) == pytest.approx(FIRST_S)
    assert lockout.locked_s(None) == 0  # not the own screen


def test_a_lock_lasts_as_long_as_it_was_said_and_the_next_is_longer() -> None:
    clock = Clock()
    lockout = Lockout(clock)
    many_wrong(lockout, FREE_TOGETHER)
    locked = []
    for number in range(DOUBLINGS + 3):
        locked.append(lockout.locked_s(STRANGER))
        clock.now += locked[-1] - 0.5
        assert lockout.locked_s(STRANGER) > 0
        clock.now += 0.5
        many_wrong(lockout, 1, first=100 + number)
    assert locked[: DOUBLINGS - 1] == pytest.approx([FIRST_S * 2**n for n in range(DOUBLINGS - 1)])
    assert max(locked) == pytest.approx(LONGEST_S)


@settings(deadline=None, max_examples=200)
@given(
    addresses=st.sampled_from([1, 3, 1000]),
    waits=st.lists(st.one_of(st.just(0.0), st.floats(0, 3 * FADES_S), st.sampled_from([FADES_S, DAY_S])), max_size=300),
)
def test_whoever_guesses_gets_one_try_an_hour_in_the_long_run(addresses: int, waits: list[float]) -> None:
    """Whatever they wait between tries, besides the locks: a PIN of four digits lasts for months."""
    clock = Clock()
    lockout = Lockout(clock)
    begun = clock.now
    for number, wait in enumerate(waits):
        clock.now += wait
        address = f"10.1.{number % addresses // 256}.{number % addresses % 256}"
        clock.now += lockout.locked_s(address)
        lockout.tried(address)
        free = (FREE if addresses == 1 else FREE_TOGETHER) + DOUBLINGS + 1
        assert number + 1 <= free + (clock.now - begun) / FADES_S
