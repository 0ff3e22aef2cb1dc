"""A stream's slot, and how one that gets none is answered."""

from __future__ import annotations

from typing import Any

import pytest
from litestar.response.base import ASGIResponse

from edge.http.limits import LimitPolicy, Limits
from edge.http.stream_slot import StreamSlot


def scope(method: str = "GET", *headers: tuple[bytes, bytes]) -> Any:
    return {"type": "http", "method": method, "headers": list(headers), "state": {}}


async def answered(refusal: ASGIResponse, scope: Any) -> tuple[int, dict[bytes, bytes], bytes]:
    """Return the status, the headers and the body of a refusal."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    await refusal(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(message.get("body", b"") for message in sent)


def test_a_slot_is_held_from_when_it_is_taken_until_it_is_released_once() -> None:
    """A response that is never served holds none, and one that ends twice releases none of another's."""
    limits = Limits(LimitPolicy(streams=2), lambda: 0)
    slots = [StreamSlot(limits, starts=True) for _ in range(2)]
    assert limits.slots.in_use == 0
    assert [slot.take(scope()) for slot in slots] == [None, None]
    assert limits.slots.in_use == 2
    for _ in range(3):
        slots[0].release()
    assert limits.slots.in_use == 1


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
    """The others get a stream that ends; and none of them holds a slot."""
    limits = Limits(LimitPolicy(streams=1), lambda: 0)
    limits.slots.take("somebody")
    slot = StreamSlot(limits, starts=False)
    refusal = slot.take(asked)
    assert refusal is not None
    answer = await answered(refusal, asked)
    assert answer[0] == status
    assert (b"retry-after" in answer[1]) == (status == 429)
    assert answer[2].startswith(b"retry: ") == (status == 200)
    slot.release()
    assert limits.slots.in_use == 1


async def test_a_client_that_is_no_event_source_gets_a_status_in_any_case() -> None:
    """The AI SDK's ask by GET without a header, and take a stream that ends for an answer."""
    limits = Limits(LimitPolicy(streams=1), lambda: 0)
    limits.slots.take("somebody")
    refusal = StreamSlot(limits, starts=False, for_event_source=False).take(scope("GET"))
    assert refusal is not None
    assert (await answered(refusal, scope("GET")))[0] == 429
