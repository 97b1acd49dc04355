"""Plain data into frozen dataclasses: what fits round-trips, what does not is refused with its place."""

import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device import schema
from device.bundle import META_FILE, VARIANTS, Meta, content
from device.errors import UserError
from train.recipe import NetworkRecipe, Recipe, TeacherRecipe, load_recipe, shipped


@dataclass(frozen=True)
class Inner:
    """A table within a table."""

    ratio: float = 0.5
    mode: Literal["fast", "slow", 3] = "fast"

    def __post_init__(self) -> None:
        if self.ratio > 1:
            raise ValueError(f"the key 'ratio' must be 1 at most, not {self.ratio}.")


@dataclass(frozen=True)
class Outer:
    """One field of each supported type."""

    count: int
    name: str = "x"
    enabled: bool = False
    limit: float | None = None
    pair: tuple[int, str] = (1, "a")
    sizes: tuple[int, ...] = ()
    weights: dict[str, float] = field(default_factory=dict)
    inner: Inner = field(default_factory=Inner)
    inners: tuple[Inner, ...] = ()
    anything: Any = None


FULL = {
    "count": 3,
    "name": "größe",
    "enabled": True,
    "limit": 0.25,
    "pair": [7, "b"],
    "sizes": [1, 2, 3],
    "weights": {"a": 1.5},
    "inner": {"ratio": 1.0, "mode": 3},
    "inners": [{"ratio": 0.0, "mode": "slow"}, {"ratio": 0.5, "mode": "fast"}],
    "anything": {"free": [1, None, {"deep": "x"}]},
}


def test_every_supported_type_round_trips() -> None:
    loaded = schema.load(Outer, FULL, "file.toml")
    assert loaded.pair == (7, "b")
    assert loaded.inners[1] == Inner()
    assert schema.dump(loaded) == FULL
    assert schema.load(Outer, json.loads(json.dumps(schema.dump(loaded))), "file.toml") == loaded
    assert schema.load(Outer, {"count": 0}, "file.toml") == Outer(0)


@pytest.mark.parametrize("name", shipped())
def test_shipped_recipes_round_trip_and_are_read_in_full(name: str) -> None:
    recipe = load_recipe(name)
    assert schema.load(Recipe, schema.dump(recipe), name) == recipe
    assert schema.load(Recipe, json.loads(json.dumps(schema.dump(recipe))), name) == recipe
    text = (resources.files("train.recipes") / f"{name}.toml").read_text()
    assert _leaves(tomllib.loads(text)) <= _leaves(schema.dump(recipe))


def _leaves(data: Any, path: str = "") -> set[str]:
    if isinstance(data, dict):
        return {leaf for key, item in data.items() for leaf in _leaves(item, f"{path}.{key}")}
    if isinstance(data, list):
        return {leaf for number, item in enumerate(data) for leaf in _leaves(item, f"{path}[{number}]")}
    return {f"{path}={float(data) if isinstance(data, int) else data!r}"}


NETWORKS = st.builds(
    NetworkRecipe,
    name=st.text(),
    weights=st.text(),
    mean=st.floats(allow_nan=False, allow_infinity=False),
    std=st.floats(0.001, 10),
)


@settings(deadline=None)
@given(
    name=st.text(),
    seed=st.integers(0, 2**32 - 1),
    networks=st.lists(NETWORKS, min_size=1, max_size=3),
    hidden=st.lists(st.integers(1), max_size=3),
)
def test_any_recipe_round_trips_through_json(
    name: str, seed: int, networks: list[NetworkRecipe], hidden: list[int]
) -> None:
    recipe = Recipe(name, seed, teacher=TeacherRecipe(tuple(networks), tuple(hidden)))
    assert schema.load(Recipe, json.loads(json.dumps(schema.dump(recipe))), "r.toml") == recipe


@pytest.mark.parametrize("variant", VARIANTS)
def test_bundle_metadata_round_trips(bundle_dir: Path, variant: str) -> None:
    data = json.loads((bundle_dir / variant / META_FILE).read_text())
    meta = schema.load(Meta, data, "bundle.json")
    assert content(meta) == data
    assert schema.load(Meta, schema.dump(meta), "bundle.json") == meta


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"coutn": 1}, "f.toml: unknown key 'coutn' (did you mean 'count'?); remove it or correct its name."),
        ({"zzzz": 1}, "f.toml: unknown key 'zzzz'; remove it or correct its name."),
        (
            {"inner": {"rati": 1.0}},
            "f.toml: unknown key 'inner.rati' (did you mean 'ratio'?); remove it or correct its name.",
        ),
        ({"q\nq": 1}, "f.toml: unknown key 'q\\nq'; remove it or correct its name."),
        ({"count": "3"}, "f.toml: the key 'count' must be a whole number, not '3'."),
        ({"count": True}, "f.toml: the key 'count' must be a whole number, not True."),
        ({"count": 3.0}, "f.toml: the key 'count' must be a whole number, not 3.0."),
        ({"count": None}, "f.toml: the key 'count' must be a whole number, not None."),
        ({"name": 3}, "f.toml: the key 'name' must be a text, not 3."),
        ({"enabled": 1}, "f.toml: the key 'enabled' must be true or false, not 1."),
        ({"enabled": 0}, "f.toml: the key 'enabled' must be true or false, not 0."),
        ({"limit": False}, "f.toml: the key 'limit' must be a number, not False."),
        ({"limit": "0.5"}, "f.toml: the key 'limit' must be a number, not '0.5'."),
        ({"limit": float("nan")}, "f.toml: the key 'limit' must be a finite number, not nan."),
        ({"limit": float("-inf")}, "f.toml: the key 'limit' must be a finite number, not -inf."),
        ({"weights": {"a": float("nan")}}, "f.toml: the key 'weights.a' must be a finite number, not nan."),
        ({"anything": {"b": [0, 1e999]}}, "f.toml: the key 'anything.b[1]' must be a finite number, not inf."),
        ({"pair": [1]}, "f.toml: the key 'pair' must be a list of 2 values, not [1]."),
        ({"pair": [1, "a", 2]}, "f.toml: the key 'pair' must be a list of 2 values, not [1, 'a', 2]."),
        ({"pair": ["a", 1]}, "f.toml: the key 'pair[0]' must be a whole number, not 'a'."),
        ({"pair": "1a"}, "f.toml: the key 'pair' must be a list, not '1a'."),
        ({"sizes": [1, 2, "c"]}, "f.toml: the key 'sizes[2]' must be a whole number, not 'c'."),
        ({"weights": [1.0]}, "f.toml: the key 'weights' must be a table of keys, not [1.0]."),
        ({"weights": {1: 1.0}}, "f.toml: the key 'weights' must be a table of keys, not {1: 1.0}."),
        ({"inner": 5}, "f.toml: the key 'inner' must be a table of keys, not 5."),
        ({"inner": {"mode": "medium"}}, "f.toml: the key 'inner.mode' must be one of 'fast', 'slow', 3, not 'medium'."),
        ({"inner": {"mode": 3.0}}, "f.toml: the key 'inner.mode' must be one of 'fast', 'slow', 3, not 3.0."),
        ({"inners": [{}, {"ratio": "x"}]}, "f.toml: the key 'inners[1].ratio' must be a number, not 'x'."),
        ({"inners": [{}, {"ratio": 2}]}, "f.toml: inners[1]: the key 'ratio' must be 1 at most, not 2.0."),
        ({"name": ["y" * 100]}, f"f.toml: the key 'name' must be a text, not ['{'y' * 55}...."),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(change: dict, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        schema.load(Outer, FULL | change, Path("f.toml"))
    assert str(caught.value) == sentence


def test_missing_keys_and_a_wrong_top_level_are_refused() -> None:
    with pytest.raises(UserError, match=r"^f: the key 'count' is missing; add it\.$"):
        schema.load(Outer, {}, "f")
    with pytest.raises(UserError, match=r"^f: the key 'teacher\.backbones\[0\]\.name' is missing; add it\.$"):
        schema.load(Recipe, {"name": "x", "teacher": {"backbones": [{}]}}, "f")
    for data in ([], "text", None, 3):
        with pytest.raises(UserError, match=r"^f: the top level must be a table of keys, not "):
            schema.load(Outer, data, "f")


def test_a_check_of_a_nested_table_names_the_table_once() -> None:
    with pytest.raises(UserError, match=r"^f: split\.folds must lie in 3\.\.100"):
        schema.load(Recipe, {"name": "x", "split": {"folds": 1}}, "f")
    with pytest.raises(UserError, match=r"^f: preprocess: the key 'fill' must lie in 0\.\.255, not 300\.$"):
        schema.load(Recipe, {"name": "x", "preprocess": {"fill": 300}}, "f")


def test_a_whole_number_counts_as_a_float_but_stays_exact_or_is_refused() -> None:
    loaded = schema.load(Outer, {"count": 1, "limit": 2}, "f")
    assert loaded.limit == 2.0
    assert type(loaded.limit) is float
    for huge in (10**400, -(10**400)):
        with pytest.raises(UserError, match="'limit' must be a finite number"):
            schema.load(Outer, {"count": 1, "limit": huge}, "f")


def _nested(depth: int) -> list:
    data: list = []
    for _ in range(depth):
        data = [data]
    return data


@pytest.mark.parametrize(
    "data",
    [
        {"count": _nested(100_000)},
        {"count": 1, "anything": _nested(100_000)},
        {"count": 10**5000, "limit": 10**5000},  # repr() of it raises ValueError
        {"count": "x", "name": 10**5000},
    ],
)
def test_monstrous_values_are_refused_too(data: Any) -> None:
    with pytest.raises(UserError) as caught:
        schema.load(Outer, data, "f")
    assert len(str(caught.value)) < 200


KEYS = st.sampled_from([*Outer.__dataclass_fields__, *Inner.__dataclass_fields__]) | st.text(max_size=5)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["fast", 3, 10**400, "benign", "luma"])
)
JSON_LIKE = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=15
)


@settings(deadline=None)
@given(data=st.dictionaries(KEYS, JSON_LIKE, max_size=6) | JSON_LIKE)
def test_arbitrary_data_loads_or_raises_user_error(data: Any) -> None:
    refusal = _load_or_refuse(lambda: json.dumps(schema.dump(schema.load(Outer, data, "f")), allow_nan=False))
    if refusal is None:
        assert schema.load(Outer, schema.dump(schema.load(Outer, data, "f")), "f") == schema.load(Outer, data, "f")
    else:
        assert refusal.startswith("f: ")
        assert "\n" not in refusal


def _recipe_like() -> st.SearchStrategy:
    known = schema.dump(load_recipe("paper"))
    return st.fixed_dictionaries(
        {}, optional={key: JSON_LIKE | (_part(value) if isinstance(value, dict) else st.just(value))
                      for key, value in known.items()}
    )  # fmt: skip


def _part(known: dict) -> st.SearchStrategy:
    return st.fixed_dictionaries({}, optional={key: JSON_LIKE | st.just(value) for key, value in known.items()})


@settings(deadline=None)
@given(data=_recipe_like())
def test_an_arbitrary_recipe_loads_or_raises_user_error(data: dict) -> None:
    _load_or_refuse(lambda: schema.load(Recipe, data, "f"))


def _load_or_refuse(load: Callable[[], Any]) -> str | None:
    try:
        load()
    except UserError as error:
        return str(error)
    return None


def test_dump_leaves_its_argument_alone() -> None:
    loaded = schema.load(Outer, FULL, "f")
    dumped = schema.dump(loaded)
    dumped["inners"].clear()
    dumped["weights"]["a"] = 0.0
    assert loaded == schema.load(Outer, FULL, "f")
    assert schema.dump(replace(loaded, sizes=(1, 2))) == FULL | {"sizes": [1, 2]}
