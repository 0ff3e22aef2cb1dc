"""The edge's door: POST, GET and cancel over HTTP, events as SSE."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import httpx
from httpx_sse import EventSource, ServerSentEvent, SSEError

from tokenwire.addresses import unproxied
from tokenwire.cli.doors import Access, BrokenError, Question, Received, RefusedError, UnreachableError

HOW_TO_PROVE: Final = "Set TOKENWIRE_API_KEY to an API key or a JWT."
"""What to do where the edge wants to know who asks: it speaks of a header."""

CONNECT_TIMEOUT_S: Final = 5.0
MAY_PASS: Final = frozenset({429, 500, 502, 503, 504})
"""What an edge, or a proxy before it, answers when it can't answer now."""
EVENTS: Final = "text/event-stream"
SILENCE_S: Final = 60.0
"""An edge breaks its silence every 15 s: after four of them the connection is dead."""


class SseDoor:
    """An edge at a URL."""

    guard_s = 0.0
    """HTTP carries no time limit of a run: the client keeps it."""
    is_dense = False

    def __init__(self, url: str, access: Access) -> None:
        self.place = f"the edge at {url}"
        self.run_id = ""
        self.retry_s = 0.0
        self._was_reached = False
        self._client = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {access.api_key}"} if access.api_key else {},
            timeout=httpx.Timeout(CONNECT_TIMEOUT_S, read=SILENCE_S),
            mounts=unproxied(url),
        )

    @property
    def is_out_of_reach(self) -> bool:
        """Whether no edge has ever answered."""
        return not self._was_reached

    async def turn(self) -> None:
        """Go on: there is one address, and httpx connects anew by itself. See `Door`."""

    async def start(self, question: Question) -> AsyncIterator[Received]:
        """Start a run and yield what comes. See `Door`."""
        body = {
            "message": question.message,
            "sessionId": question.session_id or f"ask-{secrets.token_hex(8)}",
            **({"agent": question.agent} if question.agent else {}),
            "onDisconnect": "grace",
        }
        headers = {"Accept": EVENTS, "Idempotency-Key": question.request_id}
        async for item in self._read(self._client.stream("POST", "/api/chat", json=body, headers=headers)):
            yield item

    async def follow(self, after: str) -> AsyncIterator[Received]:
        """Yield what comes after an event. See `Door`."""
        url = f"/api/runs/{self.run_id}/events"
        headers = {"Accept": EVENTS, **({"Last-Event-ID": after} if after else {})}
        async for item in self._read(self._client.stream("GET", url, headers=headers)):
            yield item

    async def cancel(self) -> None:
        """Stop the run. See `Door`."""
        try:
            answer = await self._client.post(f"/api/runs/{self.run_id}/cancel")
        except httpx.TransportError as error:
            raise UnreachableError(f"Can't reach {self.place}.") from error
        if answer.is_error:
            raise _refusal(answer, is_follow=True)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _read(self, opening: AbstractAsyncContextManager[httpx.Response]) -> AsyncIterator[Received]:
        """Yield a response's events and controls, and close it whatever happens."""
        try:
            async with opening as response:
                self._was_reached = True
                if response.is_error:
                    await response.aread()
                    raise _refusal(response, is_follow=bool(self.run_id))
                self.run_id = response.headers.get("Run-Id", self.run_id)
                if response.status_code == httpx.codes.NO_CONTENT:
                    raise RefusedError(
                        "DATA_LOSS", f"{self.place} has no further events of the run, and no terminal event."
                    )
                async for item in self._items(response):
                    self.run_id = item.fields.get("runId", self.run_id)
                    yield item
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            text = f"Can't reach {self.place}: is it running? (`tokenwire up` starts one.)"
            raise UnreachableError(text) from error
        except httpx.TransportError as error:
            self._was_reached = True
            raise BrokenError(f"the connection to {self.place} was lost") from error
        except SSEError as error:
            raise RefusedError(
                "UNKNOWN", f"{self.place} does not answer like an edge: check --url (TOKENWIRE_URL)."
            ) from error

    async def _items(self, response: httpx.Response) -> AsyncIterator[Received]:
        """Yield what a response's messages say, and heed when to come back."""
        last_id = ""
        async for message in EventSource(response).aiter_sse():
            item = _received(message, is_new_id=message.id != last_id)
            last_id = message.id
            if message.retry is not None:
                self.retry_s = message.retry / 1000
            if item is None:
                continue
            if item.is_control and item.type == "reconnect":
                self.retry_s = item.fields.get("retryMs", 0) / 1000
            yield item


def _received(message: ServerSentEvent, *, is_new_id: bool) -> Received | None:
    """Return what an SSE message says; None for one that says nothing to us, as a ping."""
    try:
        fields: Any = json.loads(message.data) if message.data else {}
    except ValueError as error:
        raise RefusedError("UNKNOWN", "The edge sent invalid event data.") from error
    if not isinstance(fields, dict) or not message.data:
        return None
    if message.event != "message":
        return Received("", message.event, fields, is_control=True)
    kind = str(fields.pop("type", ""))
    # Only an edge's own error has no id: the one that readers see there is that of the message before.
    is_own = kind == "error" and not is_new_id
    return Received("" if is_own else message.id, kind, fields)


def _refusal(answer: httpx.Response, *, is_follow: bool) -> RefusedError:
    """Return what a problem+json (RFC 9457), or any other error answer, says."""
    try:
        problem: Any = answer.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {}
    code = problem.get("code") or f"HTTP {answer.status_code}"
    message = problem.get("detail") or problem.get("title") or answer.reason_phrase
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        message = f"{message} {HOW_TO_PROVE}"
    details = problem.get("details")
    facts = details if isinstance(details, dict) else None
    return RefusedError(str(code), str(message), facts, retry_s=_retry_s(answer, is_follow=is_follow))


def _retry_s(answer: httpx.Response, *, is_follow: bool) -> float | None:
    """Return when to ask again, in seconds; None when that would not help.

    A follow is repeated whenever it may pass; a start only where it is asked for.
    """
    said = answer.headers.get("Retry-After", "")
    if said.isdecimal() and answer.status_code in MAY_PASS:
        return float(said)
    return 0.0 if is_follow and answer.status_code in MAY_PASS else None
