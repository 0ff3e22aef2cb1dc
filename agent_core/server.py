"""The core as a server: puts its parts together, serves, and goes down in order."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from typing import Final

import grpc

from agent_core.agents.catalogue import AgentCatalogue
from agent_core.agents.loading import parse_sources
from agent_core.log.contract import LogAwayError, LogOpenError, RunLog
from agent_core.log.peers import NoPeers
from agent_core.log.store_url import without_password
from agent_core.log.stores import LogAndPeers, make_log
from agent_core.rpc.authentication import Callers
from agent_core.rpc.calls import Gate, Rpc
from agent_core.rpc.health import SERVICE as HEALTH_SERVICE
from agent_core.rpc.health import Health
from agent_core.rpc.link.links import Links
from agent_core.rpc.link.opening import LinkParts
from agent_core.rpc.listening import listen, server_credentials, server_options
from agent_core.rpc.reflection import SERVICES as REFLECTION_SERVICES
from agent_core.rpc.reflection import Reflection
from agent_core.rpc.refusals import Refusals
from agent_core.rpc.run_access import RunAccess
from agent_core.rpc.service import SERVICE, AgentService
from agent_core.runs.limits import Limiter
from agent_core.runs.manager import RunManager
from agent_core.runs.reaper import reap_orphans
from agent_core.settings import Settings
from tokenwire.addresses import address_of
from tokenwire.telemetry.settings import TelemetrySettings

STOP_S: Final = 1.0
"""How long calls may go on after the last run has ended, to read its end."""

logger = logging.getLogger(__name__)


class CoreStartError(Exception):
    """The core can't start. The text says why, for an operator."""


class CoreServer:
    """The whole core of one process. Its parts belong to the event loop that made it.

    Args:
        settings: As the operator set them.
        agents: The agents; None for those that the settings name.
        log: The store; None for the one that the settings name.
        telemetry: What is recorded of tokens; None for what the environment says.

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
        self._bearers = settings.bearers()
        self._callers = Callers(
            settings.principal_key.get_secret_value(),
            certificates=settings.grpc_tls_client_ca is not None,
            bearers=self._bearers,
            shared_owner=settings.shared_owner,
        )
        self._log, self._peers = (
            LogAndPeers(log, NoPeers())
            if log is not None
            else make_log(settings, principals=settings.has_principals)
        )
        self._health = Health()
        limiter = Limiter(settings, principals=settings.has_principals)
        self.manager = RunManager(
            self._log,
            settings,
            self._peers,
            limiter,
            on_log_change=lambda reachable: self._report_log(reachable=reachable),
        )
        self._refusals = Refusals()
        self._access = RunAccess(self.manager, self.agents, max_message_bytes=settings.max_message_bytes)
        self._links = Links(LinkParts(self._access, limiter, self._callers, self._refusals, set(), set()))
        self.port = 0
        """The port that is listened on, once started."""
        self._running = AsyncExitStack()
        """Closes what was opened, the last first: the fetching of an issuer's keys, the lease, the store."""
        self._server = grpc.aio.server(options=server_options(settings))

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
        try:
            await self._open_log()
            if self._bearers is not None:
                await self._running.enter_async_context(self._bearers.running())
            await self.agents.start()
            self._health.set(SERVICE, serving=self.manager.log_watch.reachable)
            self._listen(credentials)
        except BaseException:
            await self._running.aclose()
            raise
        await self._server.start()
        logger.info("core ready on %s", address_of(settings.grpc_host, self.port))

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
        await self.agents.aclose()
        await self._running.aclose()

    def _services(self) -> dict[str, dict[str, Rpc]]:
        """Return the rpcs of each service by its full name."""
        service = AgentService(self._access, self._links, self._telemetry)
        services = {SERVICE: service.rpcs(), HEALTH_SERVICE: self._health.rpcs()}
        reflection = Reflection(tuple(services)).rpcs()
        return services | dict.fromkeys(REFLECTION_SERVICES, reflection)

    async def _open_log(self) -> None:
        """Open the store, and close the runs that were lost with an earlier core.

        Raises:
            CoreStartError: The store can't be opened.
        """
        try:
            await self._log.start()
            self._running.push_async_callback(self._log.aclose)
            await self._peers.start(self.manager.peer_listener)
            self._running.push_async_callback(self._peers.aclose)
            # In a shared store, open runs may be those of other cores.
            lost = await reap_orphans(self._log) if not self._peers.name else 0
        except (LogOpenError, LogAwayError) as error:
            store = without_password(self._settings.store)
            raise CoreStartError(f"TOKENWIRE_STORE={store}: {error}") from error
        if lost:
            logger.warning("%d runs were lost with an earlier core", lost)

    def _listen(self, credentials: grpc.ServerCredentials | None) -> None:
        """Take the port.

        Raises:
            CoreStartError: It can't be taken.
        """
        host, port = self._settings.grpc_host, self._settings.grpc_port
        try:
            self.port = listen(self._server, host, port, credentials)
        except OSError as error:
            raise CoreStartError(f"can't listen on {address_of(host, port)}: {error.strerror}") from error

    def _report_log(self, *, reachable: bool) -> None:
        """Have the health of the service say whether the log can be reached."""
        self._health.set(SERVICE, serving=reachable)
        if reachable:
            logger.info("the run log is reachable again: the core accepts runs")
        else:
            logger.info("the run log is still unreachable: the core accepts no runs")
