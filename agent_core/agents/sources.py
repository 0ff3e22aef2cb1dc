"""Where an agent, or tools for one, come from: an attribute of a module."""

from __future__ import annotations

import importlib
import traceback
from typing import NamedTuple


class AgentLoadError(Exception):
    """An agent, or tools for one, can't be loaded. The text says which and why, for an operator."""


class AgentSource(NamedTuple):
    """Where an agent comes from, or a set of tools."""

    name: str
    """What callers call it."""
    module: str
    """The module to import, dotted."""
    attribute: str
    """The agent's name in the module, dotted where it is inside something."""
    package: str = ""
    """The installed package that offers it, with its version; empty for all others."""


def describe(source: AgentSource, noun: str) -> str:
    """Return what begins an error message about a source.

    Args:
        source: Where it comes from.
        noun: What it is, such as "agent".
    """
    package = f", of the package {source.package}" if source.package else ""
    return f"{noun} {source.name!r} ({source.module}:{source.attribute}{package})"


def split_place(place: str) -> tuple[str, str] | None:
    """Return the module and the attribute of `package.module:attribute`; None for any other text."""
    module, _, attribute = place.partition(":")
    if all(part.isidentifier() for part in (*module.split("."), *attribute.split("."))):
        return module, attribute
    return None


def import_source(source: AgentSource, noun: str) -> object:
    """Import a source's module and return what it names.

    Args:
        source: Where it comes from.
        noun: What it is, such as "agent".

    Raises:
        AgentLoadError: There is no such module or attribute, or the import failed.
    """
    where = describe(source, noun)
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
    return found


def _raised_at(error: BaseException) -> str:
    """Return in which file and line of the operator's an import failed; empty outside of any."""
    ours = (__file__, importlib.__file__)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename not in ours and not frame.filename.startswith("<frozen")
    ]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
