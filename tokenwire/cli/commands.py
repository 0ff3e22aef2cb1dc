"""The commands and their options: each option is also an environment variable.

Settings are read by the processes themselves, from the environment: an option given here is
handed on in the child's environment, one that is not given leaves the variable as it is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import rich_click as click

from tokenwire.addresses import is_exposed, read_host, read_targets
from tokenwire.backoff import DEFAULT_PATIENCE_S
from tokenwire.cli.environment import environment_of, write_in_capitals
from tokenwire.cli.options import (
    agent_option,
    model_options,
    number_option,
    reload_option,
    store_option,
    text_option,
    tls_option,
    workers_option,
)
from tokenwire.cli.trace_command import trace
from tokenwire.variables import CORE, EDGE, Reader, unknown_variables

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8000
DEFAULT_GRPC_PORT = 50051

PLAIN_HTTP = "the key is sent over plain HTTP, so others can read it on the way. Use an https:// URL."

Value = TypeVar("Value")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(version("tokenwire"), prog_name="tokenwire")
def main() -> None:
    """Stream an agent's tokens from a gRPC core to the browser."""
    write_in_capitals(os.environ)  # before the options of a command are read


@main.command()
@text_option("--host", "TOKENWIRE_HOST", DEFAULT_HOST, "Address that the page and its API listen on.", "HOST")
@number_option("--port", "TOKENWIRE_PORT", DEFAULT_PORT, "Port of the page and its API; 0 for any free one.")
@number_option(
    "--grpc-port",
    "TOKENWIRE_GRPC_PORT",
    DEFAULT_GRPC_PORT,
    "Port of the core on loopback; 0 for any free one.",
)
@agent_option
@model_options
@store_option
@reload_option
@workers_option
def up(  # noqa: PLR0913 - one parameter for each option
    *,
    host: str,
    port: int,
    grpc_port: int,
    agents: tuple[str, ...],
    model_url: str,
    model: str,
    store: str,
    reload: bool,
    workers: int,
) -> None:
    """Run a core and an edge on this machine, until Ctrl-C."""
    from tokenwire.cli import ports  # noqa: PLC0415 - grpc and httpx take a moment: only when needed
    from tokenwire.cli import up as supervisor  # noqa: PLC0415

    plan = supervisor.Plan(
        host=_checked("--host", read_host, host),
        port=port,
        grpc_port=grpc_port,
        workers=workers,
        core_environment=_core_environment(agents, store, model_url, model, reload=reload),
    )
    try:
        status = supervisor.run(plan)
    except ports.PortError as error:
        raise click.ClickException(str(error)) from error
    sys.exit(status)


@main.command()
@text_option("--grpc-host", "TOKENWIRE_GRPC_HOST", DEFAULT_HOST, "Address to listen on.", "HOST")
@number_option("--grpc-port", "TOKENWIRE_GRPC_PORT", DEFAULT_GRPC_PORT, "Port to listen on; 0 for any.")
@agent_option
@model_options
@store_option
@reload_option
def core(  # noqa: PLR0913 - one parameter for each option
    *,
    grpc_host: str,
    grpc_port: int,
    agents: tuple[str, ...],
    model_url: str,
    model: str,
    store: str,
    reload: bool,
) -> None:
    """Run only an agent core."""
    _become(
        "agent_core",
        CORE,
        {
            "TOKENWIRE_GRPC_HOST": grpc_host,
            "TOKENWIRE_GRPC_PORT": str(grpc_port),
            **_core_environment(agents, store, model_url, model, reload=reload),
        },
    )


@main.command()
@text_option(
    "--core",
    "TOKENWIRE_CORE",
    f"{DEFAULT_HOST}:{DEFAULT_GRPC_PORT}",
    "Address of the core, or of several, separated by commas: runs are spread over those that are ready.",
    "HOST:PORT[,…]",
)
@text_option("--host", "TOKENWIRE_HOST", DEFAULT_HOST, "Address to listen on.", "HOST")
@number_option("--port", "TOKENWIRE_PORT", DEFAULT_PORT, "Port to listen on; 0 for any.")
@workers_option
def edge(*, core: str, host: str, port: int, workers: int) -> None:
    """Run only an edge."""
    _become(
        "edge",
        EDGE,
        {
            "TOKENWIRE_CORE": core,
            "TOKENWIRE_HOST": host,
            "TOKENWIRE_PORT": str(port),
            "TOKENWIRE_WORKERS": str(workers),
        },
    )


@main.command()
@click.argument("message")
@click.option(
    "--via",
    type=click.Choice(["grpc", "sse"]),
    envvar="TOKENWIRE_VIA",
    show_envvar=True,
    default="grpc",
    show_default=True,
    help="Where to ask: `grpc` calls the core, `sse` the edge.",
)
@click.option("--agent", default="", metavar="NAME", help="Agent to ask.  [default: that of the core]")
@click.option("--session", default="", metavar="ID", help="Session that the message belongs to.")
@text_option(
    "--core",
    "TOKENWIRE_CORE",
    f"{DEFAULT_HOST}:{DEFAULT_GRPC_PORT}",
    "Address of the core, for grpc; or of several that share a store, separated by commas: tried in turn.",
    "HOST:PORT[,...]",
)
@text_option("--url", "TOKENWIRE_URL", f"http://{DEFAULT_HOST}:{DEFAULT_PORT}", "The edge, for sse.", "URL")
@click.option(
    "--key",
    "api_key",
    envvar="TOKENWIRE_API_KEY",
    show_envvar=True,
    default="",
    metavar="KEY",
    help="API key or JWT. Prefer the variable: other users of this machine can see options.",
)
@click.option(
    "--principal",
    envvar="TOKENWIRE_PRINCIPAL",
    show_envvar=True,
    default="cli",
    show_default=True,
    metavar="NAME",
    help="Principal on whose behalf to call, for grpc; signed with TOKENWIRE_PRINCIPAL_KEY if that is set.",
)
@tls_option(
    "--tls-ca",
    "TOKENWIRE_CORE_TLS_CA",
    "PEM file of the authorities to trust the core by, for grpc with TLS.",
)
@tls_option("--tls-cert", "TOKENWIRE_CORE_TLS_CERT", "PEM file of the certificate for the core (mTLS).")
@tls_option("--tls-key", "TOKENWIRE_CORE_TLS_KEY", "PEM file of that certificate's key.")
@click.option("--json", "as_json", is_flag=True, help="Print each event as one line of JSON.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Stop the run if it takes longer.",
)
@click.option(
    "--patience",
    "patience_s",
    type=click.FloatRange(min=0),
    envvar="TOKENWIRE_PATIENCE_S",
    show_envvar=True,
    default=DEFAULT_PATIENCE_S,
    show_default=True,
    metavar="SECONDS",
    help="How long to try to resume a broken stream while the server can't be reached.",
)
def ask(  # noqa: PLR0913 - one parameter for each option
    *,
    message: str,
    via: str,
    agent: str,
    session: str,
    core: str,
    url: str,
    api_key: str,
    principal: str,
    tls_ca: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    as_json: bool,
    timeout_s: float | None,
    patience_s: float,
) -> None:
    """Ask an agent and print its answer as it arrives. If MESSAGE is `-`, it is read from stdin.

    The answer goes to stdout, everything else to stderr. Ctrl-C stops the run; a second one exits at once.
    A stream that breaks is resumed after its last event, and a start that broke is repeated:
    no text is printed twice, none is missing, and no second run is started.

    Exit status: 0 answered, 1 the run failed, 2 wrong usage, 3 the server can't be reached,
    4 the stream was lost and could not be resumed, 130 stopped.
    """
    if message == "-":
        message = sys.stdin.read().strip()
    if not message:
        raise click.UsageError("The message is empty.")
    from tokenwire.cli.access import Access  # noqa: PLC0415 - as above
    from tokenwire.cli.ask import Question, ask_and_show  # noqa: PLC0415
    from tokenwire.principal import PrincipalError, require_name  # noqa: PLC0415

    if (tls_cert is None) != (tls_key is None) or (tls_cert is not None and tls_ca is None):
        raise click.UsageError("--tls-cert and --tls-key must be given together, and with --tls-ca.")
    try:
        require_name(principal)
    except PrincipalError as error:
        raise click.UsageError(f"--principal: {error}.") from error
    cores = _checked("--core", read_targets, core)
    for line in unknown_variables(os.environ):
        click.echo(f"tokenwire: {line}", err=True)
    principal_key = os.environ.get("TOKENWIRE_PRINCIPAL_KEY", "")
    access = Access(
        cores=cores if via == "grpc" else (),
        url=url,
        api_key=api_key,
        principal=principal,
        principal_key=principal_key,
        tls_ca=tls_ca,
        tls_cert=tls_cert,
        tls_key=tls_key,
    )
    try:
        access.require_private()
    except ValueError as error:
        raise click.UsageError(f"--key: {error}") from error
    if via == "sse" and api_key and is_exposed(url):
        click.echo(f"tokenwire: --url: {PLAIN_HTTP}", err=True)
    question = Question(message=message, agent=agent, session_id=session, timeout_s=timeout_s)
    sys.exit(ask_and_show(question, access, as_json=as_json, patience_s=patience_s))


@main.command()
@click.argument("name")
def key(*, name: str) -> None:
    """Make an API key for NAME.

    The first line is the key, which is not shown again. The second is its entry for
    TOKENWIRE_API_KEYS or the file TOKENWIRE_API_KEYS_FILE; the entry is not secret.
    """
    from tokenwire.cli.key import make_key  # noqa: PLC0415 - as above

    try:
        secret, entry = make_key(name)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    click.echo(f"{secret}\n{entry}")


main.add_command(trace)


def _checked(option: str, read: Callable[[Any], Value], text: object) -> Value:
    """Return what an option's text means.

    Raises:
        UsageError: Nothing.
    """
    try:
        return read(text)
    except ValueError as error:
        raise click.UsageError(f"{option}: {error}") from error


def _core_environment(
    agents: tuple[str, ...], store: str, model_url: str, model: str, *, reload: bool
) -> dict[str, str]:
    """Return a core's settings; without an agent it offers what it has built in."""
    environment = {"TOKENWIRE_STORE": store}
    if reload:
        environment["TOKENWIRE_RELOAD"] = "true"
    if model_url:
        environment["TOKENWIRE_MODEL_URL"] = model_url
    if model:
        environment["TOKENWIRE_MODEL"] = model
    if agents:
        environment["TOKENWIRE_AGENT"] = " ".join(agents)
    return environment


def _become(module: str, reader: Reader, settings: Mapping[str, str]) -> NoReturn:
    """Replace this process by a Python module's, so that signals reach it itself."""
    os.execve(  # noqa: S606 - this very interpreter, no shell
        sys.executable, [sys.executable, "-m", module], {**environment_of(reader, os.environ), **settings}
    )
