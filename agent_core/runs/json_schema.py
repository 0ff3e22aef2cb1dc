"""A JSON value against a JSON Schema: as far as forms need it. Pure.

Checked: `type`, `enum`, `const`, `required`, `properties`, `additionalProperties`, `items`, the minima and
maxima of lengths, counts and numbers, `allOf`, `anyOf`, `oneOf` (as `anyOf`), and `$ref` within the schema.
Everything else is for the form alone: `pattern` above all, since a pattern can be made to take hours.

Source: https://json-schema.org/draft/2020-12/json-schema-validation
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

MAX_DEPTH: Final = 64
"""How deep a schema may refer to itself for one value: each level of a value takes a few."""

MAX_STEPS: Final = 100_000
"""How many schemas one value is held against: with two `anyOf` that refer to themselves, it would be twice as
many with each level of the value. They take some 50 ms."""


class MismatchError(Exception):
    """A value is not what a schema describes.

    Args:
        place: Where in the value, such as `/address/city`; empty for the value itself.
        problem: What is wrong there.
    """

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(f"{place}: {problem}" if place else problem)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_integer(value: object) -> bool:
    return _is_number(value) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))


_TYPES: Final[Mapping[str, Callable[[object], bool]]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": _is_integer,
    "number": _is_number,
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}

_BOUNDS: Final[Mapping[str, tuple[str, Callable[[Any, Any], bool], str]]] = {
    "minimum": ("number", operator.ge, "must be at least {}"),
    "maximum": ("number", operator.le, "must be at most {}"),
    "exclusiveMinimum": ("number", operator.gt, "must be more than {}"),
    "exclusiveMaximum": ("number", operator.lt, "must be less than {}"),
    "minLength": ("string", operator.ge, "must have at least {} characters"),
    "maxLength": ("string", operator.le, "must have at most {} characters"),
    "minItems": ("array", operator.ge, "must have at least {} items"),
    "maxItems": ("array", operator.le, "must have at most {} items"),
}
"""For which type each bound is, how it compares, and what is said."""


def require_valid(value: object, schema: Mapping[str, Any]) -> None:
    """Return if a value is what a schema describes.

    Args:
        value: Decoded JSON.
        schema: A JSON Schema.

    Raises:
        MismatchError: It is not.
    """
    _Check(schema).require(value, schema, "", MAX_DEPTH)


class _Check:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._steps_left = MAX_STEPS

    def require(self, value: object, schema: object, place: str, depth: int) -> None:
        if schema is False:
            raise MismatchError(place, "is not expected")
        if not isinstance(schema, Mapping):
            return  # `true`, or no schema at all: nothing is asked for
        self._steps_left -= 1
        if depth < 1 or self._steps_left < 0:
            raise MismatchError(place, "is too deep")
        for referred in _referred(self._root, schema):
            self.require(value, referred, place, depth - 1)
        self._require_scalar(value, schema, place)
        self._require_combined(value, schema, place, depth)
        if isinstance(value, dict):
            self._require_members(value, schema, place, depth)
        if isinstance(value, list) and "items" in schema:
            for index, item in enumerate(value):
                self.require(item, schema["items"], f"{place}/{index}", depth - 1)

    def _require_scalar(self, value: object, schema: Mapping[str, Any], place: str) -> None:
        """Check what concerns the value alone."""
        named = schema.get("type")
        types = named if isinstance(named, list) else [named] if isinstance(named, str) else []
        if types and not any(_TYPES[name](value) for name in types if name in _TYPES):
            raise MismatchError(place, f"must be of type {' or '.join(map(str, types))}")
        if "const" in schema and not _equal(value, schema["const"]):
            raise MismatchError(place, "must be the one value that is accepted")
        options = schema.get("enum")
        if isinstance(options, list) and not any(_equal(value, option) for option in options):
            raise MismatchError(place, "must be one of the options")
        for name, (kind, holds, problem) in _BOUNDS.items():
            bound = schema.get(name)
            if _is_number(bound) and _TYPES[kind](value):
                measured: Any = value if kind == "number" else len(value)  # type: ignore[arg-type] # has a length
                if not holds(measured, bound):
                    raise MismatchError(place, problem.format(bound))

    def _require_combined(self, value: object, schema: Mapping[str, Any], place: str, depth: int) -> None:
        """Check the schemas that a schema is made of."""
        for part in _listed(schema.get("allOf")):
            self.require(value, part, place, depth - 1)
        for name in ("anyOf", "oneOf"):
            parts = _listed(schema.get(name))
            if parts and not any(self._holds(value, part, place, depth - 1) for part in parts):
                raise MismatchError(place, "is nothing that is accepted here")

    def _holds(self, value: object, schema: object, place: str, depth: int) -> bool:
        try:
            self.require(value, schema, place, depth)
        except MismatchError:
            return False
        return True

    def _require_members(
        self, value: Mapping[str, object], schema: Mapping[str, Any], place: str, depth: int
    ) -> None:
        """Check an object's members."""
        for name in _listed(schema.get("required")):
            if name not in value:
                raise MismatchError(place, f"{name} is missing")
        properties = schema.get("properties")
        known = properties if isinstance(properties, Mapping) else {}
        for name, member in value.items():
            its = known[name] if name in known else schema.get("additionalProperties", True)
            self.require(member, its, f"{place}/{name}", depth - 1)


def _referred(root: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[object]:
    """Yield what a schema refers to within the root, if it refers to something that is there."""
    reference = schema.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#"):
        return
    found: object = root
    for step in filter(None, reference[1:].split("/")):
        name = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, Mapping) or name not in found:
            return
        found = found[name]
    yield found


def _equal(value: object, other: object) -> bool:
    """Return whether JSON takes two values for the same: true is no 1, and 1.0 is 1."""
    if isinstance(value, bool) or isinstance(other, bool):
        return value is other
    if isinstance(value, list) and isinstance(other, list):
        return len(value) == len(other) and all(map(_equal, value, other))
    if isinstance(value, dict) and isinstance(other, dict):
        return value.keys() == other.keys() and all(_equal(value[name], other[name]) for name in value)
    return value == other


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
