"""Access to parsed JSON of unknown shape: every function here takes any value and none raises."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import orjson

from components.contracts import Json

SCALARS = (str, int, float)  # a tuple: a union would be built at each call
SAMPLE_ITEMS = 20  # looked at to decide what a list holds


def mapping(value: Json) -> Mapping[str, Json]:
    """The value where it is an object, else an empty object."""
    return value if isinstance(value, dict) else {}


def listed(value: Json) -> list[Json]:
    """The value where it is a list, else an empty list."""
    return value if isinstance(value, list) else []


def first_of(values: Mapping[str, Json], *keys: str) -> Json:
    """The first of the keys' values that is not null.

    >>> first_of({"a": None, "b": 0}, "a", "b")
    0
    """
    for key in keys:
        if (found := values.get(key)) is not None:
            return found
    return None


def scalars(values: Mapping[str, Json]) -> dict[str, Any]:
    """Those of the values that are a string, a number or a truth value.

    >>> scalars({"a": "", "b": 0, "c": [], "d": None})
    {'a': '', 'b': 0}
    """
    return {key: value for key, value in values.items() if isinstance(value, SCALARS)}


def filled_scalars(values: Mapping[str, Json]) -> dict[str, Any]:
    """The same without empty strings."""
    return {key: value for key, value in values.items() if isinstance(value, SCALARS) and value != ""}


def pick_scalars(values: Mapping[str, Json], *keys: str) -> dict[str, Any]:
    """Those of the keys whose value is a string, a number or a truth value."""
    return {key: values[key] for key in keys if isinstance(values.get(key), SCALARS)}


def outcome(passed: Json) -> str | None:
    """`pass` or `fail`, where a log says whether a run did what it should.

    >>> outcome(True), outcome(0.0), outcome(0.5), outcome(None)
    ('pass', 'fail', 'fail', None)
    """
    return None if not isinstance(passed, int | float) else "pass" if passed >= 1 else "fail"


def parse_json(value: Json, opening: Iterable[str] = ("{", "[")) -> Json:
    """What a string of JSON holds, where it begins with one of these characters; any other value as it is.

    >>> parse_json('[1]'), parse_json("[cut off"), parse_json(2)
    ([1], '[cut off', 2)
    """
    if isinstance(value, str) and value.lstrip()[:1] in opening:
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:  # a length limit has cut it off, or it is text
            return value
    return value


def mostly(items: Sequence[Json], fits: Callable[[Json], object]) -> bool:
    """Do three in five of the first twenty items fit? A few odd ones don't make it another format."""
    first = items[:SAMPLE_ITEMS]
    return bool(first) and sum(bool(fits(item)) for item in first) >= 0.6 * len(first)


def total(values: Mapping[str, Json], *keys: str) -> float | None:
    """The sum of those of the keys that hold a number; None where none does.

    >>> total({"input": 3, "output": 4, "cached": None}, "input", "output", "cached")
    7
    """
    found = [n for key in keys if isinstance(n := values.get(key), int | float) and not isinstance(n, bool)]
    return sum(found) if found else None
