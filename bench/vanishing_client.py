"""A client on a bare socket that goes away without a word, at a moment drawn by lot."""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from bench.event_source import RESET

Request = Literal["stream", "start", "follow", "resume", "cut request", "nothing"]
Moment = Literal["at once", "before the first token", "mid-token", "at a token", "after the end"]

REQUESTS: Final[dict[Request, float]] = {
    "stream": 10,  # POST /api/chat
    "start": 1,  # POST with Accept: application/json: the run is never followed
    "follow": 3,  # GET of a run that another client has asked for, from its first event
    "resume": 2,  # the same after some event
    "cut request": 1,  # a request that is cut off in its middle
    "nothing": 1,  # a connection without a request
}
"""What clients ask for, and how often in relation to each other."""

MOMENTS: Final[dict[Moment, float]] = {
    "at once": 2,
    "before the first token": 3,
    "mid-token": 4,
    "at a token": 3,
    "after the end": 3,
}

TOKENS: Final = 20
RATE: Final = 100
"""Tokens per second: a whole answer takes 0.2 s."""

DELAYS_S: Final = (0.0, 0.02, 0.1)
"""How long the agent thinks before the first token."""

CLIENT_TIMEOUT_S: Final = 30.0
"""No client stays longer: a run takes less than a second."""

RUN_ID: Final = re.compile(rb"run-id: ([0-9a-z]{30})")


@dataclass(frozen=True)
class Plan:
    """What one client does."""

    request: Request
    moment: Moment
    policy: Literal["cancel", "grace"]
    delay_s: float
    tokens_before: int
    """How many tokens it reads first, for moments that lie among them."""
    bytes_more: int
    """How many bytes of the next frame it reads."""
    wait_s: float
    """How long it waits before it goes, where it does not wait for bytes."""
    reset: bool
    """Whether it leaves by RST instead of FIN."""


def draw_plan(lot: random.Random) -> Plan:
    """Return the next plan."""
    return Plan(
        request=lot.choices(list(REQUESTS), list(REQUESTS.values()))[0],
        moment=lot.choices(list(MOMENTS), list(MOMENTS.values()))[0],
        policy=lot.choice(("cancel", "cancel", "grace")),
        delay_s=lot.choice(DELAYS_S),
        tokens_before=lot.randrange(TOKENS),
        bytes_more=lot.randrange(1, 80),
        wait_s=lot.random() * 0.12,
        reset=lot.random() < 0.5,
    )


class VanishingClient:
    """One client.

    Args:
        address: Host and port of the edge.
        plan: What it does.
        number: Its number: makes its session.
        known_runs: Ids of runs that others have asked for; added to.
        pick: Picks one of them.
    """

    def __init__(
        self,
        address: tuple[str, int],
        plan: Plan,
        number: int,
        known_runs: list[str],
        pick: Callable[[list[str]], str],
    ) -> None:
        self._address = address
        self._plan = plan
        self._number = number
        self._known_runs = known_runs
        self._pick = pick
        self._seen = bytearray()

    async def run(self) -> bool:
        """Connect, ask, and vanish. Return whether the answer's end was seen."""
        loop = asyncio.get_running_loop()
        connection = socket.socket()
        connection.setblocking(False)
        try:
            async with asyncio.timeout(CLIENT_TIMEOUT_S):
                await loop.sock_connect(connection, self._address)
                await loop.sock_sendall(connection, self._request())
                await self._stay(connection)
        finally:
            if self._plan.reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            connection.close()
        if found := RUN_ID.search(self._seen):
            self._known_runs.append(found[1].decode())
            del self._known_runs[:-50]
        return b"\r\n0\r\n\r\n" in self._seen

    def _request(self) -> bytes:
        """Return what is sent."""
        request = self._plan.request
        if request == "nothing":
            return b""
        if request in {"follow", "resume"} and self._known_runs:
            run_id = self._pick(self._known_runs)
            after = f"?after={run_id}.1.{1 + self._plan.tokens_before}" if request == "resume" else ""
            return f"GET /api/runs/{run_id}/events{after} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        order = json.dumps({"tokens": TOKENS, "rate": RATE, "delay_s": self._plan.delay_s})
        body = json.dumps(
            {"message": order, "sessionId": f"s{self._number}", "onDisconnect": self._plan.policy}
        )
        accept = "application/json" if request == "start" else "text/event-stream"
        whole = (
            f"POST /api/chat HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: {accept}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        ).encode()
        return whole[: self._plan.bytes_more * 3] if request == "cut request" else whole

    async def _stay(self, connection: socket.socket) -> None:
        """Return when the moment has come."""
        plan = self._plan
        if plan.moment == "at once":
            return
        if plan.moment == "before the first token" or plan.request in {"nothing", "cut request"}:
            await asyncio.sleep(plan.wait_s)
            return
        if plan.moment == "after the end":
            await self._read(connection, lambda: self._answered)
            return
        await self._read(connection, lambda: self._answered or self._tokens >= plan.tokens_before)
        if plan.moment == "mid-token":
            goal = len(self._seen) + plan.bytes_more
            await self._read(connection, lambda: self._answered or len(self._seen) >= goal)

    @property
    def _tokens(self) -> int:
        return self._seen.count(b'"type":"text_delta"')

    @property
    def _answered(self) -> bool:
        """Whether the answer is whole: the last chunk is here, or all of a short answer's body."""
        head, found, body = bytes(self._seen).partition(b"\r\n\r\n")
        if not found:
            return False
        if b"transfer-encoding: chunked" in head:
            return body.endswith(b"0\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        return head.startswith(b"HTTP/1.1 204") or (length is not None and len(body) >= int(length[1]))

    async def _read(self, connection: socket.socket, enough: Callable[[], bool]) -> None:
        """Read, a few bytes at a time, until it is enough.

        Raises:
            ConnectionError: The edge has closed the connection before that.
        """
        loop: Any = asyncio.get_running_loop()
        while not enough():
            received = await loop.sock_recv(connection, 64)
            if not received:
                raise ConnectionError(f"cut short after {bytes(self._seen[-200:])!r}")
            self._seen += received
