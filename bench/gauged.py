"""A real core or a real edge that also answers what it holds: for the harnesses that look for leaks.

    python -m bench.gauged core|edge SOCKET

Set up by TOKENWIRE_* variables alone, as the two processes always are. Each line that is written to the
unix socket is answered by one line of JSON, the process's gauges, after a garbage collection.
"""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeAlias

import uvloop

from agent_core.server import CoreServer
from agent_core.settings import Settings
from edge.app import create_app
from edge.http.drain import Drain
from edge.server import bind, make_server
from edge.settings import EdgeSettings
from tests.support.memory import allocated_bytes, rss_bytes
from tokenwire.logs import set_up_logging

Gauges: TypeAlias = dict[str, int]

CALLS: Final = frozenset({"_AioCall", "RPCState", "_ServicerContext", "UnaryStreamCall", "UnaryUnaryCall"})
"""What grpc.aio holds while a call is open, at the caller and at the server."""

POOL: Final = "event_engine"
"""The name of the threads in gRPC's own pool. It starts another one where work waits for all of them, as on a
busy machine: they are counted apart from the threads that must stay as many as they are."""


def process_gauges() -> Gauges:
    """Return what every process can be asked for: after a collection, so that garbage does not count."""
    gc.collect()
    objects = gc.get_objects()
    names = Counter(_thread_names())
    kinds = Counter(type(item).__name__ for item in objects)
    return {
        # The one that answers does not count.
        "tasks": len(asyncio.all_tasks()) - 1,
        "calls": sum(kinds[kind] for kind in CALLS),
        # The gauges' own connection does not count.
        "descriptors": len(list(Path("/proc/self/fd").iterdir())) - 1,
        "threads": names.total() - names[POOL],
        "grpc_threads": names[POOL],
        "objects": len(objects),
        "blocks": sys.getallocatedblocks(),
        "rss_bytes": rss_bytes(),
        "allocated_bytes": allocated_bytes(),
    }


def _thread_names() -> Iterator[str]:
    """Yield the name of each thread of this process."""
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            yield (task / "comm").read_text().strip()


async def answer_gauges(path: str, own: Callable[[], Gauges]) -> asyncio.Server:
    """Answer at a unix socket with the gauges of this process.

    Args:
        path: The socket.
        own: The gauges that only this kind of process has.
    """

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            writer.write(json.dumps(process_gauges() | own()).encode() + b"\n")
            await writer.drain()
        writer.close()

    return await asyncio.start_unix_server(answer, path)


def core_gauges(core: CoreServer) -> Gauges:
    """Return what a core holds: each is 0 when nothing goes on and the store has forgotten all."""
    manager: Any = core.manager
    log: Any = manager._log  # noqa: SLF001 # the product has no use for these gauges
    gauges = {
        "runs": len(manager.registry),
        "followers": len(manager.followers),
        "strays": len(manager.unstopped_agents),
        "run_slots": manager.limiter.runs.in_use,
        "follow_slots": manager.limiter.follows.in_use,
    }
    if log.traits.volatile:
        gauges["stored_runs"] = len(log._logs)  # noqa: SLF001
        gauges["stored_bytes"] = log._size_bytes  # noqa: SLF001
    return gauges


async def serve_core(path: str) -> None:
    """Serve until SIGTERM."""
    settings = Settings()
    set_up_logging(settings.log_level, settings.log_format)
    core, stop = CoreServer(settings), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await core.start()
    gauges = await answer_gauges(path, lambda: core_gauges(core))
    await stop.wait()
    gauges.close()
    await core.stop()


async def serve_edge(path: str) -> None:
    """Serve until SIGTERM."""
    settings, drain = EdgeSettings(), Drain()
    set_up_logging(settings.log_level, settings.log_format)
    app = create_app(settings, drain)
    server = make_server(app, settings, drain)

    def own() -> Gauges:
        return {
            "streams": drain.listeners,
            "stream_slots": app.state.edge.limits.slots.in_use,
            "connections": len(server.server_state.connections),
        }

    gauges = await answer_gauges(path, own)
    await server.serve(sockets=[bind(settings)])
    gauges.close()


if __name__ == "__main__":
    uvloop.run({"core": serve_core, "edge": serve_edge}[sys.argv[1]](sys.argv[2]))
