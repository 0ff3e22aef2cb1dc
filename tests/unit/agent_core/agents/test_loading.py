"""Finding agents."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent_core.agents import RunRequest
from agent_core.agents.loading import (
    AgentLoadError,
    AgentSource,
    load_agent,
    model_of,
    parse_source,
    parse_sources,
)
from agent_core.runs.agent_stream import open_stream
from tests.support import agents

KINDS = """
import functools

async def coroutine(request): return "text"
def generator(request): yield "text"
partial = functools.partial(functools.partial(generator))
class Callable:
    async def __call__(self, request): return "text"
called = Callable()

async def agent(request): yield "text"
def without_request(): yield "text"
def with_two(request, more): yield "text"
def function(request): return "text"
class Agent:
    async def __call__(self, request): yield "text"
    def plain(self, request): return agent(request)
class Iterator:
    def __init__(self, request): pass
    def __aiter__(self): return self
    async def __anext__(self): raise StopAsyncIteration
good = functools.partial(agent)
good_object = Agent()
good_method = good_object.plain
good_lambda = lambda request: agent(request)
"""


def test_an_agent_is_named_and_placed() -> None:
    """`name=package.module:attribute`, and the attribute may lie inside something."""
    assert parse_source("my-agent.v2=a.b_c:D.e") == AgentSource("my-agent.v2", "a.b_c", "D.e")


@pytest.mark.parametrize("name", ["assistant", "pace"])
def test_a_built_in_agent_is_named_bare(name: str) -> None:
    """Alone, or among others; and what is named is there."""
    source = parse_source(name)
    assert source.name == name
    assert callable(load_agent(source))
    assert parse_sources(f"{name} shop=shop:agent") == (source, AgentSource("shop", "shop", "agent"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("echo", "there is no agent 'echo'. Built in: assistant, pace. Offered by installed packages: "),
        ("Pace", "there is no agent 'Pace'"),
        ("echo=tests.support.agents", "is not of the form"),
        ("tests.support.agents:echo", "is not of the form"),
        ("=m:a", "the name must be"),
        ("-x=m:a", "the name must be"),
        ("n" * 65 + "=m:a", "the name must be"),
        ("ä=m:a", "the name must be"),
        ("x=m..n:a", "does not name an attribute"),
        ("x=:a", "does not name an attribute"),
        ("x=m:", "does not name an attribute"),
        ("x=m/n:a", "does not name an attribute"),
    ],
)
def test_another_form_is_refused_with_the_reason(text: str, said: str) -> None:
    """The operator sees which one and why."""
    with pytest.raises(AgentLoadError, match=said):
        parse_source(text)


def test_several_agents_are_separated_by_whitespace() -> None:
    """None is fine too; two of one name are not."""
    assert parse_sources("") == ()
    assert [source.name for source in parse_sources(" a=m:x\n b=m:x ")] == ["a", "b"]
    with pytest.raises(AgentLoadError, match="two agents are called 'a'"):
        parse_sources("a=m:x a=m:y")


def test_an_agent_is_found_where_it_is_said_to_be() -> None:
    """In a module, or inside something of it."""
    assert load_agent(AgentSource("e", "tests.support.agents", "echo")) is agents.echo
    assert load_agent(AgentSource("r", "tests.support.agents", "resource.__call__"))


@pytest.mark.parametrize(
    ("module", "attribute", "said"),
    [
        ("no_such_module_at_all", "x", "there is no module 'no_such_module_at_all'"),
        ("tests.support.nothing", "x", "there is no module 'tests.support.nothing'"),
        ("tests.support.agents", "nope", "the module has no 'nope'"),
        ("tests.support.agents", "echo.deeper", "the module has no 'echo.deeper'"),
        ("tests.support.agents", "SCRIPTED_TEXT", "a str can't be called"),
        ("broken_module", "x", "the import failed: SyntaxError"),
        ("exiting_module", "x", "the import failed: SystemExit"),
        ("needy_module", "x", "there is no module 'surely_not_installed' ({folder}/needy_module.py, line 2)"),
        ("failing_module", "x", "the import failed: OSError: no ({folder}/failing_module.py, line 3)"),
        (
            "kinds",
            "Callable",
            "it is a class, not an object of it: Callable() may be what you mean. An agent",
        ),
        (
            "kinds",
            "without_request",
            "it can't be called with one argument, the request: too many positional",
        ),
        (
            "kinds",
            "with_two",
            "it can't be called with one argument, the request: missing a required argument",
        ),
        ("kinds", "Agent.__call__", "it can't be called with one argument, the request: missing a required"),
    ],
)
def test_what_can_not_be_loaded_is_said(
    module: str, attribute: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which agent, and why."""
    (tmp_path / "broken_module.py").write_text("def (:")
    (tmp_path / "exiting_module.py").write_text("raise SystemExit(1)")
    (tmp_path / "needy_module.py").write_text("\nimport surely_not_installed")
    (tmp_path / "failing_module.py").write_text("def fail():\n    # here\n    raise OSError('no')\nfail()")
    (tmp_path / "kinds.py").write_text(KINDS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "kinds", raising=False)
    with pytest.raises(AgentLoadError) as raised:
        load_agent(AgentSource("mine", module, attribute))
    assert said.format(folder=tmp_path) in str(raised.value)
    assert f"agent 'mine' ({module}:{attribute})" in str(raised.value)


@pytest.mark.parametrize(
    "attribute", ["agent", "good", "good_object", "good_method", "good_lambda", "Iterator"]
)
def test_all_that_may_give_an_async_iterator_is_an_agent(
    attribute: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function that calls another one, an object, a part of one, a class of iterators."""
    (tmp_path / "good_kinds.py").write_text(KINDS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "good_kinds", raising=False)
    agent = load_agent(AgentSource("mine", "good_kinds", attribute))
    assert isinstance(agent(RunRequest("hi")), AsyncIterator)


@pytest.mark.parametrize(
    "attribute", ["agent", "coroutine", "generator", "partial", "called", "function", "good_lambda"]
)
async def test_what_is_no_async_generator_answers_as_well(
    attribute: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A coroutine, a generator, a function: loaded as they are, and read to the same end."""
    (tmp_path / "all_kinds.py").write_text(KINDS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "all_kinds", raising=False)
    stream = open_stream(load_agent(AgentSource("mine", "all_kinds", attribute)), RunRequest("hi"))
    assert [item async for item in stream] == ["text"]


def test_a_model_is_told_when_the_agent_names_one_that_can_be_shown() -> None:
    """Anything else is none."""
    assert model_of(agents.resource) == "resource-1"
    assert model_of(agents.echo) == ""
    for rubbish in (7, "two\nlines", "\ud800", None):
        agent = agents.Resource()
        agent.model = rubbish  # type: ignore[assignment]
        assert model_of(agent) == ""
