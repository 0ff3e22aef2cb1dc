"""Values against schemas, as far as forms need it."""

from __future__ import annotations

from typing import Any

import pytest

from agent_core.runs.json_schema import MismatchError, require_valid

PERSON = {
    "type": "object",
    "properties": {"age": {"type": "integer", "minimum": 0}, "name": {"$ref": "#/$defs/a~1name"}},
    "required": ["age"],
    "additionalProperties": False,
    "$defs": {"a/name": {"type": "string", "minLength": 1, "maxLength": 3}},
}
TREE: dict[str, Any] = {"type": "array", "items": {"$ref": "#"}, "maxItems": 2, "minItems": 0}
OPTIONAL = {"anyOf": [{"type": "integer"}, {"type": "null"}]}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({}, object()),
        ({"type": "integer"}, 1.0),
        ({"type": ["string", "null"]}, None),
        ({"type": []}, 1),
        ({"type": "boolean"}, True),
        ({"type": "number"}, 1.5),
        ({"enum": [1, "a", None]}, 1.0),
        ({"enum": [[1, {"a": True}]]}, [1, {"a": True}]),
        ({"const": {"a": 1}}, {"a": 1}),
        ({"enum": "a"}, "b"),
        ({"minimum": 1}, "not a number"),
        ({"minimum": True}, -1),
        ({"exclusiveMinimum": 1, "exclusiveMaximum": 3}, 2),
        (PERSON, {"age": 41, "name": "Ann"}),
        ({"properties": 3, "required": 3}, {"age": 41}),
        ({"items": {"type": "integer"}}, [1, 2]),
        ({"items": True}, [1]),
        (TREE, [[], [[]]]),
        (OPTIONAL, None),
        ({"oneOf": [{"type": "string"}]}, "a"),
        ({"allOf": [{"type": "string"}, True]}, "a"),
        ({"$ref": "#/$defs/missing"}, 1),
        ({"$ref": "#/type/x", "type": "integer"}, 1),
        ({"$ref": "https://example.com/schema"}, 1),
        ({"pattern": "^a$"}, "b"),
    ],
)
def test_a_value_that_fits_is_accepted(schema: dict[str, Any], value: object) -> None:
    """What is not checked accepts everything."""
    require_valid(value, schema)


@pytest.mark.parametrize(
    ("schema", "value", "problem"),
    [
        ({"type": "integer"}, True, "must be of type integer"),
        ({"type": "integer"}, 1.5, "must be of type integer"),
        ({"type": "string"}, 1, "must be of type string"),
        ({"type": "array"}, {}, "must be of type array"),
        ({"type": "object"}, [], "must be of type object"),
        ({"type": "boolean"}, 1, "must be of type boolean"),
        ({"type": "number"}, "1", "must be of type number"),
        ({"type": ["string", "null"]}, 1, "must be of type string or null"),
        ({"enum": [1]}, True, "must be one of the options"),
        ({"enum": [[1]]}, [1, 2], "must be one of the options"),
        ({"enum": [{"a": 1}]}, {"a": 2}, "must be one of the options"),
        ({"enum": [{"a": 1}]}, {"b": 1}, "must be one of the options"),
        ({"const": 1}, 2, "must be the one value that is accepted"),
        ({"maximum": 3}, 4, "must be at most 3"),
        ({"exclusiveMaximum": 3}, 3, "must be less than 3"),
        ({"exclusiveMinimum": 3}, 3, "must be more than 3"),
        (PERSON, {}, "age is missing"),
        (PERSON, {"age": -1}, "/age: must be at least 0"),
        (PERSON, {"age": 1, "name": ""}, "/name: must have at least 1 characters"),
        (PERSON, {"age": 1, "name": "Anna"}, "/name: must have at most 3 characters"),
        (PERSON, {"age": 1, "x": 1}, "/x: is not expected"),
        ({"items": {"type": "integer"}}, [1, "a"], "/1: must be of type integer"),
        (TREE, [[], [[], [], []]], "/1: must have at most 2 items"),
        ({"minItems": 1}, [], "must have at least 1 items"),
        (OPTIONAL, "a", "is nothing that is accepted here"),
        ({"allOf": [{"type": "string"}]}, 1, "must be of type string"),
        ({"$ref": "#"}, 1, "is too deep"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(schema: dict[str, Any], value: object, problem: str) -> None:
    """With the place, and what is wrong there."""
    with pytest.raises(MismatchError) as caught:
        require_valid(value, schema)
    assert str(caught.value) == problem


def test_a_schema_that_asks_for_more_and_more_ends() -> None:
    """Twice as much with each level of the value: it is given up, and not computed for years."""
    branches = [{"items": {"$ref": "#"}, "type": "array"}] * 2
    value: object = "leaf"
    for _ in range(20):
        value = [value]
    with pytest.raises(MismatchError):
        require_valid(value, {"anyOf": branches})
