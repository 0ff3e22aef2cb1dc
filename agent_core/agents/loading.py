"""Finding an agent by the name of a built-in one, or by `name=package.module:attribute`."""

from __future__ import annotations

import importlib
import re
from typing import Final, NamedTuple

from agent_core.agents.events import Agent

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_FORM: Final = "name=package.module:attribute"


class AgentLoadError(Exception):
    """An agent can't be loaded. The text says which and why, for an operator."""


class AgentSource(NamedTuple):
    """Where an agent comes from."""

    name: str
    """What callers call it."""
    module: str
    """The module to import, dotted."""
    attribute: str
    """The agent's name in the module, dotted where it is inside something."""


BUILT_INS: Final = (
    AgentSource("assistant", "agent_core.agents.assistant", "assistant"),
    AgentSource("pace", "agent_core.agents.pace", "pace"),
    AgentSource("portfolio", "agent_core.agents.portfolio", "portfolio"),
)
"""The agents that come with the core."""

OFFERED: Final = ("assistant", "portfolio")
"""Those that are there without being named. The first is the default when no agent is. `pace` says whatever
it is told to, as fast as it can: what a test needs, and no user should have by default."""


def parse_source(text: str) -> AgentSource:
    """Return where an agent comes from: a built-in one's name says it, or `name=package.module:attribute`.

    Raises:
        AgentLoadError: The text has another form, or there is no such built-in agent.
    """
    built_in = next((source for source in BUILT_INS if source.name == text), None)
    if built_in is not None:
        return built_in
    if _NAME.fullmatch(text):
        known = ", ".join(source.name for source in BUILT_INS)
        raise AgentLoadError(
            f"there is no built-in agent {text!r}: there are {known}; name one of your own as {_FORM}"
        )
    name, equals, place = text.partition("=")
    module, colon, attribute = place.partition(":")
    if not (equals and colon):
        raise AgentLoadError(f"agent {text!r} is not of the form {_FORM}")
    if not _NAME.fullmatch(name):
        raise AgentLoadError(f"agent {text!r}: the name must be 1 to 64 of letters, digits, '.', '_', '-'")
    if not all(part.isidentifier() for part in (*module.split("."), *attribute.split("."))):
        raise AgentLoadError(f"agent {text!r}: {place!r} does not name an attribute of a module")
    return AgentSource(name, module, attribute)


def parse_sources(text: str) -> tuple[AgentSource, ...]:
    """Return all agents that a text names, separated by whitespace.

    Raises:
        AgentLoadError: One has another form, or two have the same name.
    """
    sources = tuple(parse_source(word) for word in text.split())
    names = [source.name for source in sources]
    for name in names:
        if names.count(name) > 1:
            raise AgentLoadError(f"two agents are called {name!r}")
    return sources


def load_agent(source: AgentSource) -> Agent:
    """Import an agent and return it. One of Pydantic AI's is adapted.

    Raises:
        AgentLoadError: There is no such module or attribute, the import failed, or what was found
            can't be called.
    """
    where = f"agent {source.name!r} ({source.module}:{source.attribute})"
    try:
        found: object = importlib.import_module(source.module)
    except ModuleNotFoundError as error:
        raise AgentLoadError(f"{where}: there is no module {error.name!r}") from error
    except (Exception, SystemExit) as error:
        raise AgentLoadError(f"{where}: the import failed: {type(error).__name__}: {error}") from error
    for part in source.attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise AgentLoadError(f"{where}: the module has no {source.attribute!r}") from error
    found = _adapted(found)
    if not callable(found):
        raise AgentLoadError(f"{where}: a {type(found).__qualname__} can't be called")
    return found


def _adapted(found: object) -> object:
    """Return what was found, or an adapter when it is an agent of Pydantic AI.

    The library is loaded by its user's module or not at all: an object of it needs one of its types.
    """
    if any(cls.__module__.partition(".")[0] == "pydantic_ai" for cls in type(found).__mro__):
        # By name: runs import this module, and know nothing of what agents are made with.
        adapter = importlib.import_module("agent_core.agents.pydantic_ai")
        adapted: object = adapter.adapt(found)
        return adapted
    return found


def model_of(agent: Agent) -> str:
    """Return the model that an agent says it calls; empty when it says nothing sensible."""
    model = getattr(agent, "model", "")
    return model if isinstance(model, str) and model.isprintable() else ""
