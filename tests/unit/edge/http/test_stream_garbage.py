"""What a stream leaves: nothing that only a full collection finds, since those are made seldom."""

from __future__ import annotations

import asyncio
import gc

import pytest

from tests.support.served_stream import ScriptedRun, Served, read_until, serving

STREAMS = 20


async def ended(served: Served, *, by_client: bool) -> None:
    """Serve one stream to its end."""
    client, run = await served.connect()
    with client:
        run.text()
        await read_until(client, b".1.1\n\n")
        if not by_client:
            run.done()
            await read_until(client, b"0\r\n\r\n")
    async with asyncio.timeout(10):
        while not run.left or served.limits.slots.in_use:
            await asyncio.sleep(0.001)
    served.streams.clear()


@pytest.mark.parametrize("by_client", [True, False], ids=["left", "completed"])
async def test_an_ended_stream_leaves_no_garbage_in_a_cycle(
    by_client: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Stream, recorder, scope, connection: each lets go of what holds it."""
    async with serving(Served()) as served:
        for _ in range(3):
            await ended(served, by_client=by_client)
        await asyncio.sleep(0.05)
        caplog.clear()
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            for _ in range(STREAMS):
                await ended(served, by_client=by_client)
            await asyncio.sleep(0.05)
            caplog.clear()
            gc.collect()
            kinds = sorted({type(each).__qualname__ for each in gc.garbage})
            left = len(gc.garbage)
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
        assert left < STREAMS, kinds
        assert ScriptedRun.__name__ not in kinds
