"""JSON text of what an agent yields: checked where it enters, then only passed on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from agent_core.agents.events import JsonText
from agent_core.runs.failures import RubbishError

_CHECK: Final = msgspec.json.Decoder(msgspec.Raw)


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


def _substitute(value: object) -> object:
    """Return what is to be encoded instead of a value that msgspec does not know."""
    if isinstance(value, JsonText):
        return _CHECK.decode(value.encode())
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return list(value)
    raise TypeError(f"a {type(value).__qualname__} is not a JSON value")


_ENCODER: Final = msgspec.json.Encoder(enc_hook=_substitute)
