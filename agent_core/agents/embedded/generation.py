"""One request inside the engine: a thread computes, the event loop reads."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, TypeAlias

from agent_core.agents.embedded.answer import Chunk

Callback: TypeAlias = Callable[[Chunk], bool]
Serve: TypeAlias = Callable[[Mapping[str, Any], Callback], object]
"""The engine's blocking call: it hands each chunk to the callback, and leaves when that returns True."""


class Generation:
    """A request on its way through the engine.

    The thread is no daemon: an interpreter that exits while a thread is inside the engine
    aborts. Instead the callback sees that the main thread has ended, and leaves.

    Args:
        serve: The engine's blocking call.
        request: What is asked, in OpenAI's form.
        on_left: Called in the event loop when the thread has left the engine.
    """

    def __init__(
        self, serve: Serve, request: Mapping[str, Any], on_left: Callable[[Generation], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_left = on_left
        self._chunks: deque[Chunk] = deque()
        self._arrived = asyncio.Event()
        self._woken = False
        self._stopping = False
        self._failure: Exception | None = None
        self._left = asyncio.Event()
        self._thread = threading.Thread(
            target=self._run, args=(serve, request), name="embedded-model", daemon=False
        )

    def start(self) -> None:
        """Begin to compute."""
        self._thread.start()

    def stop(self) -> None:
        """Have the engine leave the request at its next chunk: within a token, or 64 of the prompt."""
        self._stopping = True

    async def wait_left(self) -> None:
        """Return when the thread has left the engine."""
        await self._left.wait()

    async def chunks(self) -> AsyncGenerator[Chunk]:
        """Yield the chunks in order, each as soon as it is there.

        Raises:
            Exception: What the engine, or the callback, raised.
        """
        ended = False
        while not ended:
            await self._arrived.wait()
            self._arrived.clear()
            # Both are read before the chunks: what comes later wakes this loop again.
            ended = self._left.is_set()
            self._woken = False
            while self._chunks:
                yield self._chunks.popleft()
        if self._failure is not None:
            raise self._failure

    def _run(self, serve: Serve, request: Mapping[str, Any]) -> None:
        """Compute the answer. Runs in the thread."""
        try:
            serve(request, self._on_chunk)
        except Exception as error:  # noqa: BLE001  (it is raised again where the chunks are read)
            self._failure = error
        finally:
            self._call_in_loop(self._end)

    def _on_chunk(self, chunk: Chunk) -> bool:
        """Take a chunk; return True to leave. Runs in the thread.

        The engine swallows what a callback raises, so nothing may get out of here.
        """
        try:
            if self._stopping or not threading.main_thread().is_alive():
                return True
            self._chunks.append(chunk)
            # One wake-up at a time, however many chunks a busy event loop has not read yet.
            if not self._woken:
                self._woken = True
                return not self._call_in_loop(self._arrived.set)
        except Exception as error:  # noqa: BLE001  (see _run)
            self._failure = error
            return True
        return False

    def _call_in_loop(self, callback: Callable[[], None]) -> bool:
        """Have the event loop call; return False when it is closed and nobody reads any more."""
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:
            return False
        return True

    def _end(self) -> None:
        """Tell everybody that the thread has left the engine. Runs in the event loop."""
        self._left.set()
        self._arrived.set()
        self._on_left(self)
