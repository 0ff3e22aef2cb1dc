"""A token's way: at the edge from the link's read to the socket's write, at the core from the agent on."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final, NamedTuple

import pytest

from tests.support.stack import running_stack

ROOT: Final = Path(__file__).parents[2]


class Part(NamedTuple):
    """A part of the way."""

    packages: tuple[str, ...]
    """Whose functions are counted, generated code left out."""
    first: str
    last: str
    """The function that it begins with, and the one that it ends with."""
    most: int
    """How many functions a token may pass: each costs all of them."""


EDGE: Final = Part(("edge", "tokenwire"), "Link._run", "DirectWriter.write", 8)
CORE: Final = Part(("agent_core", "tokenwire"), "RunState.feed", "MessageEncoder.message", 45)
"""From what the agent yielded to what is given to gRPC. No budget: a record, which is not to grow unseen."""

TOKENS: Final = 40


class Entered(NamedTuple):
    """A function that was entered."""

    name: str
    wakes: bool
    """Whether the event loop has gone on with a task by it."""


class Walk:
    """Notes the functions of some packages that are entered, in one thread.

    Args:
        part: Which part of the way is looked at.
    """

    def __init__(self, part: Part) -> None:
        self.entered: list[Entered] = []
        """In order; what goes on after an `await` is entered anew."""
        self._part = part
        self._folders = tuple(f"{ROOT / package}/" for package in part.packages)

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        """Take in what the interpreter does."""
        del argument
        if event == "call" and self._is_product(frame):
            is_coroutine = bool(frame.f_code.co_flags & inspect.CO_COROUTINE)
            wakes = is_coroutine and not (frame.f_back and self._is_product(frame.f_back))
            self.entered.append(Entered(frame.f_code.co_qualname, wakes))

    def _is_product(self, frame: FrameType) -> bool:
        path = frame.f_code.co_filename
        return path.startswith(self._folders) and "/tokenwire/v1/" not in path

    def ways(self) -> list[list[Entered]]:
        """Return what was entered from each beginning of the part to the end that it led to."""
        found: list[list[Entered]] = []
        way: list[Entered] = []
        for each in self.entered:
            if each.name == self._part.first:
                way = []
            way.append(each)
            if each.name == self._part.last and way[0].name == self._part.first:
                found.append(way)
                way = []
        return found


async def walked(part: Part, look: Callable[[], None] = lambda: None) -> list[Entered]:
    """Return the usual way of a token, of a stream over a link that has long begun.

    Args:
        part: Which part of it.
        look: Called while the stream goes on.
    """
    message = f'{{"tokens": {TOKENS}, "rate": 200, "size": 5}}'
    async with running_stack() as stack, stack.chat(message, agent="pace") as response:
        texts = response.aiter_text()
        seen = await anext(texts)
        while seen.count("data: ") < 2:  # of the first one, more is noted than of the others
            seen += await anext(texts)
        walk = Walk(part)
        sys.setprofile(walk)
        try:
            while seen.count("data: ") < TOKENS // 2:
                seen += await anext(texts)
        finally:
            sys.setprofile(None)
        look()
    ways = sorted(walk.ways(), key=len)
    assert ways
    return ways[len(ways) // 2]  # a busy machine may send two in one message


def told(way: list[Entered]) -> str:
    """Return a way as it is shown where it is too long."""
    return "\n".join(f"{'*' if each.wakes else ' '} {each.name}" for each in way)


async def test_a_token_passes_eight_functions_at_the_edge_and_wakes_one_task() -> None:
    """The link's own: it is written in the turn in which it was read. And no stream has a task beside."""
    coroutines: list[str] = []

    def look() -> None:
        coroutines.extend(getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks())

    way = await walked(EDGE, look)
    assert len({each.name for each in way}) == len(way) <= EDGE.most, told(way)
    assert [each.name for each in way if each.wakes] == [EDGE.first], told(way)
    assert not [name for name in coroutines if "SendWriter" in name or "CallSource" in name]


async def test_a_tokens_way_at_the_core_does_not_grow_and_wakes_one_task() -> None:
    """The link's writer; the run's own task has brought it as far as the log."""
    way = await walked(CORE)
    assert len({each.name for each in way}) <= CORE.most, told(way)
    assert [each.name for each in way if each.wakes] == ["LinkWriter.run"], told(way)


@pytest.mark.parametrize("part", [EDGE, CORE])
def test_the_way_is_counted_from_its_beginning_to_its_end_alone(part: Part) -> None:
    """What lies between two reads, without a write, or behind the write, belongs to no token."""
    walk = Walk(part)
    names = ["tick", part.first, "beat", part.first, "feed", part.last, "written", "tick", part.last]
    walk.entered = [Entered(name, wakes=False) for name in names]
    assert [[each.name for each in way] for way in walk.ways()] == [[part.first, "feed", part.last]]
