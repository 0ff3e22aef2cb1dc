"""What agents give, checked."""

import math
from collections import OrderedDict
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType

import pytest

from agent_core.agents import JsonText, Usage
from agent_core.runs import values
from agent_core.runs.failures import RubbishError


class Scalar:
    """A number of a library's own, as NumPy has them."""

    def __init__(self, number: float) -> None:
        self.number = number

    def __float__(self) -> float:
        return float(self.number)

    def __index__(self) -> int:
        return int(self.number)


class Array:
    """It has the method, and refuses."""

    def __float__(self) -> float:
        raise TypeError("only arrays of one element can be converted")


@pytest.mark.parametrize("steps", [3, 6, 7, 49, 1000, 1999])
def test_a_sum_of_steps_ends_at_a_hundred(steps: int) -> None:
    """Whatever rounding made of it."""
    done = 0.0
    for _ in range(steps):
        done += 100 / steps
    assert values.percent(done) == pytest.approx(100)
    assert values.percent(done) <= 100


@pytest.mark.parametrize(
    ("given", "percent"),
    [
        (0, 0.0),
        (100, 100.0),
        (45.5, 45.5),
        (100.00000000000001, 100.0),
        (100.01, 100.0),
        (-1e-15, 0.0),
        (-0.0, 0.0),
        (Decimal("12.5"), 12.5),
        (Fraction(1, 4), 0.25),
        (Scalar(99.5), 99.5),
    ],
)
def test_a_percentage_is_any_number_from_0_to_100(given: object, percent: float) -> None:
    """Of any kind, clamped by as much as rounding explains; never told as -0."""
    assert str(values.percent(given)) == str(percent)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (100.02, "100.02 percent is not between 0 and 100"),
        (-1, "-1 percent is not between"),
        (float("nan"), "nan is not a percentage: 0 to 100, or None"),
        (float("inf"), "inf percent is not between"),
        (Decimal("sNaN"), "a Decimal is not a percentage"),
        (10**400, "a int is not a percentage"),
        (10**5000, "a int is not a percentage"),
        (True, "True is not a percentage"),
        ("50", "a str is not a percentage"),
        (Array(), "a Array is not a percentage"),
        (1j, "a complex is not a percentage"),
    ],
    ids=lambda given: (
        str(given)[:20] if not isinstance(given, int) else f"{type(given)} {given.bit_length()}"
    ),
)
def test_what_is_no_percentage_is_refused_with_the_value(given: object, said: str) -> None:
    """A number is quoted, of anything else the type."""
    with pytest.raises(RubbishError, match=said):
        values.percent(given)


def test_a_count_is_any_whole_number() -> None:
    """An int of Python's, or what stands for one; no bool, no float, none too large."""
    assert [values.count(given) for given in (0, 7, Scalar(5))] == [0, 7, 5]
    assert type(values.count(Scalar(5))) is int
    for given in (-1, 2**32, True, 1.0, "1", None):
        with pytest.raises(RubbishError, match="is not a count from 0 to 4294967295"):
            values.count(given)


def test_usage_holds_counts_or_nothing() -> None:
    """What comes out is made of Python's own ints."""
    assert values.usage(None) is None
    assert values.usage(Usage(Scalar(3), None)) == Usage(3, None)  # type: ignore[arg-type]
    with pytest.raises(RubbishError, match="a dict is not a Usage"):
        values.usage({"input_tokens": 1})


def test_strings_and_flags_are_taken_as_they_are() -> None:
    """Nothing is converted that may be a mistake."""
    assert values.string("x") == "x"
    assert values.flag(False) is False
    with pytest.raises(RubbishError, match="None is not a str"):
        values.string(None)
    with pytest.raises(RubbishError, match="1 is neither True nor False"):
        values.flag(1)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (MappingProxyType({"a": 1}), '{"a":1}'),
        (OrderedDict(a=(1, 2)), '{"a":[1,2]}'),
        (range(3), "[0,1,2]"),
        (math.nan, "null"),
        (2**70, "1180591620717411303424"),
        ("\u2028\n", '"\u2028\\n"'),
        ({"in": JsonText("1.0")}, '{"in":1.0}'),
    ],
)
def test_any_mapping_or_sequence_is_json(value: object, text: str) -> None:
    """What JSON can hold is taken, whatever its class; text that is JSON already stays as it is."""
    assert values.encode_json(value) == text


@pytest.mark.parametrize("value", [object(), {1, object()}, JsonText("nope"), [JsonText('{"a":')]])
def test_what_json_can_not_hold_is_refused(value: object) -> None:
    """With the type of the error, for the agent's author."""
    with pytest.raises(RubbishError, match="not a JSON value: "):
        values.encode_json(value)
