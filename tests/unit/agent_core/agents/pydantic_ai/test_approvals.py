"""Tools that need approval: what a person is asked, and what becomes of the answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic_ai import Agent, ApprovalRequired, RunContext
from pydantic_ai.capabilities import HandleDeferredToolCalls
from pydantic_ai.messages import ModelMessage, ToolCallPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, DeltaToolCalls, FunctionModel
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults

from agent_core.agents import InputExpired, RunRequest, ToolResult, ToolStart
from agent_core.agents.inputs import Question
from agent_core.agents.pydantic_ai import PydanticAgent
from agent_core.agents.pydantic_ai.approvals import SHOWN_CHARACTERS, question_of


class Person:
    """Answers all questions alike, once all of them are asked."""

    def __init__(self, answer: bool | Exception | None, questions: int = 1) -> None:
        self.asked: list[Question] = []
        self._answer = answer
        self._all = asyncio.Barrier(questions)

    async def ask(self, question: Question) -> Any:
        self.asked.append(question)
        async with asyncio.timeout(10):
            await self._all.wait()
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def ask_blocking(self, question: Question) -> Any:
        raise NotImplementedError

    def deadline(self) -> float:
        return 0.0


def deleting(*calls: DeltaToolCalls, **more: Any) -> tuple[Agent[Any, Any], list[int]]:
    """Return an agent whose model wants to delete rows, and what was deleted."""
    deleted: list[int] = []
    rounds: list[str | DeltaToolCalls] = [*calls, "Done."]

    async def function(_: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str | DeltaToolCalls]:
        del info
        yield rounds.pop(0)

    agent = Agent(FunctionModel(stream_function=function, model_name="function"), **more)

    @agent.tool_plain(requires_approval=True)
    def delete(row: int) -> str:
        deleted.append(row)
        return "deleted"

    @agent.tool
    def pay(ctx: RunContext[None], amount: int) -> str:
        if not ctx.tool_call_approved:
            raise ApprovalRequired(metadata={"prompt": f"Pay {amount} €?", "timeout_s": 7})
        deleted.append(amount)
        return "paid"

    return agent, deleted


def calls(tool: str, *arguments: str) -> DeltaToolCalls:
    return {
        number: DeltaToolCall(tool, text, tool_call_id=f"c{number}") for number, text in enumerate(arguments)
    }


async def told(agent: Agent[Any, Any], person: Person | None) -> list[Any]:
    async with PydanticAgent(agent) as adapted:
        return [event async for event in adapted(RunRequest("Hi", inputs=person))]


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (True, "deleted"),
        (False, "The user has denied this call."),
        (None, "The user has declined to decide on this call: it was not made."),
    ],
)
async def test_a_call_is_made_only_if_a_person_allows_it(answer: bool | None, result: str) -> None:
    """The model is told what was decided, and the run continues; several calls are asked for at once."""
    agent, deleted = deleting(calls("delete", '{"row": 3}', '{"row": 4}'))
    person = Person(answer, questions=2)
    events = await told(agent, person)
    assert sorted(question.prompt for question in person.asked) == [
        'Allow delete with {"row":3}?',
        'Allow delete with {"row":4}?',
    ]
    assert {question.kind for question in person.asked} == {"approval"}
    assert sorted(deleted) == ([3, 4] if answer else [])
    started = [event.call_id for event in events if isinstance(event, ToolStart)]
    ended = [(event.call_id, event.result) for event in events if isinstance(event, ToolResult)]
    assert sorted(started) == ["c0", "c1"]
    assert sorted(ended) == [("c0", result), ("c1", result)]


async def test_a_tool_says_what_is_asked() -> None:
    """In its metadata, and how long the question waits."""
    agent, paid = deleting(calls("pay", '{"amount": 5}'))
    person = Person(answer=True)
    await told(agent, person)
    assert [(question.prompt, question.timeout_s) for question in person.asked] == [("Pay 5 €?", 7.0)]
    assert paid == [5]


async def test_a_question_that_expires_ends_the_run() -> None:
    """Nobody is there: no more model calls are paid for."""
    agent, deleted = deleting(calls("delete", '{"row": 3}'))
    with pytest.raises(BaseExceptionGroup) as caught:
        await told(agent, Person(InputExpired()))
    assert caught.group_contains(InputExpired)
    assert deleted == []


async def test_the_agents_own_handler_decides_first() -> None:
    """And nobody is asked then."""

    def allow(_: RunContext[Any], requests: DeferredToolRequests) -> DeferredToolResults:
        return requests.build_results(approve_all=True)

    agent, deleted = deleting(
        calls("delete", '{"row": 3}'), capabilities=[HandleDeferredToolCalls(handler=allow)]
    )
    person = Person(answer=False)
    await told(agent, person)
    assert (person.asked, deleted) == ([], [3])


def test_a_long_call_is_shown_in_part() -> None:
    """A question has a limit; the event that starts the call has all of it."""
    question = question_of(ToolCallPart("delete", {"note": "x" * 5000}))
    assert len(question) < SHOWN_CHARACTERS + 50
    assert question.endswith("x…?")
