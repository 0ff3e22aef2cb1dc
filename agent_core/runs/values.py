"""Values that agents give, checked before an event holds them. Pure."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Final, SupportsFloat, SupportsIndex

import msgspec

from agent_core.agents.events import JsonText, Usage
from agent_core.runs.failures import RubbishError

MAX_COUNT: Final = 2**32 - 1
MAX_USAGE: Final = 2**64 - 1
MAX_PERCENT: Final = 100
ROUNDING_PERCENT: Final = 0.01
"""How far the rounding of a sum may take a percentage beyond 0 or 100: it is clamped then. 100 / 6 added six
times is 100.00000000000001; with 32-bit floats, a thousand steps come to about 100.0003."""

_JSON: Final = msgspec.json.Decoder(msgspec.Raw)


def string(value: object) -> str:
    """Return a value that must be a string."""
    if not isinstance(value, str):
        raise RubbishError(f"{described(value)} is not a str")
    return value


def flag(value: object) -> bool:
    """Return a value that must be true or false."""
    if not isinstance(value, bool):
        raise RubbishError(f"{described(value)} is neither True nor False")
    return value


def count(value: object, largest: int = MAX_COUNT) -> int:
    """Return a value that must be a count: an `int`, or one of a library such as NumPy."""
    # The first question is for nearly all: asking whether a value has a method takes ten times as long.
    if type(value) is int or (isinstance(value, SupportsIndex) and not isinstance(value, bool)):
        number = operator.index(value)
        if 0 <= number <= largest:
            return number
    raise RubbishError(f"{described(value)} is not a count from 0 to {largest}")


def usage(value: object) -> Usage | None:
    """Return tokens used, each count checked."""
    if value is None:
        return None
    if not isinstance(value, Usage):
        raise RubbishError(f"{described(value)} is not a Usage")
    told = (value.input_tokens, value.output_tokens)
    return Usage(*(None if tokens is None else count(tokens, MAX_USAGE) for tokens in told))


def percent(value: object) -> float:
    """Return a value that must be a percentage, clamped where no more than rounding took it out of bounds."""
    number = _float(value)
    if number is None or math.isnan(number):
        raise RubbishError(f"{described(value)} is not a percentage: 0 to {MAX_PERCENT}, or None")
    if not -ROUNDING_PERCENT <= number <= MAX_PERCENT + ROUNDING_PERCENT:
        raise RubbishError(f"{value!r} percent is not between 0 and {MAX_PERCENT}")
    return min(max(0.0, number), float(MAX_PERCENT))


def encode_json(value: object) -> str:
    """Return a value as JSON text. NaN and the infinities, which JSON does not have, become null.

    Args:
        value: Anything that msgspec can encode, and JsonText anywhere in it.

    Raises:
        RubbishError: JSON can't hold the value, or a JsonText in it is not JSON.
    """
    try:
        return _ENCODER.encode(value).decode()
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise RubbishError(f"not a JSON value: {type(error).__name__}: {error}") from error


def _float(value: object) -> float | None:
    """Return a number of any kind as a float; None for anything else."""
    if not isinstance(value, SupportsFloat) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):  # an array, a signalling NaN, 10 ** 400
        return None


def described(value: object) -> str:
    """Return a value in a few characters: a number as it is, of anything else its type.

    Nothing of a text is told: it may be what a user has said.
    """
    # Python refuses to write out an int of thousands of digits.
    is_short = isinstance(value, float) or (isinstance(value, int) and abs(value) <= MAX_USAGE + 1)
    return repr(value) if value is None or is_short else f"a {type(value).__qualname__}"


def _substitute(value: object) -> object:
    """Return what is to be encoded instead of a value that msgspec does not know."""
    if isinstance(value, JsonText):
        return _JSON.decode(value.encode())
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return list(value)
    raise TypeError(f"a {type(value).__qualname__} is not a JSON value")


_ENCODER: Final = msgspec.json.Encoder(enc_hook=_substitute)
