"""The agents that a core has."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Self

import pytest

from agent_core.agents import RunRequest, catalogue
from agent_core.agents.catalogue import AgentCatalogue
from agent_core.agents.loading import AgentLoadError, AgentSource, parse_sources
from tests.support import agents

ECHO = AgentSource("echo", "tests.support.agents", "echo")
RESOURCE = AgentSource("resource", "tests.support.agents", "resource")
BROKEN = AgentSource("broken", "tests.support.agents", "broken")

asked_by: ContextVar[str] = ContextVar("asked_by", default="nobody")


class Picky:
    """An agent that must be left by the task that entered it, as one with task groups must."""

    entered_by: asyncio.Task[object] | None = None
    context = ""
    left_well = False
    fail_on_leaving = False

    async def __aenter__(self) -> Self:
        self.entered_by = asyncio.current_task()
        self.context = asked_by.get()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.fail_on_leaving:
            raise OSError("can't leave")
        self.left_well = self.entered_by is asyncio.current_task()

    async def __call__(self, request: RunRequest) -> AsyncIterator[str]:
        yield request.message


picky = Picky()


def test_assistant_is_always_there() -> None:
    """The first given one is the default; without any, `assistant` is."""
    assert AgentCatalogue().names == ("assistant",)
    given = AgentCatalogue([RESOURCE, ECHO])
    assert given.names == ("resource", "assistant", "echo")
    assert given.default == "resource"


@pytest.mark.parametrize(
    ("named", "names"),
    [
        ("pace", ("pace", "assistant")),
        ("portfolio", ("portfolio", "assistant")),
        ("assistant portfolio pace", ("assistant", "pace", "portfolio")),
        ("echo=tests.support.agents:echo pace", ("echo", "assistant", "pace")),
    ],
)
def test_all_others_are_there_where_they_are_named(named: str, names: tuple[str, ...]) -> None:
    """What is installed is not offered to users because it is installed. The first named is the default."""
    assert AgentCatalogue(parse_sources(named)).names == names
    assert AgentCatalogue(parse_sources(named)).default == names[0]


def test_a_given_agent_may_take_the_name_of_a_built_in() -> None:
    """The operator's wins."""
    given = AgentCatalogue([AgentSource("assistant", "tests.support.agents", "echo")])
    assert given.names == ("assistant",)


async def test_assistant_costs_nothing_where_it_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even its import."""
    monkeypatch.delitem(sys.modules, "agent_core.agents.assistant", raising=False)
    held = AgentCatalogue([ECHO])
    await held.start()
    assert "agent_core.agents.assistant" not in sys.modules
    await held.aclose()


async def test_an_agent_is_entered_once_and_left_by_the_task_that_entered_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many ask for it at once, and whatever is in their context."""
    monkeypatch.setattr(agents, "picky", picky, raising=False)
    asked_by.set("somebody")
    held = AgentCatalogue([AgentSource("picky", "tests.support.agents", "picky")])
    found = await asyncio.gather(*(held.get("picky") for _ in range(5)))
    assert {one.agent for one in found} == {picky}
    assert picky.context == "nobody"
    await held.aclose()
    assert picky.left_well


async def test_an_agent_that_is_not_known_is_a_key_error() -> None:
    """The caller turns it into its own answer."""
    with pytest.raises(KeyError):
        await AgentCatalogue([ECHO]).get("nobody")


async def test_a_given_agent_that_can_not_be_entered_stops_the_start() -> None:
    """The operator asked for it."""
    held = AgentCatalogue([BROKEN])
    with pytest.raises(AgentLoadError, match="did not start: OSError: no such model"):
        await held.start()
    await held.aclose()


@pytest.mark.parametrize("named", [False, True])
async def test_a_built_in_that_can_not_be_entered_is_only_said(
    named: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The others work without it."""
    monkeypatch.setattr(catalogue, "BUILT_INS", (BROKEN,))
    monkeypatch.setattr(catalogue, "DEFAULT", BROKEN)
    held = AgentCatalogue([BROKEN, ECHO] if named else [])
    await held.start()
    assert "agent 'broken' did not start" in caplog.text
    assert not named or (await held.get("echo")).agent is agents.echo
    await held.aclose()


async def test_an_agent_that_fails_when_it_is_left_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The core goes down all the same."""
    failing = Picky()
    failing.fail_on_leaving = True
    monkeypatch.setattr(agents, "failing", failing, raising=False)
    held = AgentCatalogue([AgentSource("failing", "tests.support.agents", "failing")])
    await held.start()
    await held.aclose()
    assert "failed to shut down" in caplog.text


async def test_closing_does_not_wait_for_an_agent_that_still_gets_ready() -> None:
    """Loading a model takes minutes."""
    held = AgentCatalogue([AgentSource("late", "tests.support.agents", "late")])
    waiting = asyncio.create_task(held.get("late"))
    await asyncio.sleep(0.05)
    await asyncio.wait_for(held.aclose(), 5)
    await asyncio.wait({waiting})
    assert waiting.cancelled()
