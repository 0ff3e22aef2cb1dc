"""The way to an edge: POST, GET and Stop over HTTP, events as SSE."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from hashlib import blake2b
from typing import Any, Final, TypeVar, get_args
from urllib.parse import quote

import httpx
import msgspec
from httpx_sse import EventSource, ServerSentEvent, SSEError

from tokenwire import events
from tokenwire.addresses import unproxied
from tokenwire.client.bounded import BoundedMessages, TooLongError, read_whole
from tokenwire.client.errors import ConnectionLostError, RefusedError, UnreachableError
from tokenwire.client.trace_context import trace_headers
from tokenwire.client.transport import Answer, Credentials, Page, Received, StartRequest
from tokenwire.cursor import Cursor, EventId, parse_event_id
from tokenwire.runs import RunView, SessionRuns, Transcript

CONNECT_TIMEOUT_S: Final = 5.0
UNARY_TIMEOUT_S: Final = 10.0
SILENCE_S: Final = 60.0
"""An edge breaks its silence every 15 s: after four of them the connection is dead."""

MAY_PASS: Final = frozenset({429, 500, 502, 503, 504})
"""What an edge, or a proxy before it, answers when it can't answer now."""

STREAMED: Final = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
"""Asks for a stream. A proxy that compresses one holds its events back until it has enough of them."""

MAX_RETRY_MS: Final = 3_600_000
"""The longest pause that is taken over: a number with hundreds of digits is no time."""

NOT_AN_EDGE: Final = "NOT_AN_EDGE"
"""The reason of an answer that no edge gives."""

Reply = TypeVar("Reply", bound=msgspec.Struct)


class _InputClosed(msgspec.Struct):
    outcome: str


class SseTransport:
    """An edge at a URL.

    Args:
        url: http:// or https://.
        credentials: What authenticates the client.
    """

    is_dense = False
    guard_s = 0.0
    """HTTP carries no time limit of a run: the client keeps it."""

    def __init__(self, url: str, credentials: Credentials) -> None:
        self._place = f"the edge at {url}"
        self._reached = [False]
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {credentials.api_key}"} if credentials.api_key else {},
            timeout=httpx.Timeout(CONNECT_TIMEOUT_S, read=SILENCE_S),
            limits=httpx.Limits(max_connections=None),
            verify=_tls(credentials) if url.lower().startswith("https:") else _NO_TLS,
            mounts=unproxied(url),
        )

    @property
    def is_out_of_reach(self) -> bool:
        """Whether no edge has ever answered."""
        return not self._reached[0]

    def fork(self) -> SseTransport:
        """Return this: a request needs nothing of the one before. See `Transport`."""
        return self

    async def turn(self) -> None:
        """Do nothing: there is one address, and httpx connects again by itself. See `Transport`."""

    async def start(self, request: StartRequest) -> AsyncGenerator[Received, None]:
        """Start a run and yield what comes. See `Transport`."""
        body = {
            "message": request.message,
            # An edge asks for a session. Of the same request it must be the same, or it would be another one.
            "sessionId": request.session_id or f"session-{_digest(request.request_id)}",
            "onDisconnect": request.on_disconnect,
            **({"agent": request.agent} if request.agent else {}),
            **({"userId": request.user_id} if request.user_id else {}),
        }
        headers = {**STREAMED, "Idempotency-Key": request.request_id, **trace_headers()}
        opening = self._http.stream("POST", "/api/chat", json=body, headers=headers)
        async with aclosing(self._stream(opening, "")) as stream:
            async for received in stream:
                yield received

    async def follow(
        self, run_id: str, after: Cursor | None, *, relay: bool
    ) -> AsyncGenerator[Received, None]:
        """Yield what comes after an event. See `Transport`."""
        del relay  # the edge is the relay
        last_id = {"Last-Event-ID": str(EventId(run_id, after))} if after else {}
        headers = {**STREAMED, **last_id, **trace_headers()}
        opening = self._http.stream("GET", f"/api/runs/{_segment(run_id)}/events", headers=headers)
        async with aclosing(self._stream(opening, run_id)) as stream:
            async for received in stream:
                yield received

    async def cancel(self, run_id: str) -> RunView:
        """Stop a run. See `Transport`."""
        return await self._ask("POST", f"/api/runs/{_segment(run_id)}/cancel", RunView)

    async def send_input(self, answer: Answer) -> str:
        """Answer a question. See `Transport`."""
        path = f"/api/runs/{_segment(answer.run_id)}/inputs/{_segment(answer.input_id)}"
        value_json = answer.value_json
        body = '{"decline":true}' if value_json is None else f'{{"value":{value_json}}}'
        headers = {"Content-Type": "application/json", "Idempotency-Key": answer.request_id}
        closed = await self._ask("POST", path, _InputClosed, content=body.encode(), headers=headers)
        return closed.outcome

    async def leave(self, run_id: str) -> None:
        """Do nothing: the edge sees that the connection was closed. See `Transport`."""

    async def get(self, run_id: str) -> RunView:
        """Return the state of a run. See `Transport`."""
        return await self._ask("GET", f"/api/runs/{_segment(run_id)}", RunView)

    async def runs(self, page: Page) -> SessionRuns:
        """Return runs of a session. See `Transport`."""
        query = {"pageSize": str(page.size), "pageToken": page.token}
        return await self._ask("GET", f"/api/sessions/{_segment(page.session_id)}/runs", SessionRuns, query)

    async def transcript(self, page: Page) -> Transcript:
        """Return turns of a session. See `Transport`."""
        order = "newest" if page.newest_first else "oldest"
        query = {"pageSize": str(page.size), "pageToken": page.token, "order": order}
        return await self._ask(
            "GET", f"/api/sessions/{_segment(page.session_id)}/transcript", Transcript, query
        )

    async def aclose(self) -> None:
        """Close the connections. See `Transport`."""
        await self._http.aclose()

    async def _ask(  # noqa: PLR0913 # what a request is made of
        self,
        method: str,
        path: str,
        kind: type[Reply],
        query: Mapping[str, str] | None = None,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Return the answer to a request that is no stream."""
        all_headers = {**(headers or {}), **trace_headers()}
        try:
            async with (
                asyncio.timeout(UNARY_TIMEOUT_S),
                self._http.stream(method, path, params=query, content=content, headers=all_headers) as answer,
            ):
                body = await read_whole(answer)
        except TimeoutError as error:
            raise self._too_slow() from error
        except TooLongError as error:
            raise self._too_long(error) from error
        except httpx.DecodingError as error:
            raise self._not_an_edge() from error
        except httpx.TransportError as error:
            raise self._transport_error(error) from error
        self._reached[0] = True
        if not answer.is_success:
            raise refusal(answer, body, is_start=False)
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.DecodeError, RecursionError) as error:
            raise self._not_an_edge() from error

    async def _stream(
        self, opening: AbstractAsyncContextManager[httpx.Response], run_id: str
    ) -> AsyncGenerator[Received, None]:
        """Yield what a response streams, and close it whatever happens."""
        try:
            async with opening as response:
                self._reached[0] = True
                if not response.is_success:
                    async with asyncio.timeout(UNARY_TIMEOUT_S):
                        body = await read_whole(response)
                    raise refusal(response, body, is_start=not run_id)
                run_id = response.headers.get("Run-Id", run_id)
                if response.status_code == httpx.codes.NO_CONTENT:
                    return
                last_id, received = "", None
                async with aclosing(_messages(response)) as messages:
                    async for message in messages:
                        received = read_message(message, run_id, last_id)
                        run_id, last_id = received.run_id, message.id
                        yield received
                if received is None or not isinstance(received.event, events.Done | events.Error):
                    await _abandon(response)
        except TimeoutError as error:
            raise self._too_slow() from error
        except TooLongError as error:
            raise self._too_long(error) from error
        except (SSEError, httpx.DecodingError, RecursionError, ValueError) as error:
            # First: an SSEError is a TransportError too.
            raise self._not_an_edge() from error
        except httpx.TransportError as error:
            raise self._transport_error(error) from error

    def _transport_error(self, error: httpx.TransportError) -> UnreachableError | ConnectionLostError:
        """Return what a failed request means."""
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return UnreachableError(f"Can't reach {self._place}.")
        self._reached[0] = True
        return ConnectionLostError(f"the connection to {self._place} was lost")

    def _too_slow(self) -> ConnectionLostError:
        """Return what it means that a whole answer took too long: httpx limits each read only."""
        self._reached[0] = True
        return ConnectionLostError(f"{self._place} did not answer within {UNARY_TIMEOUT_S:g} s")

    def _too_long(self, error: TooLongError) -> RefusedError:
        text = f"{self._place} sent {error}, which no edge does: check the URL."
        return RefusedError("UNKNOWN", text, {"reason": NOT_AN_EDGE})

    def _not_an_edge(self) -> RefusedError:
        text = f"{self._place} does not answer like an edge: check the URL."
        return RefusedError("UNKNOWN", text, {"reason": NOT_AN_EDGE})


def _messages(response: httpx.Response) -> AsyncGenerator[ServerSentEvent, None]:
    """Return the messages of a stream.

    Raises:
        httpx.DecodingError: It is compressed, though that was not asked for: nothing would bound it.
    """
    if response.headers.get("content-encoding", "identity") != "identity":
        raise httpx.DecodingError("a compressed stream", request=response.request)
    assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 # for the type checker
    response.stream = BoundedMessages(response.stream)
    return EventSource(response).aiter_sse()


async def _abandon(response: httpx.Response) -> None:
    """Close a connection whose stream ended in good order, but before its run: the edge is going down.

    It would be used again for the next request, and lead to the same edge: to none of those that share its
    address.
    """
    network = response.extensions.get("network_stream")
    if network is not None:
        await network.aclose()


_NO_TLS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For plain HTTP: httpx would load all CA certificates of the system, 13 ms of CPU."""

_event_decoder: Final[msgspec.json.Decoder[events.StreamEvent]] = msgspec.json.Decoder(events.StreamEvent)
_type_decoder: Final = msgspec.json.Decoder(dict[str, Any])
_KNOWN: Final = frozenset(str(kind.__struct_config__.tag) for kind in get_args(events.StreamEvent))
"""The types of the events that this version knows."""

_CONTROLS: Final[Mapping[str, type[events.ControlEvent]]] = {
    "caught_up": events.CaughtUp,
    "resync": events.Resync,
    "degraded": events.Degraded,
    "reconnect": events.Reconnect,
}


def read_message(message: ServerSentEvent, run_id: str, last_id: str) -> Received:
    """Return what an SSE message says.

    Args:
        message: As httpx-sse read it: the id is the last one that came, of this message or one before.
        run_id: The run, as far as it is known.
        last_id: The id of the message before: one that has the same has none of its own. Only an error of
            the edge itself has none.

    Raises:
        ValueError: Its data is not what an edge sends.
    """
    retry_s = min(message.retry, MAX_RETRY_MS) / 1000 if message.retry is not None else None
    if not message.data:
        return Received(run_id, None, None, retry_s)
    if message.event != "message":
        control = _control(message)
        if isinstance(control, events.Reconnect):
            retry_s = min(control.retry_ms, MAX_RETRY_MS) / 1000
        return Received(run_id, None, control, retry_s)
    event = _event(message.data)
    event_id = parse_event_id(message.id) if message.id != last_id else None
    return Received(event_id.run_id if event_id else run_id, event_id, event, retry_s)


def _control(message: ServerSentEvent) -> events.ControlEvent | None:
    """Return a control; None for one that this version does not know, and for a heartbeat."""
    kind = _CONTROLS.get(message.event)
    return msgspec.json.decode(message.data, type=kind) if kind else None


def _event(data: str) -> events.StreamEvent | None:
    """Return an event; None for one that this version does not know."""
    try:
        return _event_decoder.decode(data)
    except msgspec.ValidationError:
        if _type_decoder.decode(data).get("type") in _KNOWN:
            raise
        return None


def refusal(answer: httpx.Response, body: bytes, *, is_start: bool) -> RefusedError:
    """Return what a problem document (RFC 9457), or any other error answer, says.

    Args:
        answer: Its status and headers.
        body: What it says.
        is_start: A start is repeated only if the server asks for it; anything else whenever it may pass.
    """
    try:
        problem: Any = json.loads(body)
    except (ValueError, RecursionError):
        problem = None
    if not isinstance(problem, dict):
        problem = {}
    code = problem.get("code") or f"HTTP {answer.status_code}"
    message = problem.get("detail") or problem.get("title") or answer.reason_phrase
    details = problem.get("details")
    facts = {str(key): str(value) for key, value in details.items()} if isinstance(details, dict) else None
    return RefusedError(
        str(code), str(message), facts, retry_after_s=_retry_after_s(answer, is_start=is_start)
    )


def _retry_after_s(answer: httpx.Response, *, is_start: bool) -> float | None:
    """Return when to ask again, in seconds; None if that does not help."""
    said = answer.headers.get("Retry-After", "")
    if said.isdecimal() and answer.status_code in MAY_PASS:
        return float(said)
    return 0.0 if not is_start and answer.status_code in MAY_PASS else None


def _segment(text: str) -> str:
    """Return a text as one segment of a path, whatever a caller has passed on."""
    quoted = quote(text, safe="~:@")
    return quoted.replace(".", "%2E") if quoted in {".", ".."} else quoted  # httpx would remove these


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _tls(credentials: Credentials) -> ssl.SSLContext | bool:
    """Return how to check the edge's certificate, and what to show it."""
    if credentials.tls_ca is None and credentials.tls_cert is None:
        return True
    context = ssl.create_default_context(cafile=credentials.tls_ca)
    if credentials.tls_cert is not None:
        context.load_cert_chain(credentials.tls_cert, credentials.tls_key)
    return context
