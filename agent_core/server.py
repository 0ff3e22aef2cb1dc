"""The core as a server: puts its parts together, serves, and goes down in order."""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import grpc

from agent_core.agents.catalogue import AgentCatalogue
from agent_core.agents.loading import parse_sources
from agent_core.log.budget import LogBudget
from agent_core.log.contract import LogAwayError, LogOpenError, RunLog
from agent_core.log.memory.log import MemoryLog
from agent_core.log.peers import NoPeers, Peers
from agent_core.log.sqlite.log import SqliteLog
from agent_core.log.store_url import read_store, without_password
from agent_core.log.timed import TimedLog
from agent_core.rpc.authentication import Callers
from agent_core.rpc.calls import Gate, Rpc
from agent_core.rpc.health import SERVICE as HEALTH_SERVICE
from agent_core.rpc.health import Health
from agent_core.rpc.link.links import Links
from agent_core.rpc.link.opening import LinkParts
from agent_core.rpc.listening import listen, server_credentials
from agent_core.rpc.reflection import SERVICES as REFLECTION_SERVICES
from agent_core.rpc.reflection import Reflection
from agent_core.rpc.refusals import Refusals
from agent_core.rpc.run_access import RunAccess
from agent_core.rpc.service import SERVICE, AgentService
from agent_core.rpc.validation import max_request_bytes
from agent_core.runs.limits import CoreLimits, Limiter
from agent_core.runs.manager import RunManager
from agent_core.runs.orphans import reap_orphans
from agent_core.runs.run_order import RunTimes
from agent_core.runs.state import RunLimits
from agent_core.settings import Settings
from tokenwire.addresses import address_of
from tokenwire.settings import read_authorities, read_file
from tokenwire.telemetry.settings import TelemetrySettings

MAX_METADATA_BYTES: Final = 16 * 1024
"""The most metadata of one call. gRPC's own limits refuse at random between 8 and 16 KiB."""

UNARY_STREAMS: Final = 1_000
"""How many calls one connection may make besides as many streams as the core allows: a call above that
would wait at the caller without a word."""

STOP_S: Final = 1.0
"""How long calls may go on after the last run has ended, to read its end."""

IDLE_CONNECTION_S: Final = 300
"""How long a connection may stay without a call. Clients make another one when they need it."""

HANDSHAKE_S: Final = 10
"""How long a new connection may take to speak TLS and HTTP/2; gRPC's own limit is 120 s."""

logger = logging.getLogger(__name__)


class CoreStartError(Exception):
    """The core can't start. The text says why, for an operator."""


class CoreServer:
    """The whole core of one process. Its parts belong to the event loop that made it.

    Args:
        settings: As the operator set them.
        agents: The agents; None for those that the settings name.
        log: The store; None for the one that the settings name.
        telemetry: What is told of tokens; None for what the environment says.

    Raises:
        WrongSettingError: A file that the store's URL names can't be used, or bearers can't be checked with
            what is set.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        agents: AgentCatalogue | None = None,
        log: RunLog | None = None,
        telemetry: TelemetrySettings | None = None,
    ) -> None:
        self._settings = settings
        self._telemetry = telemetry or TelemetrySettings()
        self.agents = agents or AgentCatalogue(parse_sources(settings.agent))
        bearers = settings.bearers()
        self._running = AsyncExitStack()
        """What is open while calls come in."""
        self._bearers = bearers
        self._callers = Callers(
            settings.principal_key.get_secret_value(),
            certificates=settings.grpc_tls_client_ca is not None,
            bearers=bearers,
            shared_owner=settings.shared_owner,
        )
        self._log, self._peers = (log, NoPeers()) if log is not None else _make_log(settings)
        limiter = Limiter(_limits(settings), principals=settings.has_principals)
        self.manager = RunManager(
            self._log,
            RunTimes(
                disconnect_grace_s=settings.disconnect_grace_s,
                stop_grace_s=settings.stop_grace_s,
                run_timeout_s=settings.run_timeout_s,
            ),
            RunLimits(settings.max_run_bytes, settings.max_run_events, settings.max_run_tool_calls),
            self._peers,
            limiter,
        )
        self._refusals = Refusals()
        self._access = RunAccess(self.manager, self.agents, max_message_bytes=settings.max_message_bytes)
        self._links = Links(LinkParts(self._access, limiter, self._callers, self._refusals, set(), set()))
        self._log_changed = asyncio.Event()
        self.manager.log_health.on_change = lambda _: self._log_changed.set()
        self._telling: asyncio.Task[None] | None = None
        self._log_is_open = False
        self._has_peers = False
        self.port = 0
        """The port that is listened on, once started."""
        self._health = Health()
        self._server = grpc.aio.server(options=_options(settings))

    async def start(self) -> None:
        """Open the store, enter the agents and serve.

        Raises:
            AgentLoadError: An agent of the operator's can't be used.
            CoreStartError: The address can't be listened on, or the store can't be opened.
            WrongSettingError: A certificate or its key can't be used.
        """
        settings = self._settings
        credentials = server_credentials(settings)
        for warning in (*settings.share_warnings(), *settings.bearer_warnings()):
            logger.warning("%s", warning)
        gate = Gate(self._callers, self._refusals)
        handlers = [gate.handlers(service, rpcs) for service, rpcs in self._services().items()]
        self._server.add_generic_rpc_handlers(handlers)
        await self._open_log()
        try:
            if self._bearers is not None:
                await self._running.enter_async_context(self._bearers.running())
            await self.agents.start()
        except BaseException:
            await self._close()
            raise
        self._health.set(SERVICE, serving=True)
        self._telling = asyncio.create_task(self._tell_health(), name="tell the log's health")
        try:
            self.port = listen(self._server, settings.grpc_host, settings.grpc_port, credentials)
        except OSError as error:
            self._telling.cancel()
            await self._close()
            address = address_of(settings.grpc_host, settings.grpc_port)
            raise CoreStartError(f"can't listen on {address}: {error.strerror}") from error
        await self._server.start()
        logger.info("core ready on %s", address_of(settings.grpc_host, self.port))

    def _services(self) -> dict[str, dict[str, Rpc]]:
        """Return the rpcs of each service by its full name."""
        service = AgentService(self._access, self._links, self._telemetry)
        services = {SERVICE: service.rpcs(), HEALTH_SERVICE: self._health.rpcs()}
        reflection = Reflection(tuple(services)).rpcs()
        return services | dict.fromkeys(REFLECTION_SERVICES, reflection)

    async def _open_log(self) -> None:
        """Open the store, and give those runs their end that were lost with an earlier core.

        Raises:
            CoreStartError: The store can't be opened.
        """
        try:
            await self._log.start()
            self._log_is_open = True
            await self._peers.start(self.manager.peer_listener)
            self._has_peers = True
            # Of a shared store, others may write what is open there.
            lost = await reap_orphans(self._log) if not self._peers.name else 0
        except (LogOpenError, LogAwayError) as error:
            await self._close_log()
            store = without_password(self._settings.store)
            raise CoreStartError(f"TOKENWIRE_STORE={store}: {error}") from error
        if lost:
            logger.warning("%d runs were lost with an earlier core", lost)

    async def _tell_health(self) -> None:
        """Let the health of the service say whether the log is there.

        Once the core drains, nothing changes it any more.
        """
        while True:
            await self._log_changed.wait()
            self._log_changed.clear()
            well = self.manager.log_health.well
            self._health.set(SERVICE, serving=well)
            if well:
                logger.info("the run log is reachable again: the core accepts runs")
            else:
                logger.info("the run log is still unreachable: the core accepts no runs")

    async def stop(self, hurry: asyncio.Event | None = None) -> None:
        """Go down in order: no new runs, then the end of those there are, then of the calls.

        Args:
            hurry: Set to give the runs no more time.
        """
        self._health.drain()
        self._links.drain()
        await self.manager.drain(self._settings.drain_s, hurry or asyncio.Event())
        self._links.finish()
        await self._server.stop(STOP_S)
        await self._links.aclose()
        if self._telling is not None:
            self._telling.cancel()
        await self.agents.aclose()
        await self._close()

    async def _close(self) -> None:
        """Stop fetching an issuer's keys, and close the store."""
        await self._running.aclose()
        await self._close_log()

    async def _close_log(self) -> None:
        """Give the lease back, and close the store: as far as they were had, and once."""
        if self._has_peers:
            self._has_peers = False
            await self._peers.aclose()
        if self._log_is_open:
            self._log_is_open = False
            await self._log.aclose()


def _options(settings: Settings) -> list[tuple[str, int]]:
    """Return how the port behaves below the rpcs."""
    options = [
        # Two cores on one port would share its connections, and each would know half of the runs.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", max_request_bytes(settings.max_message_bytes)),
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_S * 1000),
        ("grpc.max_connection_idle_ms", IDLE_CONNECTION_S * 1000),
        # A client that is gone without a word is noticed within 15 s.
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        # Clients may do the same, and more often: by default the server answers fast pings with
        # GOAWAY "too many pings".
        ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
        ("grpc.http2.max_ping_strikes", 0),
    ]
    if settings.max_follows:
        options.append(("grpc.max_concurrent_streams", settings.max_follows + UNARY_STREAMS))
    return options


def _limits(settings: Settings) -> CoreLimits:
    """Return how many runs and follows there may be."""
    return CoreLimits(
        max_runs=settings.max_runs,
        max_principal_runs=settings.max_principal_runs,
        max_starts_per_minute=settings.max_principal_starts_per_minute,
        max_follows=settings.max_follows,
        max_principal_follows=settings.max_principal_follows,
    )


def _make_log(settings: Settings) -> tuple[RunLog, Peers]:
    """Return the store that the settings name, not open yet, and the other cores on it.

    Raises:
        WrongSettingError: A file that its URL names can't be used.
    """
    budget = LogBudget(
        run_bytes=settings.log_run_bytes,
        run_events=settings.log_run_events,
        total_bytes=settings.log_total_bytes,
        principal_bytes=settings.principal_log_bytes if settings.has_principals else 0,
        retention_s=settings.log_retention_s,
        session_exchanges=settings.session_exchanges,
        session_bytes=settings.session_bytes,
        session_retention_s=settings.session_retention_s,
    )
    store = read_store(settings.store)
    if store.kind == "memory":
        return MemoryLog(budget), NoPeers()
    if store.kind == "sqlite":
        return TimedLog(SqliteLog(store.place, budget), "sqlite"), NoPeers()
    for parameter, file in store.files:
        variable = f"TOKENWIRE_STORE: {parameter}"
        (read_authorities if parameter == "ssl_ca_certs" else read_file)(variable, Path(file))
    from agent_core.log.redis import RedisLog  # noqa: PLC0415 # a third of a core's start

    shared = RedisLog(store.place, budget, prefix=settings.redis_prefix, core=secrets.token_hex(8))
    return TimedLog(shared, "redis"), shared.peers
