"""Plain data (parsed JSON or TOML) into frozen dataclasses, strictly: used by bundles, recipes and configuration.

A dataclass is the schema. Unknown keys, missing keys and wrong types raise `UserError` naming the file and the key.
Supported field types: bool, int, float, str, Any, dict[str, T], tuple[T, ...], Literal, T | None, dataclasses.
"""

import dataclasses
import math
import types
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from device.errors import UserError, nearest

T = TypeVar("T")


def load(cls: type[T], data: Any, where: Path | str) -> T:
    """Build `cls` (a dataclass) from `data`; `where` names the file in error messages.

    Raises UserError on an unknown or missing key, a wrong type, a value outside a Literal, or a NaN.
    """
    return _dataclass(cls, data, str(where), "")


def dump(value: Any) -> Any:
    """The inverse of `load`: dataclasses and tuples become dicts and lists that JSON and TOML can hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: dump(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: dump(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [dump(item) for item in value]
    return value


def _dataclass(cls: type, data: Any, where: str, path: str) -> Any:
    if not isinstance(data, dict):
        raise _wrong(where, path, "a table of keys", data)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for key in data:
        if key not in fields:
            raise UserError(
                f"{where}: unknown key '{path}{key}'{nearest(str(key), list(fields))}; remove it or correct its name."
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
        raise UserError(f"{where}: {error}") from error


def _value(kind: Any, data: Any, where: str, path: str) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if kind is Any:
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


def _scalar(kind: type, data: Any, where: str, path: str) -> Any:
    if kind is float and isinstance(data, (int, float)) and not isinstance(data, bool):
        if not math.isfinite(data):
            raise _wrong(where, path, "a finite number", data)
        return float(data)
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    if type(data) is not kind:  # type(), because True is an int to isinstance
        raise _wrong(where, path, names.get(kind, getattr(kind, "__name__", str(kind))), data)
    return data


def _wrong(where: str, path: str, wanted: str, got: Any) -> UserError:
    shown = repr(got) if len(repr(got)) <= 60 else repr(got)[:57] + "..."
    return UserError(f"{where}: the key '{path.rstrip('.') or 'top level'}' must be {wanted}, not {shown}.")
