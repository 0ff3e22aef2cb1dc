"""A stream's slot, whatever the stream does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from litestar.response.base import ASGIResponse

from edge.http.limited_stream import LimitedStream
from edge.http.limits import LimitPolicy, Limits


class Inner(ASGIResponse):
    """A stream that does what the test says."""

    def __init__(self, serve: Any) -> None:
        super().__init__()
        self.serve = serve
        self.asked = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        del scope, receive, send
        self.asked += 1
        await self.serve()


def scope(method: str = "GET", *headers: tuple[bytes, bytes]) -> Any:
    return {"type": "http", "method": method, "headers": list(headers), "state": {}}


async def answered(stream: LimitedStream, scope: Any) -> tuple[int, dict[bytes, bytes], bytes]:
    """Return the status, the headers and the body of a refusal."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    await stream(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(message.get("body", b"") for message in sent)


@pytest.mark.parametrize("error", [RuntimeError, asyncio.CancelledError, KeyboardInterrupt])
async def test_a_stream_that_raises_gives_its_slot_back(error: type[BaseException]) -> None:
    """Also when its task is cancelled, as a server does that will not wait any longer."""

    async def fail() -> None:
        assert limits.slots.in_use == 1
        raise error

    limits = Limits(LimitPolicy(streams=1), lambda: 0)
    for _ in range(2):
        with pytest.raises(error):
            await LimitedStream(Inner(fail), limits, starts=True)(scope(), None, None)  # type: ignore[arg-type]
    assert limits.slots.in_use == 0


async def test_a_response_that_is_never_served_holds_nothing() -> None:
    """The slot is taken when serving begins, not when the response is made."""
    limits = Limits(LimitPolicy(streams=1), lambda: 0)
    made = [LimitedStream(Inner(None), limits, starts=True) for _ in range(5)]
    assert len(made) == 5
    assert limits.slots.in_use == 0


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (scope("GET"), 200),
        (scope("GET", (b"authorization", b"Bearer x")), 429),
        (scope("POST"), 429),
    ],
    ids=["may be an EventSource", "can send headers", "can send a POST"],
)
async def test_who_can_read_a_status_gets_one(asked: Any, status: int) -> None:
    """The others get a stream that ends; and the stream itself is never begun."""
    limits = Limits(LimitPolicy(streams=1), lambda: 0)
    limits.slots.take("somebody")
    inner = Inner(None)
    answer = await answered(LimitedStream(inner, limits, starts=False), asked)
    assert answer[0] == status
    assert (b"retry-after" in answer[1]) == (status == 429)
    assert answer[2].startswith(b"retry: ") == (status == 200)
    assert inner.asked == 0
    assert limits.slots.in_use == 1
