"""Clients that are full again and again: what they are told has no gap, however it is carried."""

from __future__ import annotations

import asyncio
from typing import Final
from uuid import uuid4

from edge.upstream.link_follow import WINDOW_EVENTS
from tests.support.core import running_core
from tests.support.upstream import CALLER, Reader, upstream
from tokenwire.v1 import event_pb2
from tokenwire.v1.run_pb2 import RunSpec

BUDGET_BYTES: Final = 2_048
LARGE: Final = "x" * 20_000
"""A word that is an event larger than all credit."""
WORDS: Final = [*["word"] * 700, LARGE, LARGE, *["word"] * 700]


class Sips(Reader):
    """Is full after every few events."""

    def __init__(self) -> None:
        super().__init__()
        self.since = 0
        """How many events have come since it was full."""
        self.sips = 0
        """How often it was full."""
        self.text = ""

    def event(self, epoch: int, sequence: int, event: event_pb2.Event) -> None:
        super().event(epoch, sequence, event)
        self.text += event.text_delta.content
        self.since += 1
        if self.since >= 7 and not self.full:
            self.full = True
            self.sips += 1


async def test_a_client_that_is_full_again_and_again_gets_all_of_it_once(transport: str) -> None:
    """It gets little more while it is full; an event that is larger than the budget passes."""
    async with (
        running_core() as core,
        upstream(f"127.0.0.1:{core.server.port}", transport=transport, budget_bytes=BUDGET_BYTES) as (way, _),
    ):
        sink = Sips()
        spec = RunSpec(agent="echo", message=" ".join(WORDS), request_id=uuid4().hex)
        call = way.stream_run(spec, CALLER)
        call.start(sink)
        most = 0
        while not sink.ends:
            await sink.until(lambda: sink.full or bool(sink.ends))
            came = len(sink.sequences)
            for _ in range(20):  # what is under way has come then
                await asyncio.sleep(0)
            most = max(most, len(sink.sequences) - came)
            sink.since, sink.full = 0, False
            call.resume()
        assert sink.ended
    assert sink.sequences == list(range(1, len(WORDS) + 3))
    assert sink.text == "".join(f"{word} " for word in WORDS)
    assert sink.sips >= 5  # over calls, more comes at once on a busy machine
    assert most <= WINDOW_EVENTS
