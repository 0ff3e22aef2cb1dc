"""uvicorn on a socket of our own, tuned for streams that must not hide behind the kernel."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Final

import uvicorn
from litestar.types import ASGIApp

from edge.http.connection import StreamProtocol
from edge.http.connection_limits import ConnectionLimits
from edge.http.drain import Drain
from edge.http.follow_gate import FollowGate
from edge.http.head import HeadAsGet
from edge.http.idle import IdleConnections
from edge.listening import BACKLOG, listen
from edge.settings import EdgeSettings
from tokenwire import descriptors
from tokenwire.descriptors import DescriptorWatch
from tokenwire.garbage import GarbageCollection
from tokenwire.loop_watchdog import LoopWatchdog
from tokenwire.signals import stop_signals
from tokenwire.telemetry.loop_lag import loop_lag
from tokenwire.telemetry.metrics.server import MetricsServer

TICKS_PER_S: Final = 10
"""uvicorn's."""


class StreamServer(uvicorn.Server):
    """A server that tells its streams when it is to end.

    uvicorn waits for open responses before it runs the lifespan's end: streams have to be told earlier.

    Args:
        config: uvicorn's.
        drain: Turned on by SIGTERM, SIGINT and SIGHUP.
        metrics: Serves `/metrics` on a port of its own, until the last stream has ended.
        on_ready: Called when connections are accepted.
    """

    def __init__(
        self, config: uvicorn.Config, drain: Drain, metrics: MetricsServer, on_ready: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._drain = drain
        self._metrics = metrics
        self._watchdog = LoopWatchdog()
        self._descriptors = DescriptorWatch()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve, and to measure the loop."""
        loop_lag().start()
        await self._metrics.start()
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End all that goes on; what it counts can be read meanwhile."""
        await super().shutdown(sockets)
        await self._metrics.stop()
        loop_lag().stop()

    async def main_loop(self) -> None:
        """Serve, from when all is ready until the end is asked for; a loop that stands still is told."""
        with self._watchdog, GarbageCollection():
            await super().main_loop()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle SIGHUP besides uvicorn's signals."""
        with super().capture_signals():
            heard = threading.current_thread() is threading.main_thread() and signal.SIGHUP in stop_signals()
            former = signal.signal(signal.SIGHUP, self.handle_exit) if heard else None
            try:
                yield
            finally:
                if heard:
                    signal.signal(signal.SIGHUP, former)

    async def on_tick(self, counter: int) -> bool:
        """Look once a second whether connections can still be accepted; return whether to end."""
        if counter % TICKS_PER_S == 0:
            self._descriptors.check()
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain, then end as uvicorn does."""
        # A Python signal handler runs between two steps of the loop, never inside a callback's await.
        asyncio.get_running_loop().call_soon_threadsafe(self._drain.start)
        super().handle_exit(sig, frame)
        # uvicorn would raise the signal again after a clean end, and so end with its status.
        self._captured_signals.clear()


def bind(settings: EdgeSettings) -> socket.socket:
    """Return the listening socket of an edge that has its port for itself, or shares it with others.

    Raises:
        OSError: The address can't be had.
    """
    return listen(
        settings.host, settings.port, share=settings.reuse_port, write_deadline_s=settings.write_deadline_s
    )


def make_server(
    app: ASGIApp,
    settings: EdgeSettings,
    drain: Drain,
    metrics: socket.socket | None = None,
    *,
    on_ready: Callable[[], None] = lambda: None,
) -> StreamServer:
    """Return the server of the application.

    Args:
        app: The application.
        settings: The settings.
        drain: The application's switch.
        metrics: A listening socket for `/metrics` alone; None for none.
        on_ready: Called when connections are accepted.
    """
    limits = ConnectionLimits(
        header_bytes=settings.max_header_bytes,
        body_bytes=settings.max_body_bytes,
        request_timeout_s=settings.request_timeout_s,
        keep_alive_s=settings.keep_alive_s,
        # Silent connections may not take all descriptors from those who ask something.
        idle=IdleConnections(min(settings.max_idle_connections, descriptors.limit() // 2)),
    )
    config = uvicorn.Config(
        FollowGate(HeadAsGet(app), settings.stream_policy(), drain),
        http=partial(StreamProtocol, limits=limits),  # type: ignore[arg-type] # anything that makes a protocol
        ws="none",
        loop="uvloop",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        # After the drain, whatever is still open is cancelled.
        timeout_graceful_shutdown=max(1, round(settings.drain_s)),
    )
    return StreamServer(config, drain, MetricsServer(metrics), on_ready)
