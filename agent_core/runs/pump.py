"""The pump of a run: takes what its agent yields, and writes it to the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Final

from agent_core.agents.events import ToolStart, current
from agent_core.agents.inputs import InputPort
from agent_core.log.records import Exchange
from agent_core.runs.agent_stream import close_stream, open_stream, place_of, throw_cancelled
from agent_core.runs.failures import AgentExitError, RubbishError, RunTooLargeError, ToolLimitError
from agent_core.runs.start_request import StartRequest
from agent_core.runs.state import RunState
from agent_core.runs.writer import RunWriter
from tokenwire.telemetry import monotonic_nano

EVENTS_PER_TURN: Final = 32
"""After so many events the event loop gets a turn. An agent that yields without ever waiting would
otherwise keep it to itself: no client would get what it says, and none could cancel it. 32 events
take about 0.3 ms."""

logger = logging.getLogger(__name__)


class AgentPump:
    """Runs one agent. A run does not hold its pump, but for the task of `run`: else they were a cycle.

    Args:
        request: What the agent is asked.
        state: Makes events of what it yields.
        writer: Writes them.
        inputs: Asks people on behalf of the agent.
        is_stopped: Whether the run is to end.
        wait_for_lease: Returns once this core certainly owns its runs.
    """

    def __init__(  # noqa: PLR0913 # what it runs, where it writes, whom it asks
        self,
        request: StartRequest,
        state: RunState,
        writer: RunWriter,
        inputs: InputPort,
        *,
        is_stopped: Callable[[], bool],
        wait_for_lease: Callable[[], Awaitable[None]],
    ) -> None:
        self._request = request
        self._state = state
        self._writer = writer
        self._inputs = inputs
        self._is_stopped = is_stopped
        self._wait_for_lease = wait_for_lease
        self._over_limit = False

    async def run(self, history: Iterable[Exchange]) -> None:
        """Write all that the agent yields. Raises what ended the agent, if anything did."""
        try:
            asked = self._request.run_request(history, self._may_act, self._inputs)
            current.set(asked)  # for tools that a library calls: this task, and the agent's thread, have it
            stream = open_stream(self._request.agent, asked)
            try:
                await self._consume(stream)
            finally:
                await close_stream(stream)
        except (SystemExit, KeyboardInterrupt) as error:
            # asyncio would pass these on and end the whole core.
            raise AgentExitError(f"the agent raised {type(error).__name__}") from error

    async def _consume(self, stream: AsyncIterator[object]) -> None:
        """Write what the agent yields until it ends, or is to stop."""
        since_turn = 0
        async for item in stream:
            if self._is_stopped():
                run_id = self._request.record.run_id
                logger.warning("run %s: its agent continued after it was stopped", run_id)
                return
            try:
                payloads = self._state.feed(item, monotonic_nano())
                if payloads:
                    self._writer.write(payloads)
                if isinstance(item, ToolStart):
                    await self._wait_for_lease()  # The agent goes on to its tool when this returns.
                since_turn += 1
                if since_turn >= EVENTS_PER_TURN or self._writer.full:
                    since_turn = 0
                    await self._writer.room()  # It always gives the loop a turn.
            except asyncio.CancelledError as cancelled:
                await throw_cancelled(stream, cancelled)
                raise
            except RubbishError as error:
                raise RubbishError(f"{error} ({place_of(self._request.agent, stream)})") from error
            except (RunTooLargeError, ToolLimitError):
                self._over_limit = True
                raise
        if not self._is_stopped() and (rest := self._state.flush(monotonic_nano())):
            self._writer.write(rest)

    async def _may_act(self) -> None:
        """Return once the agent may call a tool."""
        if self._over_limit:
            # It is being closed now, and must call no tool meanwhile: this never returns.
            await asyncio.get_running_loop().create_future()
        await self._wait_for_lease()
