"""Clients that leave while a message of the link is being handed out, between the writes to two others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import httpx
import pytest

from agent_core.agents.pace import pace_text
from edge.http.direct_writer import DirectWriter
from edge.upstream.link import Link
from tests.support.sse_reader import events_of
from tests.support.stack import running_stack

CLIENTS: Final = 8
TOKENS: Final = 60
TEXT: Final = pace_text(TOKENS, 5)
ORDER: Final = f'{{"tokens": {TOKENS}, "rate": 50, "size": 5}}'


class FailingTransport:
    """A transport whose socket has failed: what is written raises.

    Args:
        transport: The real one.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def write(self, data: bytes) -> None:
        """Fail."""
        raise OSError(f"{len(data)} bytes for nobody")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def abort(writer: Any) -> None:
    """Have a client's connection end at once."""
    writer._transport.abort()


def fail(writer: Any) -> None:
    """Have a client's next write raise."""
    writer._transport = FailingTransport(writer._transport)


class Turn:
    """Has every second client leave within the hand-out of one message that has something for all of them.

    Args:
        leave: How.
    """

    def __init__(self, leave: Callable[[Any], None]) -> None:
        self.writers: list[Any] = []
        """Of all clients."""
        self.left: list[Any] = []
        """Of those that left."""
        self.links = 0
        """How many links were opened."""
        self._leave = leave
        self._has_all = False

    def plant(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put itself in the way."""
        dispatch, run, write = Link._dispatch, Link._run, DirectWriter.write

        def dispatched(link: Link, response: Any, batches: Any, recv_nano: int) -> None:
            self._has_all = len(batches) >= CLIENTS
            dispatch(link, response, batches, recv_nano)

        async def opened(link: Link) -> None:
            self.links += 1
            await run(link)

        def written(writer: Any, body: bytes) -> bool:
            if writer not in self.writers:
                self.writers.append(writer)
            if self._has_all and not self.left and len(self.writers) == CLIENTS:
                self._let_leave(writer)
            return write(writer, body)

        monkeypatch.setattr(Link, "_dispatch", dispatched)
        monkeypatch.setattr(Link, "_run", opened)
        monkeypatch.setattr(DirectWriter, "write", written)

    def _let_leave(self, first: Any) -> None:
        """Let them leave: the one that is written to, and others that come before and behind it."""
        others = [writer for writer in self.writers if writer is not first]
        self.left = [first, *others[:: CLIENTS // 4]]
        for writer in self.left:
            self._leave(writer)


@pytest.mark.parametrize("leave", [abort, fail])
async def test_those_who_leave_in_the_readers_turn_take_nothing_from_others(
    monkeypatch: pytest.MonkeyPatch, leave: Callable[[Any], None]
) -> None:
    """The others of the same message are whole, the link goes on, and the core knows who has left."""
    turn = Turn(leave)
    turn.plant(monkeypatch)
    async with running_stack() as stack:
        runs: list[str] = []

        async def read() -> str:
            said = ""
            async with stack.chat(ORDER, agent="pace", onDisconnect="cancel") as response:
                runs.append(response.headers["run-id"])
                try:
                    async for text in response.aiter_text():
                        said += text
                except httpx.TransportError:
                    return ""
            return said

        reading = [asyncio.create_task(read()) for _ in range(CLIENTS)]
        while not turn.left:
            await asyncio.sleep(0.05)
            time.sleep(0.05)  # noqa: ASYNC251 # all agents are late: one message tells of all of them
        bodies = [body for body in await asyncio.gather(*reading) if body]
        ends = [events_of((await stack.client.get(f"/api/runs/{run_id}/events")).text)[-1] for run_id in runs]
    assert len(bodies) == CLIENTS - len(turn.left)
    for body in bodies:
        events = events_of(body)
        assert "".join(each["content"] for each in events if each["type"] == "text_delta") == TEXT
        assert [each["type"] for each in events if each["type"] in {"done", "error"}] == ["done"]
    assert sorted(end["finishReason"] for end in ends) == sorted(
        ["cancelled"] * len(turn.left) + ["stop"] * len(bodies)
    )
    assert turn.links == 1
