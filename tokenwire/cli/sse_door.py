"""The edge's door: POST, GET and cancel over HTTP, events as SSE."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import httpx
from httpx_sse import EventSource, ServerSentEvent, SSEError

from tokenwire.cli.doors import Access, BrokenError, Question, Received, RefusedError, UnreachableError

CONNECT_TIMEOUT_S: Final = 5.0
SILENCE_S: Final = 60.0
"""An edge breaks its silence every 15 s: after four of them the connection is dead."""


class SseDoor:
    """An edge at a URL."""

    guard_s = 0.0
    """HTTP carries no time limit of a run: the client keeps it."""

    def __init__(self, url: str, access: Access) -> None:
        self.place = f"the edge at {url}"
        self.run_id = ""
        self._client = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {access.api_key}"} if access.api_key else {},
            timeout=httpx.Timeout(CONNECT_TIMEOUT_S, read=SILENCE_S),
        )

    async def start(self, question: Question) -> AsyncIterator[Received]:
        """Start a run and yield what comes. See `Door`."""
        body = {
            "message": question.message,
            "sessionId": question.session_id or f"ask-{secrets.token_hex(8)}",
            **({"agent": question.agent} if question.agent else {}),
            "onDisconnect": "grace",
        }
        headers = {"Accept": "text/event-stream"}
        async for item in self._read(self._client.stream("POST", "/api/chat", json=body, headers=headers)):
            yield item

    async def follow(self, after: str) -> AsyncIterator[Received]:
        """Yield what comes after an event. See `Door`."""
        url = f"/api/runs/{self.run_id}/events"
        parameters = {"after": after} if after else {}
        async for item in self._read(self._client.stream("GET", url, params=parameters)):
            yield item

    async def cancel(self) -> None:
        """Stop the run. See `Door`."""
        try:
            answer = await self._client.post(f"/api/runs/{self.run_id}/cancel")
        except httpx.TransportError as error:
            raise UnreachableError(f"Can't reach {self.place}.") from error
        if answer.is_error:
            raise _refusal(answer)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _read(self, opening: AbstractAsyncContextManager[httpx.Response]) -> AsyncIterator[Received]:
        """Yield a response's events and controls, and close it whatever happens."""
        try:
            async with opening as response:
                if response.is_error:
                    await response.aread()
                    raise _refusal(response)
                self.run_id = response.headers.get("Run-Id", self.run_id)
                if response.status_code == httpx.codes.NO_CONTENT:
                    return
                last_id = ""
                async for message in EventSource(response).aiter_sse():
                    # Readers of SSE carry the last id over to messages that have none of their own.
                    item = _received(message, "" if message.id == last_id else message.id)
                    last_id = message.id
                    if item is not None:
                        self.run_id = item.fields.get("runId", self.run_id)
                        yield item
        except httpx.TransportError as error:
            if self.run_id and not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
                raise BrokenError(f"{self.place} broke off") from error
            text = f"Can't reach {self.place}: is it running? (`tokenwire up` starts one.)"
            raise UnreachableError(text) from error
        except SSEError as error:
            raise RefusedError("UNKNOWN", f"{self.place} does not answer as an edge does.") from error


def _received(message: ServerSentEvent, event_id: str) -> Received | None:
    """Return what an SSE message says; None for one that says nothing to us, as a ping."""
    try:
        fields: Any = json.loads(message.data) if message.data else {}
    except ValueError as error:
        raise RefusedError("UNKNOWN", "The edge sent what is no event.") from error
    if not isinstance(fields, dict):
        return None
    if message.event != "message":
        return Received("", message.event, fields, is_control=True)
    kind = str(fields.pop("type", ""))
    return Received(event_id, kind, fields)


def _refusal(answer: httpx.Response) -> RefusedError:
    """Return what a problem+json (RFC 9457), or any other error answer, says."""
    try:
        problem: Any = answer.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {}
    code = problem.get("code") or f"HTTP {answer.status_code}"
    message = problem.get("detail") or problem.get("title") or answer.reason_phrase
    details = problem.get("details")
    return RefusedError(str(code), str(message), details if isinstance(details, dict) else None)
