"""The assistant with its real model: fetched once into the user's cache folder, loaded once here."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from agent_core.agents import AgentError, Finish, RunRequest, TextDelta, Turn
from agent_core.agents.embedded import Engine
from agent_core.agents.embedded.assistant import EmbeddedAssistant
from tests.support.spans import use_provider

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("embedded model")]

STORY = "Tell a very long story about a lighthouse."
LONG_PROMPT = "word " * 3000
"""Half a minute of reading for the model."""
STOP_S = 5.0
"""Generous: it takes 0.7 s at most on an idle machine."""

EXIT = """
import asyncio, sys
from agent_core.agents import RunRequest
from agent_core.agents.embedded.assistant import EmbeddedAssistant

assistant = EmbeddedAssistant()

async def begin(message):
    global run, task
    await assistant.__aenter__()
    run = assistant(RunRequest(message))
    task = asyncio.ensure_future(anext(run))
    while not assistant.active:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)

asyncio.new_event_loop().run_until_complete(begin(sys.argv[1]))
print("leaving", assistant.active)
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def assistant() -> AsyncIterator[EmbeddedAssistant]:
    async with EmbeddedAssistant() as agent:
        assert agent._engine, "the model can't be had: the log says why"
        yield agent


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    use_provider(provider, monkeypatch)
    return exporter


def engine_of(assistant: EmbeddedAssistant) -> Engine:
    assert assistant._engine
    return assistant._engine


async def answer_to(
    assistant: EmbeddedAssistant, message: str, history: tuple[Turn, ...] = ()
) -> tuple[list[TextDelta], Finish]:
    events: list[Any] = [event async for event in assistant(RunRequest(message, history=history))]
    *deltas, finish = events
    assert isinstance(finish, Finish)
    assert all(isinstance(delta, TextDelta) for delta in deltas)
    return deltas, finish


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(STOP_S):
        while not condition():
            await asyncio.sleep(0.01)


async def cancel(task: asyncio.Task[Any]) -> float:
    """Cancel the task and return how many seconds it took to end."""
    began = time.perf_counter()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return time.perf_counter() - began


async def test_it_answers_token_by_token(assistant: EmbeddedAssistant) -> None:
    """A plain question has a right answer, in many pieces that come one after the other."""
    times: list[float] = []
    events: list[Any] = []
    async for event in assistant(RunRequest("List three fruits.")):
        events.append(event)
        times.append(time.perf_counter())
    *deltas, finish = events
    text = "".join(delta.content for delta in deltas)
    assert "banana" in text.lower()
    assert len(deltas) >= 10
    assert times[-1] - times[0] > 0.05  # not held back and handed out together
    assert finish.reason == "stop"
    assert finish.usage.input_tokens > 10
    # The model's own end mark is an output token without text.
    assert finish.usage.output_tokens == sum(delta.token_count for delta in deltas) + 1


async def test_pieces_of_several_tokens_count_them(assistant: EmbeddedAssistant) -> None:
    """Each emoji takes this model three tokens: their counts add up to the usage."""
    deltas, finish = await answer_to(assistant, "Repeat exactly: 🎉🦄🌍🎉🦄🌍")
    assert max(delta.token_count for delta in deltas) > 1
    assert finish.usage
    assert finish.usage.output_tokens
    assert 0 <= finish.usage.output_tokens - sum(delta.token_count for delta in deltas) <= 3


async def test_the_history_is_read(assistant: EmbeddedAssistant) -> None:
    """Earlier turns are part of what the model is given."""
    history = (Turn("user", "My cat is called Minka."), Turn("assistant", "What a nice name for a cat!"))
    _, alone = await answer_to(assistant, "Say hello.")
    _, after = await answer_to(assistant, "Say hello.", history)
    assert alone.usage
    assert after.usage
    assert (after.usage.input_tokens or 0) >= (alone.usage.input_tokens or 0) + 15


async def test_cancelled_means_stopped(assistant: EmbeddedAssistant) -> None:
    """When a run that was cancelled in mid-answer has ended, the engine has left it."""
    seen = asyncio.Event()

    async def run() -> None:
        async with aclosing(assistant(RunRequest(STORY))) as events:  # type: ignore[type-var]
            async for _ in events:
                seen.set()

    task = asyncio.create_task(run())
    await asyncio.wait_for(seen.wait(), 30)
    assert assistant.active == 1
    assert await cancel(task) < STOP_S
    assert assistant.active == 0


async def test_closing_the_stream_stops_too(assistant: EmbeddedAssistant) -> None:
    """A reader that leaves after the first token leaves no work behind."""
    events: Any = assistant(RunRequest(STORY))
    await anext(events)
    await events.aclose()
    assert assistant.active == 0


async def test_a_long_prompt_can_be_cancelled(assistant: EmbeddedAssistant) -> None:
    """Cancelling works while the model still reads, and the engine serves the next at once."""
    task = asyncio.create_task(answer_to(assistant, LONG_PROMPT))
    await until(lambda: assistant.active == 1)
    await asyncio.sleep(0.3)
    assert await cancel(task) < STOP_S
    assert assistant.active == 0
    async with asyncio.timeout(15):
        await answer_to(assistant, "List three fruits.")


async def test_two_are_answered_at_once(assistant: EmbeddedAssistant) -> None:
    """Two runs share the engine; both are complete."""
    both = asyncio.gather(*(answer_to(assistant, "List three fruits.") for _ in range(2)))
    await until(lambda: assistant.active == 2)
    for deltas, finish in await both:
        assert "banana" in "".join(delta.content for delta in deltas).lower()
        assert finish.reason == "stop"


async def test_further_runs_wait_in_line(assistant: EmbeddedAssistant) -> None:
    """A third run waits for a place; cancelled there it is gone at once, otherwise it gets its turn."""
    engine = engine_of(assistant)
    first, second = (asyncio.create_task(answer_to(assistant, STORY)) for _ in range(2))
    await until(lambda: assistant.active == 2)
    third, fourth = (asyncio.create_task(answer_to(assistant, "List three fruits.")) for _ in range(2))
    await until(lambda: engine.waiting == 2)
    await cancel(third)
    assert (assistant.active, engine.waiting) == (2, 1)
    await cancel(first)
    assert (await fourth)[1].reason == "stop"
    await cancel(second)
    assert (assistant.active, engine.waiting) == (0, 0)


async def test_a_message_that_is_too_long_says_so(assistant: EmbeddedAssistant) -> None:
    """What does not fit into the context is refused with both numbers."""
    with pytest.raises(AgentError, match="too long") as caught:
        await answer_to(assistant, "word " * 6000)
    assert caught.value.code == "INVALID_ARGUMENT"
    assert int(caught.value.details["tokens"]) > int(caught.value.details["limit"]) == 4096
    assert assistant.active == 0


async def test_a_long_session_goes_on(assistant: EmbeddedAssistant) -> None:
    """The older half of a conversation is left out until it fits."""
    history = (Turn("user", "word " * 3000), Turn("assistant", "word " * 3000)) * 2
    deltas, _ = await answer_to(assistant, "List three fruits.", history)
    assert "banana" in "".join(delta.content for delta in deltas).lower()


async def test_the_event_loop_lives(assistant: EmbeddedAssistant) -> None:
    """The model computes in threads of its own, and meanwhile the loop turns as often as ever."""
    own_s, all_s, turns = time.thread_time(), time.process_time(), 0
    task = asyncio.create_task(answer_to(assistant, "List three fruits."))
    while not task.done():
        await asyncio.sleep(0.005)
        turns += 1
    deltas, _ = await task
    # Of CPU time, not of the clock's: on a busy machine each turn may be late.
    assert time.thread_time() - own_s < 0.3 * (time.process_time() - all_s)
    assert turns > len(deltas) / 2


async def test_a_run_has_a_span(assistant: EmbeddedAssistant, exporter: InMemorySpanExporter) -> None:
    """The model call is a child of the span that is current in the agent's task."""
    with trace.get_tracer("test").start_as_current_span("invoke_agent assistant") as parent:
        _, finish = await answer_to(assistant, "List three fruits.")
    chat, _ = exporter.get_finished_spans()
    assert (chat.name, chat.status.status_code) == ("chat smollm2-135m-instruct", StatusCode.UNSET)
    assert chat.parent == parent.get_span_context()
    assert chat.attributes
    assert finish.usage
    assert chat.attributes["gen_ai.usage.output_tokens"] == finish.usage.output_tokens
    assert chat.attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert 0 < float(str(chat.attributes["gen_ai.response.time_to_first_chunk"])) < 10


async def test_spans_tell_how_runs_failed(
    assistant: EmbeddedAssistant, exporter: InMemorySpanExporter
) -> None:
    """An error is an error and a cancel is none."""
    with pytest.raises(AgentError):
        await answer_to(assistant, "word " * 6000)
    task = asyncio.create_task(answer_to(assistant, STORY))
    await until(lambda: assistant.active == 1)
    await cancel(task)
    failed, cancelled = exporter.get_finished_spans()
    assert failed.status.status_code is StatusCode.ERROR
    assert (failed.attributes or {})["error.type"] == "INVALID_ARGUMENT"
    assert cancelled.status.status_code is StatusCode.UNSET
    assert (cancelled.attributes or {})["tokenwire.cancelled"] is True


async def test_nobody_else_reaches_the_engine(assistant: EmbeddedAssistant) -> None:
    """The engine's own listener is a Unix socket in a folder of this user's alone, and no port."""
    engine = engine_of(assistant)
    assert engine._folder
    folder = Path(engine._folder.name)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700  # noqa: ASYNC240  (a test may block)
    assert engine._server.listening_address == f"unix://{folder / 'engine.sock'}"


async def test_leaving_stops_what_runs() -> None:
    """Leaving the agent ends its runs with an error fit for a user, and removes the socket's folder."""
    async with EmbeddedAssistant() as agent:
        tasks = [asyncio.create_task(answer_to(agent, STORY)) for _ in range(3)]
        await until(lambda: agent.active == 2)
        engine = engine_of(agent)
        assert engine._folder
        folder = Path(engine._folder.name)
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [getattr(end, "code", end) for end in ends] == ["UNAVAILABLE"] * 3
    assert engine.active == 0
    assert not folder.exists()  # noqa: ASYNC240  (a test may block)


@pytest.mark.parametrize("message", [STORY, LONG_PROMPT], ids=["answer", "prompt"])
async def test_the_interpreter_may_exit_in_the_middle(message: str) -> None:
    """A process that ends while the model works, without leaving the agent, ends cleanly and soon."""
    command = [sys.executable, "-c", EXIT, message]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "leaving 1\n"), done.stderr


async def test_the_weights_can_be_fetched_ahead(assistant: EmbeddedAssistant) -> None:
    """The command that `make` uses says where the weights lie, and nothing else."""
    command = [sys.executable, "-m", "agent_core.agents.embedded"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{engine_of(assistant)._weights}\n"


async def test_the_command_says_why_it_failed(tmp_path: Path) -> None:
    """A cache that can't be used is a line for the operator and exit status 1."""
    (tmp_path / "file").touch()
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "agent_core.agents.embedded"],
        env={**os.environ, "TOKENWIRE_MODEL_CACHE": str(tmp_path / "file" / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "TOKENWIRE_MODEL_CACHE" in done.stderr
    assert "Traceback" not in done.stderr
