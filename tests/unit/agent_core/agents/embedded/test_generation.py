"""The bridge between the engine's thread and the event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest

from agent_core.agents.embedded.generation import Callback, Generation, Serve


def start(serve: Serve, left: list[Generation] | None = None) -> Generation:
    generation = Generation(serve, {}, (left if left is not None else []).append)
    generation.start()
    return generation


async def test_chunks_come_in_order_and_whole() -> None:
    """Nothing is lost, doubled or reordered, however fast the engine is."""

    def serve(_: Mapping[str, Any], callback: Callback) -> None:
        for number in range(20_000):
            assert not callback({"n": number})

    left: list[Generation] = []
    generation = start(serve, left)
    assert [chunk["n"] async for chunk in generation.chunks()] == list(range(20_000))
    assert left == [generation]


async def test_a_busy_loop_is_woken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks that pile up while the loop is busy cost one wake-up together."""
    loop = asyncio.get_running_loop()
    calls: list[object] = []
    wake = loop.call_soon_threadsafe

    def count(callback: Any, *args: Any) -> Any:
        calls.append(callback)
        return wake(callback, *args)

    monkeypatch.setattr(loop, "call_soon_threadsafe", count)
    done = threading.Event()

    def serve(_: Mapping[str, Any], callback: Callback) -> None:
        for number in range(1_000):
            callback({"n": number})
        done.set()

    generation = start(serve)
    done.wait()  # blocks the loop on purpose
    assert len([chunk async for chunk in generation.chunks()]) == 1_000
    assert len(calls) == 2  # one for the chunks, one for the end


async def test_stopping_leaves_the_engine_at_its_next_chunk() -> None:
    """After stop the callback answers True, and the thread's leaving is seen."""
    answers: list[bool] = []

    def serve(_: Mapping[str, Any], callback: Callback) -> None:
        while not answers or not answers[-1]:
            answers.append(callback({}))
            time.sleep(0.001)

    generation = start(serve)
    await anext(generation.chunks())
    generation.stop()
    await asyncio.wait_for(generation.wait_left(), 2)
    assert answers[-1]
    assert not any(answers[:-1])


async def test_what_the_engine_raises_reaches_the_reader() -> None:
    """A failure of the engine comes after the chunks that were there before it."""

    def serve(_: Mapping[str, Any], callback: Callback) -> None:
        callback({"n": 1})
        raise ValueError("refused")

    chunks = start(serve).chunks()
    assert await anext(chunks) == {"n": 1}
    with pytest.raises(ValueError, match="refused"):
        await anext(chunks)


async def test_what_the_callback_raises_reaches_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine swallows what a callback raises: it is kept for the reader, and the engine is left."""
    answers: list[bool] = []

    def serve(_: Mapping[str, Any], callback: Callback) -> None:
        answers.append(callback({}))

    generation = Generation(serve, {}, lambda _: None)
    monkeypatch.setattr(generation, "_chunks", None)
    generation.start()
    await generation.wait_left()
    assert isinstance(generation._failure, AttributeError)
    assert answers == [True]


def test_a_closed_loop_ends_the_request() -> None:
    """When nobody can read any more, the engine is left."""
    closed = threading.Event()
    answers: list[bool] = []

    def serve(_: Mapping[str, Any], callback: Callback) -> None:
        closed.wait()
        answers.append(callback({}))

    async def begin() -> Generation:
        return start(serve)

    loop = asyncio.new_event_loop()
    generation = loop.run_until_complete(begin())
    loop.close()
    closed.set()
    generation._thread.join(2)
    assert answers == [True]
