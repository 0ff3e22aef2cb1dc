"""The agent `stalling`, which `make observe` asks: its answer stands still once, for a moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from agent_core.agents.events import RunRequest

ANSWER: Final = """
This answer comes at forty words a second, as a model would write it. In the middle of it, and for no reason
that you can see from here, it stands still for a moment. Then it goes on as if nothing had happened. A
reader has noticed, and would like to know whose fault that was.
"""
RATE: Final = 40
"""Words per second."""
STALL_AT: Final = 30
"""How many words come before the stall."""
STALL_S: Final = 0.8


async def stalling(_: RunRequest) -> AsyncIterator[str]:
    """Yield the words of an answer; before one of them nothing comes for `STALL_S` seconds."""
    for index, word in enumerate(ANSWER.split()):
        await asyncio.sleep(STALL_S if index == STALL_AT else 1 / RATE)
        yield f"{word} "
