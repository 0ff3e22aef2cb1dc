"""The agent `pace`: yields tokens at a chosen rate, for tests and benchmarks.

The message is a JSON object; every field may be left out:

    {"tokens": 100, "rate": 50, "size": 5, "delay_s": 0}

Token *i* (from 1) is the number *i* in decimal, padded with zeros on the left to `size`
characters; of a number that is longer, the last `size` characters. The whole answer is
therefore `tokens * size` characters long, and token *i* stands at `[(i - 1) * size : i * size]`:
a reader sees what is missing, doubled or out of order. `pace_text` builds the same text.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Annotated, Final, TypeAlias

import msgspec

from agent_core.agents.events import AgentError, AgentEvent, Finish, RunRequest, Usage

MAX_TOKENS: Final = 10_000_000
MAX_RATE: Final = 10_000_000.0
MAX_SIZE: Final = 65_536
MAX_DELAY_S: Final = 3_600.0

BREATH: Final = 32
"""After so many tokens without a wait the event loop gets a turn, so that a run that is as fast
as possible can be cancelled."""

_Rate: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=MAX_RATE)]
_Delay: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=MAX_DELAY_S)]


class PaceOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the message asks for."""

    tokens: Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKENS)] = 100
    """How many tokens."""
    rate: _Rate = 0
    """Tokens per second; 0 for as fast as possible."""
    size: Annotated[int, msgspec.Meta(ge=1, le=MAX_SIZE)] = 5
    """Characters per token, all ASCII."""
    delay_s: _Delay = 0
    """Seconds before the first token."""


_DECODER: Final = msgspec.json.Decoder(PaceOrder)
_FIELD: Final = re.compile(r"`\$\.(\w+)`$|unknown field `([^`]*)`$")


async def pace(request: RunRequest) -> AsyncIterator[AgentEvent | str]:
    """Yield the tokens that the message orders, each at its time.

    Token *i* is due `delay_s + (i - 1) / rate` seconds after the start. The schedule is absolute: a
    token that came late does not push the next ones. A wait ends up to about 1 ms late (the event
    loop's timer), so above 1,000 tokens per second they come in small bursts.

    Raises:
        AgentError: INVALID_ARGUMENT, when the message is no such object or a value is out of range.
    """
    order = read_order(request.message)
    clock = asyncio.get_running_loop().time
    start = clock() + order.delay_s
    interval_s = 1 / order.rate if order.rate else 0.0
    size = order.size
    for index in range(order.tokens):
        wait_s = start + index * interval_s - clock()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        elif index % BREATH == 0:
            await asyncio.sleep(0)
        yield pace_token(index + 1, size)
    yield Finish("stop", Usage(input_tokens=0, output_tokens=order.tokens))


def pace_token(number: int, size: int) -> str:
    """Return the token of that number, counted from 1."""
    return f"{number:0{size}d}"[-size:]


def pace_text(tokens: int, size: int) -> str:
    """Return the whole answer to an order."""
    return "".join(pace_token(number, size) for number in range(1, tokens + 1))


def read_order(message: str) -> PaceOrder:
    """Return the order that a message holds.

    Raises:
        AgentError: INVALID_ARGUMENT; `details["field"]` names the field, when it is about one.
    """
    try:
        return _DECODER.decode(message)
    except msgspec.ValidationError as error:
        found = _FIELD.search(str(error))
        field = next(filter(None, found.groups()), "") if found else ""
        about = f"the field {field!r} of the message" if field else "the message"
        text = f"pace can't use {about}: {error}"
        raise AgentError("INVALID_ARGUMENT", text, details={"field": field} if field else None) from None
    except msgspec.DecodeError:
        text = 'pace wants a JSON object as the message, such as {"tokens": 100, "rate": 50, "size": 5}.'
        raise AgentError("INVALID_ARGUMENT", text, details={"field": "message"}) from None
