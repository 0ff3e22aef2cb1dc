"""The assistant with a configured model, against a real server: the embedded engine's own listener.

It is llama.cpp's HTTP server, unmodified, with a key and the weights from the cache, in a process of its own.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr

from agent_core.agents import AgentError, Finish, RunRequest, TextDelta, Turn
from agent_core.agents.embedded import ModelSettings, ensure_weights
from agent_core.agents.endpoint.assistant import EndpointAssistant
from agent_core.agents.endpoint.settings import EndpointSettings
from tests.support.endpoint_assistant import TOOLS
from tests.support.processes import ROOT
from tests.support.spans import Spans, spans

__all__ = ["spans"]

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("endpoint")]

KEY = "sk-engine-0123456789"
LISTENER = ROOT / "tests" / "support" / "engine_listener.py"
STORY = "Tell a very long story about a lighthouse."
LONG_PROMPT = "word " * 1500
"""A quarter of a minute of reading for the model."""
IDLE_S = 5.0
"""Generous: on an idle machine the engine is left within a second."""
READ_S = 60.0
"""Generous for the long prompt: while it reads one, this server does not look whether anybody is there."""


@dataclass
class Server:
    """The running listener."""

    process: asyncio.subprocess.Process
    url: str

    async def busy(self) -> int:
        """Return how many requests are inside the engine."""
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            answer = await client.get(f"{self.url}/slots", headers={"authorization": f"Bearer {KEY}"})
        return sum(slot["is_processing"] for slot in answer.json())

    def settings(self, **more: Any) -> EndpointSettings:
        given = {"url": f"{self.url}/v1", "key": SecretStr(KEY), "tools": "off", "max_tokens": 300, **more}
        return EndpointSettings(**given)


async def start() -> Server:
    weights = await ensure_weights(ModelSettings().cache_folder())
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(LISTENER), str(weights), KEY),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        url = (await process.stdout.readline()).decode().strip()
    assert url.startswith("http://127.0.0.1:")
    return Server(process, url)


async def stop(server: Server) -> None:
    if server.process.returncode is None:
        server.process.kill()
    await server.process.wait()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Server]:
    running = await start()
    yield running
    await stop(running)


async def told(settings: EndpointSettings, message: str, history: tuple[Turn, ...] = ()) -> list[Any]:
    async with EndpointAssistant(settings) as assistant:
        return [event async for event in assistant(RunRequest(message, history=history))]


async def failure(settings: EndpointSettings) -> AgentError:
    with pytest.raises(AgentError) as caught:
        await told(settings, "Hello")
    return caught.value


async def until_busy(server: Server, count: int, within_s: float = 30.0) -> None:
    async with asyncio.timeout(within_s):
        while await server.busy() != count:
            await asyncio.sleep(0.05)


async def test_it_answers_token_by_token(server: Server, spans: Spans) -> None:
    """The only model is found; text comes in many pieces; usage counts them; the trace has the times."""
    events = await told(server.settings(max_tokens=40), STORY)
    *deltas, finish = events
    assert all(isinstance(delta, TextDelta) for delta in deltas)
    assert len(deltas) >= 5
    assert isinstance(finish, Finish)
    assert finish.reason in {"stop", "length"}
    assert finish.usage is not None
    assert (finish.usage.input_tokens or 0) > 10
    assert (finish.usage.output_tokens or 0) >= len(deltas)
    (span,) = spans.named("chat smollm2")
    attributes = dict(span.attributes or {})
    assert float(str(attributes["gen_ai.response.time_to_first_chunk"])) > 0
    assert attributes["gen_ai.usage.output_tokens"] == finish.usage.output_tokens
    assert attributes["gen_ai.response.model"] == "smollm2"


async def test_the_longest_answer_is_bounded(server: Server) -> None:
    """The engine honours the limit, and says that it did."""
    finish = (await told(server.settings(max_tokens=5), STORY))[-1]
    assert (finish.reason, finish.usage.output_tokens) == ("length", 5)


async def test_the_history_is_read(server: Server) -> None:
    """Earlier turns are part of what the model is given."""
    history = (Turn("user", "My cat is called Minka."), Turn("assistant", "What a nice name for a cat!"))
    alone = (await told(server.settings(max_tokens=5), "Say hello."))[-1]
    after = (await told(server.settings(max_tokens=5), "Say hello.", history))[-1]
    assert after.usage.input_tokens >= alone.usage.input_tokens + 15


async def test_tools_can_be_offered_to_a_model_that_uses_none(server: Server) -> None:
    """This one is too small to call any: it answers all the same."""
    events = await told(server.settings(tools=TOOLS, max_tokens=40), "Say hello.")
    assert isinstance(events[-1], Finish)


@pytest.mark.parametrize(("message", "within_s"), [(STORY, IDLE_S), (LONG_PROMPT, READ_S)])
async def test_cancelled_means_idle(server: Server, message: str, within_s: float) -> None:
    """The engine has left the request soon after, in mid-answer as while it reads the prompt."""
    async with EndpointAssistant(server.settings(max_tokens=1000)) as assistant:

        async def ask() -> None:
            async for _ in assistant(RunRequest(message)):
                pass

        task = asyncio.create_task(ask())
        await until_busy(server, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until_busy(server, 0, within_s)


async def test_a_wrong_key_is_told(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """As the operator's fault, without the key; the log has the server's words."""
    for name in (None, "smollm2"):
        error = await failure(server.settings(key=SecretStr("sk-wrong-9876543210"), name=name))
        assert (error.code, error.details["reason"]) == ("UNAUTHENTICATED", "MODEL_KEY_REFUSED")
        assert not error.retryable
    assert "Invalid API Key" in caplog.text
    assert "sk-wrong-9876543210" not in caplog.text


async def test_an_unknown_model_is_told(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """This server answers with the model it has, whatever it is asked for: the log warns of it.

    Where there is nothing at all, the answer is NOT_FOUND.
    """
    events = await told(server.settings(name="no-such-model", max_tokens=5), "Hello")
    assert isinstance(events[-1], Finish)
    assert "does not list the model no-such-model, but: smollm2" in caplog.text
    error = await failure(server.settings(url=f"{server.url}/nothing/v1", name="no-such-model"))
    assert (error.code, error.details["reason"]) == ("NOT_FOUND", "MODEL_UNKNOWN")


async def test_a_conversation_that_is_too_long_is_told(server: Server) -> None:
    """A single message that the model can't read is the user's to shorten."""
    with pytest.raises(AgentError) as caught:
        await told(server.settings(), "word " * 3000)
    assert (caught.value.code, caught.value.details["reason"]) == ("INVALID_ARGUMENT", "CONTEXT_OVERFLOW")


async def test_a_server_that_dies_in_mid_stream_is_told() -> None:
    """What came is told, then that it broke off; after that nobody is there."""
    server = await start()
    said: list[Any] = []
    try:
        async with EndpointAssistant(server.settings(retries=0)) as assistant:

            async def ask() -> None:
                async for event in assistant(RunRequest(STORY)):
                    said.append(event)
                    if len(said) == 5:
                        os.kill(server.process.pid, signal.SIGKILL)

            with pytest.raises(AgentError) as caught:
                await ask()
            assert (caught.value.code, caught.value.details["reason"]) == ("UNAVAILABLE", "MODEL_CUT_OFF")
            assert caught.value.retryable
            assert len(said) >= 5
            assert not any(isinstance(event, Finish) for event in said)
            with pytest.raises(AgentError) as caught:
                await anext(aiter(assistant(RunRequest("Hello"))))
            assert (caught.value.code, caught.value.details["reason"]) == ("UNAVAILABLE", "MODEL_UNAVAILABLE")
    finally:
        await stop(server)
