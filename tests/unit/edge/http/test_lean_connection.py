"""What stands for uvicorn's own parts of a connection."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from edge.http.lean_connection import UNREAD, LeanFlowControl, Pipeline


def flow() -> LeanFlowControl:
    return LeanFlowControl(cast(asyncio.Transport, None))


async def test_who_drains_waits_until_the_transport_takes_more() -> None:
    """All of them; and nobody while it does."""
    control = flow()
    await control.drain()
    control.pause_writing()
    assert control.write_paused
    waiting = [asyncio.ensure_future(control.drain()) for _ in range(2)]
    await asyncio.sleep(0)
    assert not any(each.done() for each in waiting)
    control.resume_writing()
    await asyncio.gather(*waiting)
    assert not control.write_paused


async def test_a_transport_that_pauses_again_is_waited_for_again() -> None:
    """What was set once says nothing of the next time."""
    control = flow()
    for _ in range(2):
        control.pause_writing()
        waiting = asyncio.ensure_future(control.drain())
        await asyncio.sleep(0)
        assert not waiting.done()
        control.resume_writing()
        await waiting
    control.resume_writing()


def test_requests_leave_a_pipeline_in_the_order_in_which_they_came() -> None:
    """As uvicorn uses its deque: added on the left, taken from the right."""
    pipeline = Pipeline()
    for request in (1, 2, 3):
        pipeline.appendleft(request)
    assert [pipeline.pop() for _ in range(3)] == [1, 2, 3]
    assert not pipeline


async def test_who_receives_though_a_writer_is_open_is_told_so() -> None:
    """It would wait for ever."""
    UNREAD.set()
    UNREAD.clear()
    with pytest.raises(RuntimeError, match="writer"):
        await UNREAD.wait()
