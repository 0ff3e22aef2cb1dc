"""Well-behaved clients, each with one stream at a time, that count what they receive.

A client whose stream ended without the run's terminal event follows the run again at the other edge, from
its last event on, after the time that the server told it to wait.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

from bench.event_source import BrokenOffError, Message, Response, request

TOKEN_BYTES: Final = 5
FIRST_TOKEN: Final = 2
"""The number of the event that holds the first token: RunStarted is the first event."""

RETRY_MS: Final = 1000
"""How long to wait before a reconnection where no server has said it."""

AGAIN: Final = frozenset({429, 502, 503, 504})
"""Refusals that pass."""

END_S: Final = 10.0
"""How long a response may go on after the terminal event."""

PATIENCE_S: Final = 60.0
"""How long nothing may come of a run, whatever is tried, before its client gives up."""


@dataclass(frozen=True)
class Order:
    """What every client asks for."""

    edges: Sequence[int]
    """The edges' ports."""
    tokens: int
    """Tokens of each run."""
    rate: float
    """Tokens a second of each run; 0 for as fast as possible."""
    size: int = TOKEN_BYTES
    """Bytes of each token."""
    reasons: frozenset[str] = frozenset({"stop"})
    """How its runs may finish."""

    @property
    def message(self) -> str:
        """What `pace` is asked."""
        return json.dumps({"tokens": self.tokens, "rate": self.rate, "size": self.size})


def text_of(first: int, last: int, size: int = TOKEN_BYTES) -> str:
    """Return the text of the events of these numbers: each token is its own number."""
    return "".join(f"{number - FIRST_TOKEN + 1:0{size}d}" for number in range(first, last + 1))


@dataclass
class Watched:
    """One run as its client has seen it, over all connections."""

    order: Order
    run_id: str = ""
    last_id: str = ""
    last: int = 0
    """The number of the last event."""
    lost: int = 0
    duplicated: int = 0
    ends: list[str] = field(default_factory=list)
    """Its terminal events: `done`, or an error's reason."""
    wrong: list[str] = field(default_factory=list)
    """What should never be."""
    interruptions: Counter[str] = field(default_factory=Counter)
    """How connections ended before the run did."""
    silence_s: float = 0.0
    """The longest time between two events, from the request on."""
    silent_before: int = 0
    """The number of the event that came after it."""
    heard: float = 0.0
    """When the last event came, in the event loop's time."""
    told_retry_ms: int | None = None

    def take(self, message: Message, now: float) -> None:
        """Take in a message."""
        if message.retry_ms is not None:
            self.told_retry_ms = message.retry_ms
        if not message.data:
            return
        data = json.loads(message.data)
        if message.event:
            self._control(message.event, data)
        elif not message.id:
            reason = (data.get("details") or {}).get("reason", "")
            self.interruptions[f"the edge's own error: {data.get('code')} {reason}".strip()] += 1
        else:
            self._event(message.id, data, now)

    def _control(self, event: str, data: dict[str, Any]) -> None:
        if event == "reconnect":
            self.told_retry_ms = data["retryMs"]
        elif event == "resync":
            self.wrong.append(f"resync {data}")

    def _event(self, event_id: str, data: dict[str, Any], now: float) -> None:
        """Count an event."""
        run_id, _, number = event_id.split(".")
        last = int(number)
        first = int(data.get("from", last))
        if now - self.heard > self.silence_s:
            self.silence_s, self.silent_before = now - self.heard, first
        self.heard = now
        if self.run_id and run_id != self.run_id:
            self.wrong.append(f"an event of run {run_id}")
        if self.ends:
            self.wrong.append(f"event {last} after the end")
        self.lost += max(0, first - self.last - 1)
        self.duplicated += max(0, min(last, self.last) - first + 1)
        self.run_id, self.last_id, self.last = run_id, event_id, max(last, self.last)
        self._content(data, first, last)

    def _content(self, data: dict[str, Any], first: int, last: int) -> None:
        """Check what an event says."""
        match data["type"]:
            case "text_delta":
                if data["content"] != text_of(first, last, self.order.size):
                    self.wrong.append(f"events {first} to {last} say {data['content'][:40]!r}")
            case "done":
                self.ends.append("done")
                if not self._is_right(data, last - FIRST_TOKEN):
                    self.wrong.append(f"done after {last} events: {data['finishReason']}")
            case "error":
                self.ends.append((data.get("details") or {}).get("reason") or data["code"])
            case "run_started":
                pass
            case other:
                self.wrong.append(f"an event of type {other}")

    def _is_right(self, done: dict[str, Any], tokens: int) -> bool:
        """Return whether a `done` after so many tokens may say what it says."""
        reason, message = done["finishReason"], done["finalMessage"]
        whole = reason != "stop" or tokens == self.order.tokens
        said = done.get("finalMessageOmitted") or message == text_of(
            FIRST_TOKEN, FIRST_TOKEN + tokens - 1, self.order.size
        )
        return bool(whole and said and reason in self.order.reasons)

    def check(self) -> None:
        """Note what is wrong with it now that its client is done with it."""
        if len(self.ends) != 1:
            self.wrong.append(f"{len(self.ends)} terminal events")


class Client:
    """Keeps one stream open: when a run has ended, it starts another one, until it is told to stop.

    Args:
        order: What it asks for.
        home: At which of the edges it starts its runs.
        stopping: Set to let it end with its run.
    """

    receive_bytes: int | None = None
    """How much may wait to be read."""

    def __init__(self, order: Order, home: int, stopping: asyncio.Event) -> None:
        self.runs: list[Watched] = []
        self._order = order
        self._home = home
        self._stopping = stopping
        self._loop = asyncio.get_running_loop()

    async def live(self) -> None:
        """Run after run."""
        while not self._stopping.is_set():
            run = Watched(self._order, heard=self._loop.time())
            self.runs.append(run)
            await self._watch(run)
            await self._compare(run)
            run.check()

    async def _watch(self, run: Watched) -> None:
        """Follow a run to its end, over as many connections as it takes."""
        edge, key = self._home, uuid4().hex
        while not run.ends and not run.wrong:
            try:
                await self._connect(run, self._order.edges[edge % len(self._order.edges)], key)
            except BrokenOffError as error:
                run.interruptions[str(error).partition(":")[0]] += 1
            if run.ends or run.wrong:
                return
            if self._loop.time() - run.heard > PATIENCE_S:
                run.wrong.append(f"nothing for {PATIENCE_S:g} s: {dict(run.interruptions)}")
                return
            edge += 1
            retry_ms = RETRY_MS if run.told_retry_ms is None else run.told_retry_ms
            # Servers spread it, and so does every good client.
            await asyncio.sleep(retry_ms / 1000 * random.uniform(0.8, 1.2))  # noqa: S311 # jitter, no secret

    async def _connect(self, run: Watched, port: int, key: str) -> None:
        """Read one response, to its end or until the client leaves it."""
        if run.run_id:
            headers = {"Last-Event-ID": run.last_id} if run.last_id else {}
            path = f"/api/runs/{run.run_id}/events"
            asking = request(port, "GET", path, headers, receive_bytes=self.receive_bytes)
        else:
            headers = {"Accept": "text/event-stream", "Idempotency-Key": key}
            body = json.dumps(self._question(key)).encode()
            asking = request(port, "POST", "/api/chat", headers, body, receive_bytes=self.receive_bytes)
        async with asking as response:
            if response.status != 200:
                await self._refused(run, response.status, await response.body())
                return
            run.run_id = response.headers.get("run-id", run.run_id)
            async for message in response.messages():
                run.take(message, self._loop.time())
                if await self._leaves(run, response):
                    return
            if not run.ends:
                run.interruptions["the stream ended early"] += 1

    def _question(self, key: str) -> dict[str, str]:
        """Return what is sent to start a run."""
        return {"message": self._order.message, "sessionId": key, "agent": "pace"}

    async def _leaves(self, run: Watched, response: Response) -> bool:
        """Return whether the client leaves its stream after this message: this one never does."""
        del run, response
        return False

    async def _refused(self, run: Watched, status: int, body: bytes) -> None:
        """Note a refusal: some are to be tried again, others mean that the run is lost."""
        if status in AGAIN:
            run.interruptions[f"HTTP {status}"] += 1
        else:
            silent_s = self._loop.time() - run.heard
            run.wrong.append(f"HTTP {status}, {silent_s:.1f} s after its last event: {body[:200]!r}")

    async def _compare(self, run: Watched) -> None:
        """Ask how the run stands: it has ended, and its last event is the one that was received last."""
        if not run.ends:
            return
        for port in (*self._order.edges, *self._order.edges) * 5:
            try:
                async with request(port, "GET", f"/api/runs/{run.run_id}", {}) as response:
                    status, body = response.status, await response.body()
            except BrokenOffError:
                status = 503
            if status not in AGAIN:
                break
            await asyncio.sleep(RETRY_MS / 1000)
        else:
            run.wrong.append("no edge returned its state")
            return
        state = json.loads(body)
        if state.get("state") != "ended" or state.get("last") != run.last_id:
            silent_s = self._loop.time() - run.heard
            run.wrong.append(
                f"received up to {run.last_id}, but {silent_s:.1f} s later it stands so: {state}"
            )


class Crowd:
    """All clients, in a thread of their own.

    Args:
        order: What each asks for.
        streams: How many there are.
    """

    def __init__(self, order: Order, streams: int) -> None:
        self._order = order
        self._streams = streams
        self._clients: list[Client] = []
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="checking-clients")
        self._failure: BaseException | None = None

    @property
    def runs(self) -> list[Watched]:
        """All runs so far."""
        return [run for client in list(self._clients) for run in list(client.runs)]

    @property
    def live(self) -> int:
        """How many streams are in the middle of a run."""
        return sum(run.last >= FIRST_TOKEN and not run.ends for run in self.runs)

    @property
    def running(self) -> bool:
        """Whether the clients are still there."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Let them begin."""
        self._thread.start()

    def finish(self, within_s: float) -> None:
        """Let each end with its run, and wait for that.

        Raises:
            RuntimeError: They did not end within the time, or broke.
        """
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(within_s)
        if self._thread.is_alive():
            raise RuntimeError(f"{self.live} streams have not ended within {within_s:g} s")
        if self._failure is not None:
            raise RuntimeError("a client broke") from self._failure

    def abandon(self) -> None:
        """End them all at once, where they still run."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._all.cancel)
            self._thread.join()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._clients = [Client(self._order, home, self._stopping) for home in range(self._streams)]
        self._all = asyncio.gather(*(self._begin(client) for client in self._clients))
        try:
            await self._all
        except asyncio.CancelledError:
            pass
        except Exception as error:  # noqa: BLE001 # told in `finish`
            self._failure = error

    async def _begin(self, client: Client) -> None:
        """Spread the beginnings over some seconds, so that the runs do not all end at once."""
        await asyncio.sleep(random.uniform(0, 0.3 * self._order.tokens / self._order.rate))  # noqa: S311
        await client.live()
