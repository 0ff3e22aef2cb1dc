"""The commands and their options: each option is also an environment variable.

Settings are read by the processes themselves, from the environment: an option given here is
handed on in the child's environment, one that is not given leaves the variable as it is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any, NoReturn, TypeAlias, TypeVar

import rich_click as click

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8000
DEFAULT_GRPC_PORT = 50051
MAX_PORT = 65_535
MAX_WORKERS = 256

PORT = click.IntRange(0, MAX_PORT)

Command = TypeVar("Command", bound=Callable[..., Any])
Decorator: TypeAlias = Callable[[Command], Command]


class AgentOption(click.ParamType[str]):
    """NAME=MODULE:ATTRIBUTE. The core looks closer; this catches slips before anything is started."""

    name = "NAME=MODULE:ATTR"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the value as it is once its form is right."""
        text = str(value)
        name, equals, target = text.partition("=")
        module, _, attribute = target.partition(":")
        if not (name and equals and module and attribute) or any(mark.isspace() for mark in text):
            self.fail(f"{text!r} is not of the form name=package.module:attribute", param, ctx)
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
        help="An agent to offer; repeat it for more (in the variable: white space between them). "
        "The first is the default one.",
    )(command)


def store_option(command: Command) -> Command:
    """Add --store to a command that starts a core."""
    return click.option(
        "--store",
        envvar="TOKENWIRE_STORE",
        show_envvar=True,
        default="memory",
        show_default=True,
        help="Where runs are logged.",
    )(command)


def number_option(
    name: str, variable: str, default: int, text: str, kind: click.IntRange = PORT
) -> Decorator[Any]:
    """Return an option that takes a whole number."""
    return click.option(
        name, envvar=variable, show_envvar=True, type=kind, default=default, show_default=True, help=text
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


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(version("tokenwire"), prog_name="tokenwire")
def main() -> None:
    """Carry an agent's tokens from a gRPC core to the browser."""


@main.command()
@text_option("--host", "TOKENWIRE_HOST", DEFAULT_HOST, "Where the page and its API listen.", "HOST")
@number_option("--port", "TOKENWIRE_PORT", DEFAULT_PORT, "Their port; 0 for any free one.")
@number_option(
    "--grpc-port",
    "TOKENWIRE_GRPC_PORT",
    DEFAULT_GRPC_PORT,
    "The core's port on loopback; 0 for any free one.",
)
@agent_option
@store_option
@number_option(
    "--workers",
    "TOKENWIRE_WORKERS",
    1,
    "How many edge processes share the port.",
    click.IntRange(1, MAX_WORKERS),
)
def up(  # noqa: PLR0913 - one parameter for each option
    *, host: str, port: int, grpc_port: int, agents: tuple[str, ...], store: str, workers: int
) -> None:
    """Run a core and its edge on this machine, until Ctrl-C."""
    from tokenwire.cli import ports  # noqa: PLC0415 - grpc and httpx take a moment: only when needed
    from tokenwire.cli import up as supervisor  # noqa: PLC0415

    plan = supervisor.Plan(
        host=host,
        port=port,
        grpc_port=grpc_port,
        workers=workers,
        core_environment=_core_environment(agents, store),
    )
    try:
        status = supervisor.run(plan)
    except ports.PortError as error:
        raise click.ClickException(str(error)) from error
    sys.exit(status)


@main.command()
@text_option("--grpc-host", "TOKENWIRE_GRPC_HOST", DEFAULT_HOST, "Where it listens.", "HOST")
@number_option("--grpc-port", "TOKENWIRE_GRPC_PORT", DEFAULT_GRPC_PORT, "Its port.")
@agent_option
@store_option
def core(*, grpc_host: str, grpc_port: int, agents: tuple[str, ...], store: str) -> None:
    """Run an agent core alone."""
    _become(
        "agent_core",
        {
            "TOKENWIRE_GRPC_HOST": grpc_host,
            "TOKENWIRE_GRPC_PORT": str(grpc_port),
            **_core_environment(agents, store),
        },
    )


@main.command()
@text_option(
    "--core",
    "TOKENWIRE_CORE",
    f"{DEFAULT_HOST}:{DEFAULT_GRPC_PORT}",
    "The core, or several with commas between them.",
    "HOST:PORT[,…]",
)
@text_option("--host", "TOKENWIRE_HOST", DEFAULT_HOST, "Where it listens.", "HOST")
@number_option("--port", "TOKENWIRE_PORT", DEFAULT_PORT, "Its port.")
def edge(*, core: str, host: str, port: int) -> None:
    """Run an edge alone."""
    _become("edge", {"TOKENWIRE_CORE": core, "TOKENWIRE_HOST": host, "TOKENWIRE_PORT": str(port)})


@main.command()
@click.argument("message")
@click.option(
    "--via",
    type=click.Choice(["grpc", "sse"]),
    envvar="TOKENWIRE_VIA",
    show_envvar=True,
    default="grpc",
    show_default=True,
    help="Which door: the core's or the edge's.",
)
@click.option("--agent", default="", metavar="NAME", help="The agent to ask.  [default: the core's]")
@click.option("--session", default="", metavar="ID", help="The conversation that the question belongs to.")
@text_option(
    "--core", "TOKENWIRE_CORE", f"{DEFAULT_HOST}:{DEFAULT_GRPC_PORT}", "The core, for grpc.", "HOST:PORT"
)
@text_option("--url", "TOKENWIRE_URL", f"http://{DEFAULT_HOST}:{DEFAULT_PORT}", "The edge, for sse.", "URL")
@click.option("--json", "as_json", is_flag=True, help="Print each event as one line of JSON.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Stop the run when it takes longer.",
)
def ask(  # noqa: PLR0913 - one parameter for each option
    *,
    message: str,
    via: str,
    agent: str,
    session: str,
    core: str,
    url: str,
    as_json: bool,
    timeout_s: float | None,
) -> None:
    """Ask an agent and print its answer as it comes. MESSAGE `-` is read from stdin.

    The answer goes to stdout, all else to stderr. Ctrl-C stops the run; a second one leaves at once.

    Exit status: 0 answered, 1 the run failed, 2 wrong usage, 3 the server can't be reached,
    4 the stream was lost, 130 stopped.
    """
    if message == "-":
        message = sys.stdin.read().strip()
    if not message:
        raise click.UsageError("The message is empty.")
    from tokenwire.cli.ask import ask_and_show  # noqa: PLC0415 - as above
    from tokenwire.cli.doors import Question  # noqa: PLC0415

    question = Question(message=message, agent=agent, session_id=session, timeout_s=timeout_s)
    sys.exit(ask_and_show(question, via=via, core=core, url=url, as_json=as_json))


def _core_environment(agents: tuple[str, ...], store: str) -> dict[str, str]:
    """Return a core's settings; without an agent it offers what it has built in."""
    environment = {"TOKENWIRE_STORE": store}
    if agents:
        environment["TOKENWIRE_AGENT"] = " ".join(agents)
    return environment


def _become(module: str, settings: Mapping[str, str]) -> NoReturn:
    """Replace this process by a Python module's, so that signals reach it itself."""
    os.execve(  # noqa: S606 - this very interpreter, no shell
        sys.executable, [sys.executable, "-m", module], {**os.environ, **settings}
    )
