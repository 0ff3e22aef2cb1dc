"""The options that several commands have, and how options of each kind are made."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import rich_click as click

from tokenwire.addresses import MAX_PORT

PORT = click.IntRange(0, MAX_PORT)

MAX_WORKERS = 256

BARE_AGENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""What may be the name of a built-in or installed agent."""

Command = TypeVar("Command", bound=Callable[..., Any])
Decorator: TypeAlias = Callable[[Command], Command]


class AgentOption(click.ParamType[str]):
    """A built-in or installed agent's NAME, or NAME=MODULE:ATTRIBUTE.

    The core looks closer, and knows the names; this catches slips before anything is started.
    """

    name = "NAME[=MODULE:ATTR]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the value as it is once its form is right."""
        text = str(value)
        if BARE_AGENT.fullmatch(text):
            return text
        name, equals, target = text.partition("=")
        module, _, attribute = target.partition(":")
        if not (name and equals and module and attribute) or any(mark.isspace() for mark in text):
            self.fail(
                f"{text!r} is neither an agent's name nor of the form name=package.module:attribute",
                param,
                ctx,
            )
        return text


def agent_option(command: Command) -> Command:
    """Add --agent to a command that starts a core."""
    return click.option(
        "--agent",
        "agents",
        type=AgentOption(),
        multiple=True,
        envvar="TOKENWIRE_AGENT",
        show_envvar=True,
        help="Agent to offer: NAME=MODULE:ATTR, or the name of a built-in one (assistant, pace) or of one "
        "that an installed package offers (portfolio). Repeat the option for several; in the variable, "
        "separate them by whitespace. The first is the default. assistant is always available.",
    )(command)


def store_option(command: Command) -> Command:
    """Add --store to a command that starts a core."""
    return click.option(
        "--store",
        envvar="TOKENWIRE_STORE",
        show_envvar=True,
        default="memory",
        show_default=True,
        help="Where runs are logged: `memory`, `sqlite:PATH` (survives the core), or `redis://HOST:PORT/DB` "
        "(shared by many cores).",
    )(command)


def reload_option(command: Command) -> Command:
    """Add --reload to a command that starts a core."""
    return click.option(
        "--reload",
        is_flag=True,
        envvar="TOKENWIRE_RELOAD",
        show_envvar=True,
        help="For development: restart the core when a file of its agents changes. Running runs get "
        "TOKENWIRE_DRAIN_S to end.",
    )(command)


def model_options(command: Command) -> Command:
    """Add --model-url and --model to a command that starts a core."""
    url = click.option(
        "--model-url",
        envvar="TOKENWIRE_MODEL_URL",
        show_envvar=True,
        default="",
        metavar="URL",
        help="URL of an OpenAI-compatible endpoint for `assistant`.  [default: the embedded model]",
    )
    name = click.option(
        "--model",
        envvar="TOKENWIRE_MODEL",
        show_envvar=True,
        default="",
        metavar="NAME",
        help="Name of the model at this endpoint. Set its key in the variable TOKENWIRE_MODEL_KEY.",
    )
    return url(name(command))


def number_option(
    name: str, variable: str, default: int, text: str, kind: click.IntRange = PORT
) -> Decorator[Any]:
    """Return an option that takes a whole number."""
    return click.option(
        name, envvar=variable, show_envvar=True, type=kind, default=default, show_default=True, help=text
    )


def workers_option(command: Command) -> Command:
    """Add --workers to a command that starts an edge."""
    return number_option(  # type: ignore[no-any-return]
        "--workers",
        "TOKENWIRE_WORKERS",
        1,
        "Number of processes of the edge, which share its port. More than CPU cores are of no use.",
        click.IntRange(1, MAX_WORKERS),
    )(command)


def tls_option(name: str, variable: str, text: str) -> Decorator[Any]:
    """Return an option that takes a PEM file."""
    return click.option(
        name,
        envvar=variable,
        show_envvar=True,
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        help=text,
    )


def text_option(name: str, variable: str, default: str, text: str, metavar: str) -> Decorator[Any]:
    """Return an option that takes a text."""
    return click.option(
        name,
        envvar=variable,
        show_envvar=True,
        default=default,
        show_default=True,
        metavar=metavar,
        help=text,
    )
