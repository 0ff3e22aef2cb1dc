"""The calculator."""

from __future__ import annotations

import operator
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_core.agents.calculator import CONTEXT, MAX_CHARACTERS, CalculatorError, calculate

SMALL = st.integers(-10_000, 10_000)
OPERATORS: dict[str, Callable[[Fraction, Fraction], Fraction | int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": operator.floordiv,
    "%": operator.mod,
}


def trees(leaves: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Expressions of a few operations, each in parentheses or not."""
    shapes = st.sampled_from(["{} {} {}", "({} {} {})"])

    def join(parts: tuple[str, str, str, str]) -> str:
        shape, left, sign, right = parts
        return shape.format(left, sign, right)

    return st.recursive(
        leaves,
        lambda inner: st.tuples(shapes, inner, st.sampled_from(["+", "-", "*"]), inner).map(join),
        max_leaves=8,
    )


@given(trees(st.integers(0, 999).map(str)))
def test_whole_numbers_come_out_as_in_python(expression: str) -> None:
    """Sums and products that 34 digits hold are exact, with Python's precedence."""
    assert calculate(expression) == eval(expression)  # noqa: S307 # made of digits and signs


@given(SMALL, SMALL, st.integers(0, 4), st.integers(0, 4), st.sampled_from(sorted(OPERATORS)))
def test_decimals_are_exact(left: int, right: int, left_places: int, right_places: int, sign: str) -> None:
    """`+ - * // %` of decimals are those of the fractions that they are, floor and signs included."""
    first, second = (
        Decimal(number).scaleb(-places) for number, places in ((left, left_places), (right, right_places))
    )
    if sign in {"//", "%"} and not right:
        with pytest.raises(CalculatorError, match=r"divides by zero|no defined result"):
            calculate(f"({first:f}) {sign} ({second:f})")
        return
    expected = OPERATORS[sign](Fraction(first), Fraction(second))
    assert Fraction(calculate(f"({first:f}) {sign} ({second:f})")) == expected


@given(SMALL, SMALL.filter(bool))
def test_a_quotient_is_the_nearest_decimal(left: int, right: int) -> None:
    """A division is right to within half a unit of its 34th digit."""
    exact = Fraction(left, right)
    error = abs(Fraction(calculate(f"({left}) / ({right})")) - exact)
    assert error <= abs(exact) * Fraction(1, 2 * 10 ** (CONTEXT.prec - 1))


@given(st.integers(-99, 99).filter(bool), st.integers(0, 17))
def test_a_power_is_repeated_multiplication(base: int, exponent: int) -> None:
    """Whole powers that fit into 34 digits are exact."""
    assert calculate(f"({base}) ** {exponent}") == base**exponent


@given(st.text(alphabet="0123456789.eE_+-*/%() \n", max_size=60) | st.text(max_size=60))
def test_any_text_has_a_value_or_a_reason(text: str) -> None:
    """Nothing but a finite decimal or a CalculatorError comes out, whatever goes in."""
    reason = ""
    try:
        assert calculate(text).is_finite()
    except CalculatorError as error:
        reason = str(error)
    assert not reason or reason.endswith(".")


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("0.1 + 0.2", "0.3"),
        ("-2 ** 2", "-4"),
        ("2 ** 3 ** 2", "512"),
        ("-7 // 2", "-4"),
        ("-7 % 3", "2"),
        ("7 % (-3)", "-2"),
        ("1_000 * 1e-3", "1"),
        ("  ( 1 +\n 2 ) * 3", "9"),
        ("100 * (1 + 0.05) ** 2", "110.25"),
        ("2 ** 0.5", "1.414213562373095048801688724209698"),
        ("-0", "0"),
    ],
)
def test_expressions_have_their_value(expression: str, value: str) -> None:
    """What a person or a model would write comes out as they expect."""
    result = calculate(expression)
    assert result == Decimal(value)
    assert not result.is_signed() or result < 0


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("1 / 0", "divides by zero"),
        ("1 % 0", "divides by zero"),
        ("1 // 0", "divides by zero"),
        ("0 ** (-1)", "divides by zero"),
        ("0 / 0", "no defined result"),
        ("0 ** 0", "no defined result"),
        ("(-8) ** 0.5", "no defined result"),
        ("1e30 // 1e-30", "no defined result"),
        ("9 ** 9 ** 9", "exponent is larger"),
        ("9e999 ** 999", "too large"),
        ("1e999999999999999999", "too large"),
        ("1e-6000 / 1e6000", "too small"),
        ("1" * 35, "more than 34 digits"),
        ("5% + 3", "divide by 100"),
        ("200 * 5%", "divide by 100"),
        ("1,000", "thousands separators"),
        ("0x1F", "Only numbers"),
        ("1e", "not a complete"),
        ("", "not a complete"),
        ("1 +", "not a complete"),
        ("(" * 400, "not a complete"),
        ("(" * 240 + "1" + ")" * 240, "not a complete"),
        ("e", "Only numbers"),
        ("()", "Only numbers"),
        ("1(2)", "Only numbers"),
        ("(1)(2)", "Only numbers"),
        ("1" + "+1" * MAX_CHARACTERS, "longer than"),
        ("__import__('os').system('true')", "Only numbers"),
        ("a = 1", "Only numbers"),
        ("1j", "Only numbers"),
        ("True", "Only numbers"),
        ("[1][0]", "Only numbers"),
        ("1 << 9", "Only numbers"),
        ("\N{ARABIC-INDIC DIGIT ONE} + 1", "Only numbers"),
    ],
)
def test_what_has_no_value_says_why(expression: str, reason: str) -> None:
    """Hostile, broken and boundless input is refused with a reason, and evaluates nothing."""
    with pytest.raises(CalculatorError, match=reason):
        calculate(expression)


def test_the_longest_chains_are_evaluated() -> None:
    """The bound on characters bounds the operations too: what it lets through never exhausts the stack."""
    assert calculate("-" * (MAX_CHARACTERS - 1) + "1") in {Decimal(1), Decimal(-1)}
    assert calculate("1" + "+1" * 249) == 250
