"""The agent `pace`."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from types import SimpleNamespace

import pytest

from agent_core.agents import AgentError, Finish, RunRequest, Usage
from agent_core.agents.pace import pace, pace_text, pace_token


async def tokens_of(message: str) -> tuple[list[str], Finish]:
    events = [event async for event in pace(RunRequest(message))]
    finish = events.pop()
    assert isinstance(finish, Finish)
    texts = [event for event in events if isinstance(event, str)]
    assert len(texts) == len(events)
    return texts, finish


async def test_every_token_says_its_number() -> None:
    """The answer is the tokens that were ordered, numbered from 1, each of the ordered size."""
    texts, finish = await tokens_of('{"tokens": 12, "size": 4}')
    assert texts == [f"{number:04d}" for number in range(1, 13)]
    assert "".join(texts) == pace_text(12, 4)
    assert finish == Finish("stop", Usage(input_tokens=0, output_tokens=12))


async def test_an_empty_order_is_a_hundred_tokens() -> None:
    """Every field may be left out."""
    texts, _ = await tokens_of("{}")
    assert (len(texts), len(texts[0])) == (100, 5)


def test_a_number_that_is_too_long_keeps_its_end() -> None:
    """A token has exactly its size, whatever its number."""
    assert [pace_token(1234, size) for size in (1, 2, 4, 6)] == ["4", "34", "1234", "001234"]


async def test_no_tokens_are_an_answer_too() -> None:
    """An order of zero tokens ends at once, without text."""
    texts, finish = await tokens_of('{"tokens": 0}')
    assert texts == []
    assert finish.usage == Usage(input_tokens=0, output_tokens=0)


async def test_the_schedule_is_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that is slow in the beginning does not make the end later."""
    now_s = 7.0

    async def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: SimpleNamespace(time=lambda: now_s))
    async with aclosing(pace(RunRequest('{"tokens": 41, "rate": 100, "delay_s": 0.1}'))) as events:  # type: ignore[type-var]
        async for event in events:
            if event == pace_token(5, 5):
                now_s += 0.2
    assert now_s == pytest.approx(7.5)


async def test_full_speed_leaves_the_loop_alive() -> None:
    """A run without a rate can be cancelled, though it never waits."""

    async def drain() -> None:
        async for _ in pace(RunRequest('{"tokens": 10000000, "size": 1}')):
            pass

    task = asyncio.create_task(drain())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 30)


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ('{"tokens": -1}', "tokens"),
        ('{"tokens": "10"}', "tokens"),
        ('{"tokens": 1.5}', "tokens"),
        ('{"rate": -0.5}', "rate"),
        ('{"rate": 1e999}', "rate"),
        ('{"size": 0}', "size"),
        ('{"delay_s": null}', "delay_s"),
        ('{"speed": 3}', "speed"),
        ("List three fruits.", "message"),
        ('{"tokens": 1', "message"),
        ("", "message"),
    ],
)
async def test_a_bad_order_names_its_field(message: str, field: str) -> None:
    """What pace can't use is refused before the first token, and the answer says which field it is."""
    with pytest.raises(AgentError) as caught:
        await tokens_of(message)
    assert caught.value.code == "INVALID_ARGUMENT"
    assert caught.value.details == {"field": field}
    assert field in caught.value.message
    assert not caught.value.retryable


async def test_a_list_is_no_order() -> None:
    """JSON that is no object is refused."""
    with pytest.raises(AgentError, match="Expected `object`"):
        await tokens_of("[1, 2]")
