"""Finding an agent by the name of a built-in one, or by `name=package.module:attribute`."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import traceback
from collections.abc import Callable
from typing import Final, NamedTuple

from agent_core.agents.events import Agent
from agent_core.agents.foreign import NotAdaptableError, adapted

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_FORM: Final = "name=package.module:attribute"
_WANTED: Final = (
    "An agent is a function that takes the request, best an async generator: `async def agent(request)` "
    "with a `yield`. docs/agents.md shows it, and adapters for other libraries"
)


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
    """Import an agent and return it. One of another library's is adapted, where that is known.

    Raises:
        AgentLoadError: There is no such module or attribute, the import failed, or what was found is no
            agent.
    """
    where = f"agent {source.name!r} ({source.module}:{source.attribute})"
    try:
        found: object = importlib.import_module(source.module)
    except ModuleNotFoundError as error:
        # Where the module itself is missing, nothing of the operator's has run.
        raise AgentLoadError(f"{where}: there is no module {error.name!r}{_raised_at(error)}") from error
    except (Exception, SystemExit) as error:
        said = f"{type(error).__name__}: {error}{_raised_at(error)}"
        raise AgentLoadError(f"{where}: the import failed: {said}") from error
    for part in source.attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise AgentLoadError(f"{where}: the module has no {source.attribute!r}") from error
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


def _raised_at(error: BaseException) -> str:
    """Return in which file and line of the operator's an import failed; empty outside of any."""
    ours = (__file__, importlib.__file__)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename not in ours and not frame.filename.startswith("<frozen")
    ]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""


def model_of(agent: Agent) -> str:
    """Return the model that an agent says it calls; empty when it says nothing sensible."""
    model = getattr(agent, "model", "")
    return model if isinstance(model, str) and model.isprintable() else ""
