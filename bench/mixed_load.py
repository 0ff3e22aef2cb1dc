"""Visitors of a soak: each starts one run, does to its streams what clients do, and reads it to its end.

Whatever a visitor does in between, it has counted every event of its run when it goes: those of a stream that
it left come after its cursor, from the run's log.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple
from uuid import uuid4

from bench.checking_clients import Client, Order, Watched
from bench.event_source import RESET, BrokenOffError, Response, request

Policy = Literal["cancel", "grace", "continue"]
Way = Literal["drop", "reset", "stall", "stop"]

CANCELLED_TOO: Final = frozenset({"stop", "cancelled"})

AT_ONCE: Final = 128
"""The most visitors at a time, somewhat more than there are on a machine that keeps up. More wait: one that
does not would forget runs before they are read."""

STALL_BYTES: Final = 4096
"""What one who stalls lets wait for it."""


class Times(NamedTuple):
    """How long what takes."""

    stall_s: float = 6.0
    """How long one who stalls reads nothing. All others follow from it."""

    @property
    def grace_s(self) -> float:
        """How long a run goes on without a follower."""
        return self.stall_s / 2

    @property
    def late_s(self) -> float:
        """How long one who comes late stays away: longer than the grace time."""
        return self.stall_s * 2 / 3

    @property
    def write_deadline_s(self) -> float:
        """How long a write may be stuck: so that the edge cuts off one who stalls."""
        return self.stall_s * 2 / 3

    @property
    def pause_s(self) -> float:
        """How long others stay away at most."""
        return self.stall_s / 3


class Deed(NamedTuple):
    """What a visitor does with its stream when it has read so far."""

    after: int
    """The number of the event."""
    way: Way
    pause_s: float = 0.0
    """How long it stays away."""


@dataclass(frozen=True)
class Visit:
    """What one visitor does."""

    kind: str
    order: Order
    policy: Policy = "grace"
    by_start: bool = False
    """It has the run started and follows it, instead of reading it from the answer on."""
    deeds: tuple[Deed, ...] = ()


KINDS: Final[Mapping[str, float]] = {
    "read": 8,
    "started": 3,
    "late": 1,
    "dropped": 4,
    "reset": 3,
    "stopped": 2,
    "vanished": 2,
    "stalled": 1,
    "half body": 1,
}
"""What visitors do, and how often in relation to each other."""


def draw_visit(lot: random.Random, edges: tuple[int, ...], times: Times) -> Visit:
    """Return what the next visitor does."""
    kind = lot.choices(list(KINDS), list(KINDS.values()))[0]
    # Short ones, long ones, and large ones as fast as they can be read.
    tokens, rate, size = lot.choices(
        ((lot.randrange(1, 60), lot.choice((0, 100, 400)), 5), (200, 50, 5), (60, 0, 2_500)), (6, 2, 1)
    )[0]
    order = Order(edges, tokens, rate, size)
    cancelled = Order(edges, tokens, rate, size, CANCELLED_TOO)
    at = lot.randrange(1, tokens + 2)
    pause_s = lot.random() * times.pause_s
    policy: Policy = "grace"
    deeds: tuple[Deed, ...] = ()
    match kind:
        case "started":
            policy = "continue"
        case "late":
            order, deeds = cancelled, (Deed(0, "drop", times.late_s),)
        case "dropped":
            policy, deeds = "continue", (Deed(at, "drop", pause_s), Deed(at + 10, "drop"))
        case "reset":  # On a machine that is too slow the grace time may be over.
            order, deeds = cancelled, (Deed(at, "reset", pause_s), Deed(at + 5, "reset"))
        case "stopped":
            order, deeds = cancelled, (Deed(at, "stop"),)
        case "vanished":
            way: Way = lot.choice(("drop", "reset"))
            order, policy, deeds = cancelled, "cancel", (Deed(at, way, pause_s),)
        case "stalled":
            order = Order(edges, 100, 0, 10_000)
            policy, deeds = "continue", (Deed(2, "stall", times.stall_s),)
    return Visit(kind, order, policy, by_start=kind in {"started", "late"}, deeds=deeds)


class Visitor(Client):
    """One visitor.

    Args:
        visit: What it does.
        times: How long that takes.
    """

    def __init__(self, visit: Visit, times: Times) -> None:
        super().__init__(visit.order, 0, asyncio.Event())
        self._visit = visit
        self._times = times
        self._deeds = list(visit.deeds)
        if any(deed.way == "stall" for deed in self._deeds):
            self.receive_bytes = STALL_BYTES

    async def visit(self) -> Watched | None:
        """Return the run as it was seen; None where none was started."""
        if self._visit.kind == "half body":
            await self._send_half()
            return None
        run = Watched(self._order, heard=self._loop.time())
        if self._visit.by_start:
            await self._start(run)
        await self._watch(run)
        await self._compare(run)
        run.check()
        return run

    async def _start(self, run: Watched) -> None:
        """Have the run started without its stream."""
        key = uuid4().hex
        headers = {"Accept": "application/json", "Idempotency-Key": key}
        body = json.dumps(self._question(key)).encode()
        async with request(self._order.edges[0], "POST", "/api/chat", headers, body) as response:
            answer = await response.body()
            if response.status != 202:
                await self._refused(run, response.status, answer)
                return
            run.run_id = json.loads(answer)["runId"]
        if self._deeds and not self._deeds[0].after:
            await asyncio.sleep(self._deeds.pop(0).pause_s)

    def _question(self, key: str) -> dict[str, str]:
        """Return what is sent to start the run."""
        return {**super()._question(key), "onDisconnect": self._visit.policy}

    async def _leaves(self, run: Watched, response: Response) -> bool:
        """Do what is to be done now; return whether the stream was left with that."""
        if run.ends or not self._deeds or run.last < self._deeds[0].after:
            return False
        deed = self._deeds.pop(0)
        match deed.way:
            case "stop":
                await self._stop(run)
                return False
            case "stall":
                await asyncio.sleep(deed.pause_s)
                self.receive_bytes = None  # It has been cut off, and reads on like others.
                return False
            case "reset":
                response.reset()
        run.told_retry_ms = int(deed.pause_s * 1_000)
        return True

    async def _stop(self, run: Watched) -> None:
        async with request(
            self._order.edges[0], "POST", f"/api/runs/{run.run_id}/cancel", {}, b"{}"
        ) as response:
            if response.status != 200:
                run.wrong.append(f"cancel: HTTP {response.status}: {(await response.body())[:200]!r}")

    async def _send_half(self) -> None:
        """Send a part of a request's body, and go."""
        body = json.dumps(self._question(uuid4().hex)).encode()
        head = "POST /api/chat HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(body) + 50}\r\n\r\n"
        _, writer = await asyncio.open_connection("127.0.0.1", self._order.edges[0])
        writer.write(head.encode() + body)
        await asyncio.sleep(self._times.pause_s)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.close()


@dataclass
class Tally:
    """What all visitors have seen so far."""

    runs: int = 0
    """Runs that were started, as their visitors have heard."""
    ended_once: int = 0
    lost: int = 0
    """Events that a visitor's cursor passed over: holes."""
    duplicated: int = 0
    """Events that came twice."""
    wrong: list[str] = field(default_factory=list)
    """The first things that should not have been."""
    faults: int = 0
    """How many there were."""
    visits: Counter[str] = field(default_factory=Counter)
    interruptions: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, Any]:
        """Return it as it is kept."""
        counted = {name: dict(value) for name, value in vars(self).items() if isinstance(value, Counter)}
        return {**vars(self), **counted}

    def take(self, run: Watched) -> None:
        """Count a run."""
        self.runs += 1
        self.ended_once += len(run.ends) == 1
        self.lost += run.lost
        self.duplicated += run.duplicated
        self.faults += len(run.wrong)
        self.wrong += [f"run {run.run_id}: {text}" for text in run.wrong[: max(0, 20 - len(self.wrong))]]
        self.interruptions += run.interruptions
        self.ends.update(run.ends)


class Visitors:
    """All visitors, drawn one after another from one seed.

    Args:
        edges: The edges' ports.
        rate: How many come in a second.
        seed: Of the lots.
        times: How long what they do takes.
    """

    def __init__(self, edges: tuple[int, ...], rate: float, seed: int, times: Times) -> None:
        self.tally = Tally()
        self.live = 0
        """How many are there."""
        self._edges = edges
        self._rate = rate
        self._lot = random.Random(seed)  # noqa: S311 # lots, no secret
        self._times = times
        self._room = asyncio.Semaphore(AT_ONCE)

    async def come(self, go_on: Callable[[], bool]) -> None:
        """Let visitors come as long as that holds, and return when all have gone.

        Raises:
            ExceptionGroup: A visitor broke.
        """
        clock = asyncio.get_running_loop().time
        due = clock()
        async with asyncio.TaskGroup() as visitors:
            while go_on():
                await self._room.acquire()
                visitors.create_task(self._one(draw_visit(self._lot, self._edges, self._times)))
                due = max(due + 1 / self._rate, clock() - 1)
                await asyncio.sleep(max(0, due - clock()))

    async def _one(self, visit: Visit) -> None:
        self.live += 1
        self.tally.visits[visit.kind] += 1
        try:
            run = await Visitor(visit, self._times).visit()
            if run is not None:
                self.tally.take(run)
        except BrokenOffError as error:
            self.tally.faults += 1
            self.tally.wrong.append(f"{visit.kind}: {error}")
        finally:
            self.live -= 1
            self._room.release()
