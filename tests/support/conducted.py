"""An agent that a test conducts: at chosen tokens it asks what to do, so a stall is where it was planted.

The agent `conducted` is loaded into a core; the test has a `Conductor`, which it connects to. Its message is
a JSON object: `{"port": …, "tokens": 5000, "rate": 400, "size": 6, "stops": [700, 1400]}`. Token *i* (from 1)
is the event of the sequence *i* + 1: the run's first event is `RunStarted`.

Before a token of `stops` it tells its number and waits for one of these lines:

    go              yields it
    sleep 1.5       yields it so many seconds later
    block 1.5       keeps the core's event loop busy for so long, then yields it
    block-after 1.5 yields it, then keeps the core's event loop busy
    big 60000 80    from this one on, so many tokens have this size
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Sequence
from typing import Final, Self

from agent_core.agents import Finish, RunRequest, Usage

AGENT: Final = "conducted=tests.support.conducted:conducted"
WITHIN_S: Final = 60.0


async def conducted(request: RunRequest) -> AsyncIterator[str | Finish]:
    """Yield numbered tokens at a pace; stop where the test wants to plant something."""
    order = json.loads(request.message)
    stops, size, big = set(order["stops"]), order["size"], 0
    reader, writer = await asyncio.open_connection("127.0.0.1", order["port"])
    yielded: list[int] = []
    interval_s = 1 / order["rate"]
    due = time.monotonic()
    for number in range(1, order["tokens"] + 1):
        due = max(due + interval_s, time.monotonic() - interval_s)
        await asyncio.sleep(max(0, due - time.monotonic()))
        blocks_s = 0.0
        if number in stops:
            writer.write(b"%d\n" % number)
            word, *values = (await reader.readline()).decode().split()
            if word == "sleep":
                await asyncio.sleep(float(values[0]))
            elif word == "block":
                time.sleep(float(values[0]))  # noqa: ASYNC251 # it is what is planted
            elif word == "block-after":
                blocks_s = float(values[0])
            elif word == "big":
                size, big = int(values[0]), int(values[1])
        text = f"{number:0{size}d}"
        yielded.append(time.monotonic_ns())
        yield text
        if blocks_s:
            time.sleep(blocks_s)  # noqa: ASYNC251 # as above
        if big:
            big -= 1
            size = size if big else order["size"]
    writer.write(json.dumps(yielded).encode() + b"\n")
    await writer.drain()
    writer.close()
    yield Finish("stop", Usage(input_tokens=0, output_tokens=order["tokens"]))


class Conductor:
    """The test's half, for one run at a time."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(WITHIN_S)
        self._connection: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()
            self._lines.close()
        self._listener.close()

    def order(self, tokens: int, rate: float, stops: Sequence[int] = (), size: int = 6) -> str:
        """Return the message for the agent."""
        port = self._listener.getsockname()[1]
        return json.dumps({"port": port, "tokens": tokens, "rate": rate, "size": size, "stops": list(stops)})

    def accept(self) -> None:
        """Return once the agent has begun."""
        self._connection, _ = self._listener.accept()
        self._connection.settimeout(WITHIN_S)
        self._lines = self._connection.makefile("rb")

    def stopped_at(self) -> int:
        """Return the number of the token before which the agent waits, once it does."""
        return int(self._lines.readline())

    def say(self, line: str) -> None:
        """Tell the agent what to do there."""
        assert self._connection is not None
        self._connection.sendall(line.encode() + b"\n")

    def yielded(self) -> list[int]:
        """Return when each token was yielded, by the agent itself, in nanoseconds of the monotonic clock."""
        times: list[int] = json.loads(self._lines.readline())
        return times
