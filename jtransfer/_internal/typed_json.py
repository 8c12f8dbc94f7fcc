"""Typed values from what JSON has read, with one line about each fault."""

import dataclasses
import functools
import inspect
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any


def typed_value(kind: Any, content: Any, place: str = "content") -> Any:
    """Builds a value of a declared type from what JSON has read.

    A null where a number is declared is a number that was not finite, here NaN; fields
    that a record does not have are lost, those of later versions for example.

    Args:
      kind: a dataclass or NamedTuple, generic or not, whose fields are declared with
        these types again; `float`, `int`, `str`, `Any`; a `list`, `Sequence`, `dict` or
        `Mapping` of them; or one of all these `| None`.
      content: lists, dicts, texts and numbers.
      place: where the content stands, for the message about a fault.

    Returns:
      The value.

    Raises:
      ValueError: if the content is not of that type.

    Example:
      >>> typed_value(dict[str, list[float]], {"a": [1, None]})
      {'a': [1.0, nan]}
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return content
    if origin is types.UnionType:
        if content is None:
            return None
        return typed_value(arguments[0], content, place)
    if origin in (list, Sequence):
        items = enumerate(_checked(list | tuple, content, place))
        return [typed_value(arguments[0], x, f"{place}[{i}]") for i, x in items]
    if origin in (dict, Mapping):
        items = _checked(dict, content, place).items()
        return {key: typed_value(arguments[1], x, f"{place}.{key}") for key, x in items}
    record = origin or kind
    if dataclasses.is_dataclass(record) or hasattr(record, "_fields"):
        return _record(record, arguments, _checked(dict, content, place), place)
    if kind is float:
        if content is None:
            return math.nan
        if isinstance(content, bool) or not isinstance(content, int | float):
            raise ValueError(f"{place} is no number")
        return float(content)
    return _checked(kind, content, place)


def _record(kind: type, arguments: tuple, content: dict, place: str) -> Any:
    """A record of a class, whose type parameters stand for the arguments."""
    meant = dict(zip(getattr(kind, "__parameters__", ()), arguments, strict=True))
    fields = {
        name: typed_value(meant.get(hint, hint), content[name], f"{place}.{name}")
        for name, hint in _hints(kind).items()
        if name in content
    }
    for name in _required(kind):
        if name not in fields:
            raise ValueError(f"{place} has no {name}")
    return kind(**fields)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


@functools.cache
def _required(kind: type) -> list[str]:
    parameters = inspect.signature(kind).parameters.items()
    return [name for name, one in parameters if one.default is one.empty]


def _checked(kind: Any, content: Any, place: str) -> Any:
    if not isinstance(content, kind) or isinstance(content, bool):
        raise ValueError(f"{place} is no {_WORDS[kind]}")
    return content


_WORDS = {dict: "object", list | tuple: "list", str: "text", int: "whole number"}
