"""Finding an agent, or tools for one, by a bare name or by `name=package.module:attribute`."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from agent_core.agents.events import Agent
from agent_core.agents.foreign import NotAdaptableError, adapted
from agent_core.agents.installed import find_installed, offers
from agent_core.agents.sources import AgentLoadError, AgentSource, describe, import_source, split_place

__all__ = [
    "AGENTS",
    "BUILT_INS",
    "DEFAULT",
    "TOOLS",
    "AgentLoadError",
    "AgentSource",
    "Kind",
    "load_agent",
    "model_of",
    "parse_source",
    "parse_sources",
]

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_FORM: Final = "name=package.module:attribute"
_WANTED: Final = (
    "An agent is a function that takes the request, best an async generator: `async def agent(request)` "
    "with a `yield`. docs/agents.md shows it, and adapters for other libraries"
)
_NOT_INSTALLED: Final[Mapping[str, str]] = {
    "portfolio": "it is an example, in a package of its own. In a checkout of Tokenwire: "
    "pip install ./examples/portfolio",
}
"""How to get what is known by a bare name and comes with neither this package nor one that is installed."""

BUILT_INS: Final = (
    AgentSource("assistant", "agent_core.agents.assistant", "assistant"),
    AgentSource("pace", "agent_core.agents.pace", "pace"),
)
"""The agents that come with the core."""

DEFAULT: Final = BUILT_INS[0]
"""The one that is there without being named, and the default where no agent is. `pace` says whatever it is
told to, as fast as it can: what a test needs, and no user should have by default."""


class Kind(NamedTuple):
    """What can be found by a bare name."""

    noun: str
    """What messages call one of it."""
    group: str
    """The group of the entry points by which installed packages offer theirs."""
    built_ins: tuple[AgentSource, ...]
    """Those that come with the core. Their names mean them, whatever an installed package offers."""


AGENTS: Final = Kind("agent", "tokenwire.agents", BUILT_INS)
"""Agents. See docs/agents.md, "Agents as installed packages"."""

TOOLS: Final = Kind(
    "tool set",
    "tokenwire.tools",
    (AgentSource("calculator", "agent_core.agents.endpoint.tools", "CALCULATOR"),),
)
"""Sets of tools for `assistant`. See `agent_core.agents.endpoint.tools`."""


def parse_source(text: str, kind: Kind = AGENTS) -> AgentSource:
    """Return where an agent comes from: its bare name says it, or `name=package.module:attribute`.

    Args:
        text: What the operator wrote.
        kind: Agents, or sets of tools.

    Raises:
        AgentLoadError: The text has another form, or there is no agent of that bare name.
    """
    if _NAME.fullmatch(text):
        return _find_by_name(text, kind)
    name, equals, place = text.partition("=")
    if not (equals and ":" in place):
        raise AgentLoadError(f"{kind.noun} {text!r} is not of the form {_FORM}")
    if not _NAME.fullmatch(name):
        raise AgentLoadError(
            f"{kind.noun} {text!r}: the name must be 1 to 64 of letters, digits, '.', '_', '-'"
        )
    parts = split_place(place)
    if parts is None:
        raise AgentLoadError(f"{kind.noun} {text!r}: {place!r} does not name an attribute of a module")
    return AgentSource(name, *parts)


def _find_by_name(name: str, kind: Kind) -> AgentSource:
    """Return the built-in source of a name, else the installed one.

    Raises:
        AgentLoadError: There is neither.
    """
    found = next((source for source in kind.built_ins if source.name == name), None)
    found = found or find_installed(name, kind.group, kind.noun)
    if found is not None:
        return found
    if name in _NOT_INSTALLED:
        raise AgentLoadError(f"{kind.noun} {name!r} is not installed: {_NOT_INSTALLED[name]}")
    built_in = ", ".join(source.name for source in kind.built_ins)
    installed = ", ".join(sorted({offer.name for offer in offers(kind.group)})) or "none"
    raise AgentLoadError(
        f"there is no {kind.noun} {name!r}. Built in: {built_in}. Offered by installed packages: {installed}."
        f" Name one of your own as {_FORM}"
    )


def parse_sources(text: str, kind: Kind = AGENTS) -> tuple[AgentSource, ...]:
    """Return all agents that a text names, separated by whitespace.

    Args:
        text: What the operator wrote.
        kind: Agents, or sets of tools.

    Raises:
        AgentLoadError: One has another form, or two have the same name.
    """
    sources = tuple(parse_source(word, kind) for word in text.split())
    names = [source.name for source in sources]
    for name in names:
        if names.count(name) > 1:
            raise AgentLoadError(f"two {kind.noun}s are called {name!r}")
    return sources


def load_agent(source: AgentSource) -> Agent:
    """Import an agent and return it. One of another library's is adapted, where that is known.

    Raises:
        AgentLoadError: There is no such module or attribute, the import failed, or what was found is no
            agent.
    """
    where = describe(source, AGENTS.noun)
    found = import_source(source, AGENTS.noun)
    try:
        found = adapted(found)
    except NotAdaptableError as error:
        raise AgentLoadError(f"{where}: {error}") from error
    if not callable(found):
        raise AgentLoadError(f"{where}: a {type(found).__qualname__} can't be called. {_WANTED}")
    if why := _wrong_kind(found) or _wrong_call(found):
        raise AgentLoadError(f"{where}: {why}. {_WANTED}")
    return found


def _wrong_kind(found: Callable[..., object]) -> str:
    """Return why a callable can't be an agent; nothing where it may be one.

    What it gives when it is called is seen then: text, an event, or what yields them.
    """
    while isinstance(found, functools.partial):
        found = found.func
    if isinstance(found, type) and not hasattr(found, "__anext__"):
        return f"it is a class, not an object of it: {found.__qualname__}() may be what you mean"
    return ""


def _wrong_call(found: Callable[..., object]) -> str:
    """Return why a callable can't be called with a request alone; nothing where it can, or does not say."""
    try:
        inspect.signature(found).bind(None)
    except TypeError as error:
        return f"it can't be called with one argument, the request: {error}"
    except ValueError:  # written in C
        return ""
    return ""


def model_of(agent: Agent) -> str:
    """Return the model that an agent says it calls; empty when it says nothing sensible."""
    model = getattr(agent, "model", "")
    return model if isinstance(model, str) and model.isprintable() else ""
