"""The way of one token through the edge, from the link's read to the socket's write."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import FrameType
from typing import Any, Final

from tests.support.stack import running_stack

EDGE: Final = tuple(str(Path(__file__).parents[2] / part) for part in ("edge", "tokenwire"))

MOST_FUNCTIONS: Final = 8
"""How many of the product's functions a token passes at the edge: each costs all of them."""

TOKENS: Final = 40
READ: Final = "Link._run"
WRITE: Final = "DirectWriter.write"


class Walk:
    """Notes the functions of the edge that are entered, in one thread; a task that goes on enters its own."""

    def __init__(self) -> None:
        self.entered: list[str] = []
        """Their names, in order."""

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        """Take in what the interpreter does."""
        del argument
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(EDGE):
            self.entered.append(code.co_qualname)

    def ways(self) -> list[list[str]]:
        """Return what was entered from each read of the link to the write that it led to."""
        found: list[list[str]] = []
        way: list[str] = []
        for name in self.entered:
            if name == READ:
                way = []
            way.append(name)
            if name == WRITE and way[0] == READ:
                found.append(way)
                way = []
        return found


async def test_a_token_passes_eight_functions_at_the_edge_and_wakes_one_task() -> None:
    """The link's own: it is written in the turn in which it was read. And no stream has a task beside."""
    message = f'{{"tokens": {TOKENS}, "rate": 200, "size": 5}}'
    async with running_stack() as stack, stack.chat(message, agent="pace") as response:
        texts = response.aiter_text()
        seen = await anext(texts)
        while seen.count("data: ") < 2:  # of the first one, more is noted than of the others
            seen += await anext(texts)
        walk = Walk()
        sys.setprofile(walk)
        try:
            while seen.count("data: ") < TOKENS // 2:
                seen += await anext(texts)
        finally:
            sys.setprofile(None)
        coroutines = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    ways = sorted(walk.ways(), key=len)
    assert ways
    usual = ways[len(ways) // 2]  # a busy machine may send two in one message
    assert (usual[0], usual[-1]) == (READ, WRITE)
    assert len(usual) <= MOST_FUNCTIONS, usual
    assert not [name for name in coroutines if "SendWriter" in name or "CallSource" in name]


def test_the_way_is_counted_from_a_read_to_its_write_alone() -> None:
    """What lies between two reads, without a write, or behind the write, belongs to no token."""
    walk = Walk()
    walk.entered = ["tick", READ, "beat", READ, "feed", WRITE, "written", "tick", WRITE]
    assert walk.ways() == [[READ, "feed", WRITE]]
