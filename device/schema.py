"""Plain data (parsed JSON or TOML) into frozen dataclasses, strictly: used by bundles, recipes and configuration.

A dataclass is the schema. Unknown keys, missing keys and wrong types raise `UserError` naming the file and the key.
Supported field types: bool, int, float, str, Any, dict[str, T], tuple[T, ...], Literal, T | None, dataclasses.
"""

import dataclasses
import json
import math
import types
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from device.errors import UserError, nearest

T = TypeVar("T")


def load(cls: type[T], data: Any, where: Path | str) -> T:
    """Build `cls` (a dataclass) from `data`; `where` names the file in error messages.

    Raises UserError on an unknown or missing key, a wrong type, a value outside a Literal, a NaN or an infinity.
    """
    try:
        return _dataclass(cls, data, str(where), "")
    except RecursionError:
        raise UserError(f"{where}: nested too deep to be read; correct the file.") from None


def parse(cls: type[T], written: bytes, where: Path | str, version: int, again: str, matching: str) -> T:
    """`load` of JSON that says which `schema_version` it has: another busi-kd may have written it.

    again, matching: what can be done where it is broken, and where it is of another version. Raises UserError: no JSON,
    no table of keys, another version, and as `load` does.
    """
    try:
        data = json.loads(written)
    except (ValueError, RecursionError) as error:  # JSONDecodeError, UnicodeDecodeError; lists in lists in lists
        raise UserError(f"{where}: not readable as JSON ({error}); {again}.") from error
    if not isinstance(data, dict):
        raise UserError(f"{where}: holds {shown(data)} instead of a table of keys; {again}.")
    found = data.get("schema_version")
    if found != version:
        raise UserError(
            f"{where}: schema version {shown(found)}, but this software reads version {version}; {matching}."
        )
    return load(cls, data, where)


def dump(value: Any) -> Any:
    """The inverse of `load`: dataclasses and tuples become dicts and lists that JSON and TOML can hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: dump(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: dump(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [dump(item) for item in value]
    return value


def first_difference(one: Any, other: Any, path: str = "") -> str:
    """The first key in which two different dumps of a dataclass differ, and its values: `fit.epochs was 3, is 4`."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        key = next(key for key in one if one[key] != other[key])
        return first_difference(one[key], other[key], f"{path}.{key}" if path else key)
    return f"{path} was {shown(one)}, is {shown(other)}"


def shown(value: Any) -> str:
    """`repr` for an error message: at most 60 characters, and never an error of its own."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an int of more than 4300 digits; lists in lists in lists
        return f"this {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."


def _dataclass(cls: type, data: Any, where: str, path: str) -> Any:
    if not isinstance(data, dict):
        raise _wrong(where, path, "a table of keys", data)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for key in data:
        if key not in fields:
            raise UserError(
                f"{where}: unknown key {f'{path}{key}'!r}{nearest(str(key), list(fields))}; "
                "remove it or correct its name."
            )
    hints = get_type_hints(cls)
    values = {}
    for name, field in fields.items():
        if name in data:
            values[name] = _value(hints[name], data[name], where, path + name)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise UserError(f"{where}: the key '{path}{name}' is missing; add it.")
    try:
        return cls(**values)
    except ValueError as error:  # a dataclass's own __post_init__ checks
        place = "" if str(error).startswith(path) else f"{path.rstrip('.')}: "
        raise UserError(f"{where}: {place}{error}") from error


def _value(kind: Any, data: Any, where: str, path: str) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if kind is Any:
        _refuse_not_finite(data, where, path)
        return data
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, data, where, path + ".")
    if origin in (Union, types.UnionType):  # only T | None is used
        if data is None and type(None) in args:
            return None
        return _value(next(arg for arg in args if arg is not type(None)), data, where, path)
    if origin is Literal:
        if not any(type(data) is type(arg) and data == arg for arg in args):  # True == 1, hence the types
            raise _wrong(where, path, "one of " + ", ".join(map(repr, args)), data)
        return data
    if origin is tuple:
        if not isinstance(data, (list, tuple)):
            raise _wrong(where, path, "a list", data)
        if args[-1] is not Ellipsis and len(data) != len(args):
            raise _wrong(where, path, f"a list of {len(args)} values", data)
        kinds = [args[0]] * len(data) if args[-1] is Ellipsis else args
        return tuple(_value(k, item, where, f"{path}[{i}]") for i, (k, item) in enumerate(zip(kinds, data)))
    if origin is dict:
        if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
            raise _wrong(where, path, "a table of keys", data)
        return {key: _value(args[1], item, where, f"{path}.{key}") for key, item in data.items()}
    return _scalar(kind, data, where, path)


def _refuse_not_finite(data: Any, where: str, path: str) -> None:
    if isinstance(data, float) and not math.isfinite(data):
        raise _wrong(where, path, "a finite number", data)
    if isinstance(data, dict):
        for key, item in data.items():
            _refuse_not_finite(item, where, f"{path}.{key}")
    if isinstance(data, (list, tuple)):
        for i, item in enumerate(data):
            _refuse_not_finite(item, where, f"{path}[{i}]")


def _scalar(kind: type, data: Any, where: str, path: str) -> Any:
    if kind is float and isinstance(data, (int, float)) and not isinstance(data, bool):
        try:
            number = float(data)
        except OverflowError:  # a whole number above 1.8e308
            number = math.inf
        if not math.isfinite(number):
            raise _wrong(where, path, "a finite number", data)
        return number
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    if type(data) is not kind:  # type(), because True is an int to isinstance
        raise _wrong(where, path, names.get(kind, getattr(kind, "__name__", str(kind))), data)
    return data


def _wrong(where: str, path: str, wanted: str, got: Any) -> UserError:
    place = f"the key {path.rstrip('.')!r}" if path else "the top level"
    return UserError(f"{where}: {place} must be {wanted}, not {shown(got)}.")
