"""Pairs merged into groups, and the labels that contradict each other within them."""

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def merge(count: int, pairs: Iterable[tuple[int, int]]) -> np.ndarray:
    """Group number of each of `count` pictures, so that the two of every pair share one: (count,) int.

    Groups are the connected components; they are numbered from 0 in the order of their first picture.
    Raises ValueError on an index outside 0..count-1.
    """
    edges = np.array(list(pairs), dtype=int).reshape(-1, 2)
    if edges.size and not (edges.min() >= 0 and edges.max() < count):
        raise ValueError(f"a pair names picture {edges.min()} or {edges.max()}, outside 0..{count - 1}.")
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    # scipy numbers components in the order in which it meets them; a property test holds it to that.
    return connected_components(graph, directed=False)[1].astype(int)


def conflicts(groups: Sequence[int], labels: Sequence[str]) -> dict[int, list[int]]:
    """The groups whose pictures carry different labels: group number -> indices of its pictures."""
    members: dict[int, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(int(group), []).append(index)
    return {group: inside for group, inside in members.items() if len({labels[i] for i in inside}) > 1}
