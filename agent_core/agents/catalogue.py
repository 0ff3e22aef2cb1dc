"""The agents that a core has: loaded when first needed, left when the core stops."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

from agent_core.agents.events import Agent
from agent_core.agents.loading import BUILT_INS, DEFAULT, AgentLoadError, AgentSource, load_agent

logger = logging.getLogger(__name__)


class NamedAgent(NamedTuple):
    """An agent and what callers call it."""

    name: str
    agent: Agent


class _Keeper:
    """One agent: loads it, enters it where it is a context manager, and leaves it, all in one task.

    A context manager that uses task groups or cancel scopes must be left by the task that entered it.

    Args:
        source: Where the agent comes from.
    """

    def __init__(self, source: AgentSource) -> None:
        self._source = source
        self._loaded: asyncio.Future[Agent] = asyncio.get_running_loop().create_future()
        self._leave = asyncio.Event()
        # A context of its own: an agent must not live in the context of the call that asked first.
        self._task = asyncio.create_task(
            self._keep(), name=f"agent {source.name}", context=contextvars.Context()
        )

    async def agent(self) -> Agent:
        """Return the agent, once it can be used.

        Raises:
            AgentLoadError: It can't be loaded or entered.
        """
        return await asyncio.shield(self._loaded)

    async def aclose(self) -> None:
        """Leave the agent."""
        self._leave.set()
        if not self._loaded.done():
            self._task.cancel()
        await asyncio.wait({self._task})

    async def _keep(self) -> None:
        """Hold the agent until it is to be left."""
        try:
            # Imports can take seconds; the runs of other agents go on meanwhile.
            agent = await asyncio.to_thread(load_agent, self._source)
            if isinstance(agent, AbstractAsyncContextManager):
                await self._hold(agent)
            else:
                self._loaded.set_result(agent)
        except Exception as error:  # noqa: BLE001 # whoever waits for the agent is told
            self._fail(error)
        finally:
            if not self._loaded.done():
                self._loaded.cancel()

    async def _hold(self, agent: Agent) -> None:
        """Enter the agent, and leave it when the core stops."""
        assert isinstance(agent, AbstractAsyncContextManager)  # noqa: S101 # for the type checker
        async with agent:
            self._loaded.set_result(agent)
            await self._leave.wait()

    def _fail(self, error: Exception) -> None:
        """Tell those who wait, or the log when nobody does any more."""
        if self._loaded.done():
            logger.error("agent %r failed to shut down", self._source.name, exc_info=error)
            return
        if not isinstance(error, AgentLoadError):
            text = f"agent {self._source.name!r} did not start: {type(error).__name__}: {error}"
            error, cause = AgentLoadError(text), error
            error.__cause__ = cause
        self._loaded.set_exception(error)
        self._loaded.exception()  # Counts as retrieved: the one who asked may have gone.


class AgentCatalogue:
    """The agents by name. `assistant` is always there, and costs nothing until it is asked for.

    Args:
        given: The agents that the operator names. The first is the default; without any, `assistant` is.
    """

    def __init__(self, given: Sequence[AgentSource] = ()) -> None:
        self._given = tuple(source.name for source in given)
        self._sources = {source.name: source for source in (DEFAULT, *given)}
        self._keepers: dict[str, _Keeper] = {}
        self.default = self._given[0] if given else DEFAULT.name
        """The agent of requests that name none."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all agents, the default first."""
        return tuple(sorted(self._sources, key=lambda name: (name != self.default, name)))

    async def start(self) -> None:
        """Load and enter the agents that will be needed: the given ones, or the default.

        Raises:
            AgentLoadError: One of the operator's own can't be used. A built-in that can't is only logged:
                the others work without it.
        """
        for name in self._given or (self.default,):
            try:
                await self.get(name)
            except AgentLoadError as error:
                if self._sources[name] not in BUILT_INS:
                    raise
                logger.error("%s", error)  # noqa: TRY400 # a line for the operator, not a traceback

    async def get(self, name: str) -> NamedAgent:
        """Return an agent, loaded and entered.

        Args:
            name: One of `names`.

        Raises:
            KeyError: There is no agent of that name.
            AgentLoadError: It can't be used.
        """
        keeper = self._keepers.get(name)
        if keeper is None:
            keeper = self._keepers[name] = _Keeper(self._sources[name])
        try:
            return NamedAgent(name, await keeper.agent())
        except AgentLoadError:
            # The next request tries again: the network may be back, the module may be there.
            if self._keepers.get(name) is keeper:
                del self._keepers[name]
            raise

    async def aclose(self) -> None:
        """Leave all agents, those entered last first. After this none may be asked for."""
        while self._keepers:
            _, keeper = self._keepers.popitem()
            await keeper.aclose()
