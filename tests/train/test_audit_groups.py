"""Merging pairs into groups: against a plain search for connected pictures, and on small examples by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.audit.groups import conflicts, merge


def by_search(count: int, pairs: list[tuple[int, int]]) -> list[set[int]]:
    """Independent of scipy: grow each picture's set until no pair leads out of it."""
    sets = []
    for start in range(count):
        reached = {start}
        while True:
            more = {q for a, b in pairs for p, q in ((a, b), (b, a)) if p in reached} - reached
            if not more:
                break
            reached |= more
        sets.append(reached)
    return sets


@st.composite
def graphs(draw) -> tuple[int, list[tuple[int, int]]]:
    count = draw(st.integers(1, 12))
    ends = st.integers(0, count - 1)
    return count, draw(st.lists(st.tuples(ends, ends), max_size=14))


@given(graphs())
def test_groups_are_what_can_be_reached_over_pairs(graph: tuple[int, list[tuple[int, int]]]) -> None:
    count, pairs = graph
    numbers = merge(count, pairs).tolist()
    for a, reached in enumerate(by_search(count, pairs)):
        assert {b for b in range(count) if numbers[b] == numbers[a]} == reached


@given(graphs(), st.randoms())
def test_neither_order_nor_direction_nor_repetition_matters(graph: tuple, random) -> None:
    count, pairs = graph
    other = [pair[::-1] if random.random() < 0.5 else pair for pair in pairs * 2]
    random.shuffle(other)
    assert merge(count, other).tolist() == merge(count, pairs).tolist()


@given(graphs())
def test_groups_are_numbered_by_their_first_picture(graph: tuple) -> None:
    numbers = merge(*graph).tolist()
    firsts = list(dict.fromkeys(numbers))
    assert firsts == list(range(len(firsts)))


def test_a_pair_outside_the_pictures_is_refused() -> None:
    for pair in ((0, 3), (-1, 0)):
        with pytest.raises(ValueError, match=r"outside 0\.\.2"):
            merge(3, [pair])


def test_conflicts_are_the_groups_of_more_than_one_label() -> None:
    groups = merge(7, [(0, 4), (4, 6), (1, 2)])
    assert groups.tolist() == [0, 1, 1, 2, 0, 3, 0]
    labels = ["benign", "normal", "normal", "benign", "benign", "normal", "malignant"]
    assert conflicts(groups, labels) == {0: [0, 4, 6]}
    assert conflicts(groups, ["x"] * 7) == {}
