"""The client: starts runs, follows them, stops them."""

from __future__ import annotations

import asyncio
import secrets
import warnings
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from tokenwire.addresses import first_far, is_exposed, read_targets
from tokenwire.backoff import DEFAULT_PATIENCE_S
from tokenwire.client.progress import Progress
from tokenwire.client.retrying import OnRetry, RetryPolicy, persist
from tokenwire.client.run import Run, make_answer
from tokenwire.client.transport import Credentials, Page, StartRequest, Transport
from tokenwire.cursor import Cursor, is_run_id, parse_event_id
from tokenwire.runs import OnDisconnect, RunView, SessionRuns, Transcript

EXPOSED: Final = (
    "the API key is sent to {} over plain HTTP, so others can read it on the way: use an https:// URL, or "
    "ignore tokenwire.client.ExposedKeyWarning where the network is trusted"
)

REQUEST_ID_BYTES: Final = 16
DEFAULT_PAGE_SIZE: Final = 20


class ExposedKeyWarning(UserWarning):
    """An API key is sent over plain HTTP to an edge on another machine. Shown once for each calling line."""


class Client:
    """Asks agents, through an edge or at cores directly.

        async with Client("http://127.0.0.1:8000") as client:
            run = await client.start("List three fruits.")
            async for event in run:
                ...

    Everything that it opens is closed when the `async with` block, or `aclose`, ends. For one event loop.

    Args:
        url: `http://HOST:PORT` or `https://…` of an edge; or `grpc://HOST:PORT[,HOST:PORT…]` of a core, or of
            several that share a store and are tried in turn. `grpcs://…` for cores with TLS;
            `grpc://unix:PATH` for a Unix socket.
        api_key: An API key or a JWT; empty for none.
        principal: On whose behalf to call cores that take signed principals.
        principal_key: Signs it: TOKENWIRE_PRINCIPAL_KEY of the core. The API key is then not sent to a core.
        tls_ca: PEM file of the authorities to trust; None for those of the system.
        tls_cert: PEM file of the client's certificate (mTLS); None for none.
        tls_key: PEM file of its key.
        patience_s: How long to try again, in seconds, while no server can be reached, or one ends each stream
            at once without anything new. A server that has never answered is not waited for: the address
            may be wrong.
        on_retry: Called before a run is followed, or a start sent, again: with what has failed, and with the
            number of tries that have failed since the last contact.

    Raises:
        ValueError: The URL is not an address, credentials do not fit it, or an API key would be sent
            unencrypted to a core on another machine.
        OSError: A TLS file can't be read.
    """

    def __init__(  # noqa: PLR0913 # what a connection needs
        self,
        url: str,
        *,
        api_key: str = "",
        principal: str = "",
        principal_key: str = "",
        tls_ca: Path | str | None = None,
        tls_cert: Path | str | None = None,
        tls_key: Path | str | None = None,
        patience_s: float = DEFAULT_PATIENCE_S,
        on_retry: OnRetry | None = None,
    ) -> None:
        files = (Path(file) if file is not None else None for file in (tls_ca, tls_cert, tls_key))
        credentials = Credentials(api_key, principal, principal_key, *files)
        self._transport = open_transport(url, credentials)
        self._policy = RetryPolicy(patience_s, on_retry)
        self._runs: set[Run] = set()

    async def start(  # noqa: PLR0913 # what a run is made of
        self,
        message: str,
        *,
        agent: str = "",
        session_id: str = "",
        user_id: str = "",
        on_disconnect: OnDisconnect = "grace",
        timeout_s: float | None = None,
        request_id: str = "",
    ) -> Run:
        """Start a run; return it when its first event has come.

        The request is sent again when its answer was lost: its id keeps that from starting a second run.

        Args:
            message: The user's message.
            agent: The agent to ask; empty for the core's default.
            session_id: The conversation; empty for one of its own.
            user_id: A label for the user, never an identity.
            on_disconnect: What happens to the run when its last follower has disconnected: `cancel`,
                `grace` (after 30 s, unless it is followed again) or `continue`. A connection that breaks
                counts as `grace` at a core; an edge can't tell it from a client that has left.
            timeout_s: The longest time that the run may take, in seconds; None for the server's limit. A core
                ends a longer run in `error` `DEADLINE_EXCEEDED`; over HTTP the client itself cancels it, and
                reading it ends in `DeadlineExceededError`.
            request_id: Identifies the request, at most 128 characters: the same id names the same run, also
                from another client. Empty for a new one.

        Raises:
            RefusedError: The server does not start it: `code`, `reason` and `details` say why.
            UnreachableError: No server can be reached.
            ConnectionLostError: The connection broke, and the server could not be reached again in time.
        """
        request = StartRequest(
            message=message,
            agent=agent,
            session_id=session_id,
            user_id=user_id,
            on_disconnect=on_disconnect,
            timeout_s=timeout_s,
            request_id=request_id or secrets.token_hex(REQUEST_ID_BYTES),
        )
        run = self._run("", None, request)
        try:
            await run.open()
        except BaseException:
            await run.aclose()
            raise
        return run

    def follow(self, run_id: str, *, after: str = "") -> Run:
        """Return a run that there is, to be read after an event. The server is asked at its first event.

        Args:
            run_id: The run.
            after: The id of the last event that is known; empty to begin with the first.

        Raises:
            ValueError: The run id is not one, or the event is another run's.
        """
        if not is_run_id(run_id):
            raise ValueError("Invalid run id.")
        if not after:
            return self._run(run_id, None, None)
        event_id = parse_event_id(after)
        if event_id.run_id != run_id:
            raise ValueError("The event id is another run's.")
        return self._run(run_id, event_id.cursor, None)

    async def cancel(self, run_id: str) -> RunView:
        """Stop a run, also for all who follow it; return its state. Idempotent.

        Raises:
            ClientError: It could not be stopped.
        """
        return await persist(self._transport, self._policy, lambda transport: transport.cancel(run_id))

    async def send_input(
        self, run_id: str, input_id: str, value: Any = None, *, decline: bool = False
    ) -> str:
        """Answer a question that a run asks a person; return its outcome, `answered` or `declined`.

        The first answer counts. It is sent again when its response was lost, which changes nothing.

        Args:
            run_id: The run.
            input_id: The question: `input_id` of the event `input_requested`.
            value: For `approval` a bool, for `choice` one of the options, for `text` a str, for `json` any
                JSON value that fits the schema.
            decline: Whether to decline the question instead.

        Raises:
            ClientError: It was not accepted. `reason` is `INPUT_CLOSED` if the question was closed before
                (`details["outcome"]` says how), `INPUT_UNKNOWN` if there is none; the code is
                `INVALID_ARGUMENT` if the question does not accept the value.
            TypeError: JSON can't hold the value.
        """
        answer = make_answer(run_id, input_id, value, decline=decline)
        return await persist(self._transport, self._policy, lambda transport: transport.send_input(answer))

    async def get(self, run_id: str) -> RunView:
        """Return the state of a run.

        Raises:
            ClientError: It can't be had: `NOT_FOUND` for an unknown run.
        """
        return await persist(self._transport, self._policy, lambda transport: transport.get(run_id))

    async def runs(
        self, session_id: str, *, page_size: int = DEFAULT_PAGE_SIZE, page_token: str = ""
    ) -> SessionRuns:
        """Return a page of the runs of a session, newest first. An unknown session has none.

        Args:
            session_id: The session.
            page_size: How many, 1 to 100.
            page_token: `next_page_token` of the page before; empty for the first.

        Raises:
            ClientError: They can't be had.
        """
        page = Page(session_id, page_size, page_token)
        return await persist(self._transport, self._policy, lambda transport: transport.runs(page))

    async def transcript(
        self,
        session_id: str,
        *,
        page_size: int = DEFAULT_PAGE_SIZE,
        page_token: str = "",
        newest_first: bool = False,
    ) -> Transcript:
        """Return a page of the turns of a session: what the user said, and the answers.

        Args:
            session_id: The session.
            page_size: How many at most, 1 to 100.
            page_token: `next_page_token` of the page before, in the same order; empty for the first.
            newest_first: Whether to begin with the newest turn.

        Raises:
            ClientError: They can't be had.
        """
        page = Page(session_id, page_size, page_token, newest_first)
        return await persist(self._transport, self._policy, lambda transport: transport.transcript(page))

    async def aclose(self) -> None:
        """Disconnect from all runs, and close all connections."""
        try:
            await asyncio.gather(*(run.aclose() for run in tuple(self._runs)))
        finally:
            await self._transport.aclose()

    async def __aenter__(self) -> Self:
        """Return this."""
        return self

    async def __aexit__(
        self,
        _: type[BaseException] | None,
        __: BaseException | None,
        ___: TracebackType | None,
    ) -> None:
        """Close everything."""
        await self.aclose()

    def _run(self, run_id: str, after: Cursor | None, request: StartRequest | None) -> Run:
        transport = self._transport.fork()
        progress = Progress(run_id, after, is_dense=transport.is_dense)
        run = Run(transport, progress, self._policy, request, self._runs.discard)
        self._runs.add(run)
        return run


def open_transport(url: str, credentials: Credentials) -> Transport:
    """Return the way to a server. Only its own libraries are loaded: they take a moment.

    Args:
        url: See `Client`.
        credentials: What authenticates the client.

    Raises:
        ValueError: The URL is not an address, or the credentials do not fit it.
        OSError: A TLS file can't be read.
    """
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in {"http", "https", "grpc", "grpcs"}:
        raise ValueError(f"{url!r} is not an address: it begins with http://, https://, grpc:// or grpcs://")
    require_header_value(credentials.api_key)
    require_tls_files(credentials, has_tls=scheme.endswith("s"))
    if scheme.startswith("http"):
        if credentials.api_key and is_exposed(url):
            warnings.warn(EXPOSED.format(urlsplit(url).hostname), ExposedKeyWarning, stacklevel=3)
        from tokenwire.client.sse_transport import SseTransport  # noqa: PLC0415

        return SseTransport(url, credentials)
    from tokenwire.client.grpc_channels import Connections  # noqa: PLC0415
    from tokenwire.client.grpc_transport import GrpcTransport  # noqa: PLC0415

    targets = read_targets(rest)
    if credentials.principal_key:
        require_principal(credentials.principal)
    elif credentials.api_key and scheme == "grpc":
        require_near(targets)
    return GrpcTransport(Connections(targets, credentials, tls=scheme == "grpcs"), credentials)


def require_header_value(api_key: str) -> None:
    """Return if an API key can be sent. One that can't would look like a connection that breaks each time.

    Raises:
        ValueError: It can't.
    """
    if not api_key.isascii() or not api_key.isprintable():
        raise ValueError("api_key has characters that can't be sent: a line end, for example")


def require_principal(name: str) -> None:
    """Return if a name can be signed.

    Raises:
        ValueError: It can't.
    """
    from tokenwire.principal import PrincipalError, require_name  # noqa: PLC0415

    try:
        require_name(name)
    except PrincipalError as error:
        raise ValueError(f"principal: {error}") from error


def require_tls_files(credentials: Credentials, *, has_tls: bool) -> None:
    """Return if a connection can use the TLS files.

    Raises:
        ValueError: It has no TLS, or a certificate lacks its key.
    """
    if (credentials.tls_cert is None) != (credentials.tls_key is None):
        raise ValueError("tls_cert and tls_key must be given together")
    if not has_tls and (credentials.tls_ca or credentials.tls_cert):
        raise ValueError("TLS files need an address that begins with https:// or grpcs://")


def require_near(targets: tuple[str, ...]) -> None:
    """Return if an API key can be sent to these cores unencrypted: they are on this machine.

    Raises:
        ValueError: One is not.
    """
    if (far := first_far(targets)) is not None:
        raise ValueError(
            f"the API key would be sent to {far} unencrypted: use TLS (grpcs://), or a core on this machine"
        )
