"""The embedded model's engine: llama.cpp in this process, behind an async generator."""

from __future__ import annotations

import asyncio
import logging
import platform
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

from agent_core.agents.embedded.answer import Answer
from agent_core.agents.embedded.errors import INSTALL, ModelUnavailableError
from agent_core.agents.embedded.generation import Generation
from agent_core.agents.embedded.settings import ModelSettings
from agent_core.agents.events import AgentError, Finish, TextDelta

log = logging.getLogger(__name__)

BATCH_TOKENS: Final = 64
"""Prompt tokens between two chances to cancel: 0.4 to 0.7 s of work. With the engine's own 2,048 a
cancelled prompt goes on for up to 17 s."""

SOCKET_NAME: Final = "engine.sock"
"""The engine takes a host name for a Unix socket's path when it ends in `.sock`."""

STOP_S: Final = 10.0
"""How long a cancelled request is waited for. It takes 0.7 s at most on an idle machine."""


class Engine:
    """A loaded model. It belongs to the event loop that loaded it.

    Args:
        weights: The GGUF file.
        settings: How to run it.
    """

    def __init__(self, weights: Path, settings: ModelSettings) -> None:
        self._weights = weights
        self._settings = settings
        self._server: Any = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        # Requests wait here and not in the engine: there they could not be cancelled.
        self._slots = asyncio.Semaphore(settings.parallel)
        self._running: set[Generation] = set()
        self._waiting = 0

    @property
    def active(self) -> int:
        """How many requests are inside the engine."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """How many requests wait for a place in the engine."""
        return self._waiting

    async def load(self) -> None:
        """Load the model, in a thread. Takes about a second.

        Raises:
            ModelUnavailableError: The runtime is missing, does not run here, or refuses the weights.
        """
        began = time.perf_counter()
        _check_processor()
        self._folder = tempfile.TemporaryDirectory(prefix="tw-")
        try:
            self._server = await asyncio.to_thread(self._start, Path(self._folder.name, SOCKET_NAME))
        except BaseException:
            self._folder.cleanup()
            raise
        log.info(
            "Loaded %s in %.1f s. It is only for trying Tokenwire: its answers are often wrong, and it "
            "calls no tools",
            self._weights.stem,
            time.perf_counter() - began,
        )

    async def close(self) -> None:
        """Cancel what runs, wait for it, and unload the model."""
        server, self._server = self._server, None
        running = list(self._running)
        for generation in running:
            generation.stop()
        for generation in running:
            await _wait_left(generation)
        del server
        if self._folder is not None:
            self._folder.cleanup()

    async def chat(
        self, messages: Sequence[Mapping[str, str]], *, max_tokens: int
    ) -> AsyncGenerator[TextDelta | Finish]:
        """Yield the answer's pieces, each as soon as it is there, then how it ended.

        Waits in line while all places are taken. When it is closed or cancelled, it has
        stopped the engine's work before it returns.

        Args:
            messages: The conversation, in OpenAI's form, oldest first.
            max_tokens: The longest answer, in tokens.

        Raises:
            AgentError: The conversation is too long, or the engine failed.
        """
        generation = await self._begin(
            {
                "messages": list(messages),
                "stream": True,
                "stream_options": {"include_usage": True},
                "temperature": 0,
                "max_tokens": max_tokens,
                "return_progress": True,  # chunks during the prompt too: chances to cancel
                "timings_per_token": True,  # counts the tokens of each piece
            }
        )
        answer = Answer()
        try:
            async with aclosing(generation.chunks()) as chunks:
                async for chunk in chunks:
                    if piece := answer.feed(chunk):
                        yield piece
            if self._server is None:
                raise _unloaded()
            yield answer.finish()
        finally:
            generation.stop()
            await _wait_left(generation)

    async def _begin(self, request: Mapping[str, Any]) -> Generation:
        """Return the request, started, as soon as there is a place for it."""
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        if self._server is None:
            self._slots.release()
            raise _unloaded()
        generation = Generation(self._server.handle_chat_completions, request, self._leave)
        self._running.add(generation)
        try:
            generation.start()
        except RuntimeError:  # the system has no thread left
            self._leave(generation)
            raise
        return generation

    def _leave(self, generation: Generation) -> None:
        """Give the place of a request that has left the engine to the next."""
        self._running.discard(generation)
        self._slots.release()

    def _start(self, socket: Path) -> Any:
        """Return the running engine. Blocks."""
        try:
            # Imported late: 100 MB that nobody needs who uses another model.
            import xllamacpp  # noqa: PLC0415
        except ImportError as error:
            raise ModelUnavailableError(f"its runtime is missing ({error})", INSTALL) from error
        settings = self._settings
        params = xllamacpp.CommonParams()
        params.model.path = str(self._weights)
        params.n_parallel = settings.parallel
        params.n_ctx = settings.context_tokens * settings.parallel
        params.n_batch = params.n_ubatch = BATCH_TOKENS
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings.threads
        params.n_gpu_layers = 0
        params.fit_params = False
        params.warmup = False
        params.cache_ram_mib = 0  # its default is 8 GiB
        params.verbosity = 0
        # The engine always listens for HTTP, without a key: here only this user can reach it.
        params.hostnames = [str(socket)]
        params.n_threads_http = 1
        params.ui = False
        try:
            return xllamacpp.Server(params)
        except Exception as error:
            said = str(error).rstrip(".")
            remedy = f"The runtime says: {said}. Weights: {self._weights}; socket: {socket}."
            raise ModelUnavailableError("it can't be loaded", remedy) from error


async def _wait_left(generation: Generation) -> None:
    """Wait until the request has left the engine, but not for ever."""
    try:
        async with asyncio.timeout(STOP_S):
            await generation.wait_left()
    except TimeoutError:
        log.exception("The embedded model did not stop within %.0f s of being cancelled", STOP_S)


def _unloaded() -> AgentError:
    return AgentError("UNAVAILABLE", "The embedded model is being unloaded.", retryable=True)


def _check_processor() -> None:
    """Refuse a processor on which the runtime would end the process with an illegal instruction.

    Raises:
        ModelUnavailableError: It is an x86 without AVX2 and FMA.
    """
    if platform.machine().lower() not in {"x86_64", "amd64"}:
        return
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return  # not Linux: nothing to read it from
    if not {"avx2", "fma"} <= flags:
        raise ModelUnavailableError(
            "this processor has no AVX2 and FMA", "Use another model, through --model-url."
        )
