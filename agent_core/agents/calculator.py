"""A calculator for text that nobody trusts: arithmetic and nothing else."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from decimal import (
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    InvalidOperation,
    Overflow,
    Underflow,
)
from typing import Final

MAX_CHARACTERS: Final = 500
"""The longest expression. It also bounds the depth of the tree and the number of operations."""

MAX_EXPONENT: Final = 1000
"""The largest exponent of `**`, either sign."""

CONTEXT: Final = Context(
    prec=34,
    rounding=ROUND_HALF_EVEN,
    Emin=-6143,
    Emax=6144,
    traps=[InvalidOperation, DivisionByZero, Overflow, Underflow],
)
"""IEEE 754 decimal128: 34 digits. 0.1 + 0.2 is 0.3, and no operation takes long.

Source: https://speleotrove.com/decimal/decifaq1.html
"""

_ALLOWED: Final = re.compile(r"[0-9eE_.+\-*/%()\s]*", re.ASCII)
_SIGNED_MODULUS: Final = re.compile(r"%\s*[+-]")
_PERCENT: Final = "For percent, divide by 100; for a remainder, put a signed divisor in parentheses."


class CalculatorError(ValueError):
    """An expression has no value. The text says why, fit for a user or a model."""


def calculate(expression: str) -> Decimal:
    """Return the value of an arithmetic expression.

    Known are numbers (12, 0.5, 1e-3, 1_000), `+ - * / // % **`, signs and parentheses, with the
    precedence that Python gives them. Values are decimals of 34 digits, rounded half to even, so
    0.1 + 0.2 is exactly 0.3. `//` rounds down and `%` has the sign of its right side, as in Python.

    Args:
        expression: At most 500 characters.

    Raises:
        CalculatorError: It is no such expression, or it has no value that 34 digits can show.
    """
    text = " ".join(_checked(expression).split())
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        hint = f" {_PERCENT}" if "%" in text else ""
        raise CalculatorError(f"This is not a complete arithmetic expression.{hint}") from None
    try:
        value = _value(tree.body, text)
    except DivisionByZero:
        raise CalculatorError("This divides by zero.") from None
    except (Overflow, Underflow):
        raise CalculatorError("A number on the way is too large or too small.") from None
    except InvalidOperation:
        raise CalculatorError("An operation has no defined result of at most 34 digits.") from None
    return value or Decimal(0)  # Never -0, nor 0E+3.


def _checked(expression: str) -> str:
    """Return the expression, when it is short enough and has no foreign character."""
    if len(expression) > MAX_CHARACTERS:
        raise CalculatorError(f"The expression is longer than {MAX_CHARACTERS} characters.")
    if not _ALLOWED.fullmatch(expression):
        raise CalculatorError("Only numbers without thousands separators, + - * / // % ** and ( ) are known.")
    if _SIGNED_MODULUS.search(expression):
        # "5% + 3" would be the remainder of a division by +3: hardly what was meant.
        raise CalculatorError(f"A sign follows %. {_PERCENT}")
    return expression


def _value(node: ast.expr, text: str) -> Decimal:
    """Return the value of a part of the expression."""
    if isinstance(node, ast.BinOp) and (binary := _BINARY.get(type(node.op))):
        return binary(_value(node.left, text), _value(node.right, text))
    if isinstance(node, ast.UnaryOp) and (unary := _UNARY.get(type(node.op))):
        return unary(_value(node.operand, text))
    if isinstance(node, ast.Constant) and type(node.value) in {int, float}:
        return _number(text[node.col_offset : node.end_col_offset])
    raise CalculatorError("Only numbers, + - * / // % ** and ( ) are known.")


def _number(literal: str) -> Decimal:
    """Return a number as it is written: Python's own reading of 0.1 would be a binary fraction."""
    value = Decimal(literal.replace("_", ""))
    if len(value.as_tuple().digits) > CONTEXT.prec:
        raise CalculatorError(f"A number has more than {CONTEXT.prec} digits.")
    return CONTEXT.plus(value)


def _divide(left: Decimal, right: Decimal) -> tuple[Decimal, Decimal]:
    """Return quotient and remainder of a division that rounds towards zero."""
    if not right:
        raise DivisionByZero
    return CONTEXT.divmod(left, right)


def _floor_divide(left: Decimal, right: Decimal) -> Decimal:
    """Return the quotient rounded down. Decimal's own `//` rounds towards zero."""
    quotient, rest = _divide(left, right)
    return CONTEXT.subtract(quotient, Decimal(1)) if rest and (rest < 0) != (right < 0) else quotient


def _modulo(left: Decimal, right: Decimal) -> Decimal:
    """Return the remainder with the sign of the right side. Decimal's own has that of the left."""
    rest = _divide(left, right)[1]
    return CONTEXT.add(rest, right) if rest and (rest < 0) != (right < 0) else rest


def _power(left: Decimal, right: Decimal) -> Decimal:
    """Return a power with a bounded exponent."""
    if abs(right) > MAX_EXPONENT:
        raise CalculatorError(f"An exponent is larger than {MAX_EXPONENT}.")
    if not left and right < 0:
        raise DivisionByZero
    return CONTEXT.power(left, right)


_BINARY: Final[Mapping[type[ast.operator], Callable[[Decimal, Decimal], Decimal]]] = {
    ast.Add: CONTEXT.add,
    ast.Sub: CONTEXT.subtract,
    ast.Mult: CONTEXT.multiply,
    ast.Div: CONTEXT.divide,
    ast.FloorDiv: _floor_divide,
    ast.Mod: _modulo,
    ast.Pow: _power,
}
_UNARY: Final[Mapping[type[ast.unaryop], Callable[[Decimal], Decimal]]] = {
    ast.UAdd: CONTEXT.plus,
    ast.USub: CONTEXT.minus,
}
