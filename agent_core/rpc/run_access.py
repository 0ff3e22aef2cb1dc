"""How runs are started and followed: what the calls have in common with a link."""

from __future__ import annotations

import logging

from opentelemetry import trace
from opentelemetry.context import Context

from agent_core.agents.catalogue import AgentCatalogue, NamedAgent
from agent_core.agents.loading import AgentLoadError
from agent_core.errors import AgentUnavailableError, UnknownAgentError
from agent_core.log.position import FIRST_EPOCH, Position
from agent_core.rpc.validation import require_run_id, require_valid_spec
from agent_core.runs.manager import RunManager
from tokenwire.telemetry.attributes import RUN_ID
from tokenwire.v1.run_pb2 import Cursor, OnDisconnect, RunSpec

logger = logging.getLogger(__name__)


class RunAccess:
    """Starts runs and finds those to follow, on behalf of a principal, with the spans of calls.

    Args:
        manager: The runs.
        agents: The agents.
        max_message_bytes: The longest message of a user, in bytes of UTF-8.
    """

    def __init__(self, manager: RunManager, agents: AgentCatalogue, *, max_message_bytes: int) -> None:
        self.manager = manager
        """The runs."""
        self._agents = agents
        self._max_message_bytes = max_message_bytes

    @property
    def agent_names(self) -> tuple[str, ...]:
        """The names of all agents, the default first."""
        return self._agents.names

    async def start(
        self,
        spec: RunSpec,
        principal: str,
        on_disconnect: OnDisconnect.ValueType,
        span: trace.Span,
        deadline: float | None,
    ) -> str:
        """Return the id of the run that stands for a request.

        Args:
            spec: What the caller wants.
            principal: The owner.
            on_disconnect: Holds where the spec leaves it open.
            span: The call's, which becomes the parent of the run's.
            deadline: When the call must have ended, in seconds of the monotonic clock; None for never.

        Raises:
            RefusalError: It can't be started.
        """
        require_valid_spec(spec, max_message_bytes=self._max_message_bytes)
        agent = await self._agent(spec.agent or self._agents.default)
        parent = trace.set_span_in_context(span, Context())
        run_id = await self.manager.start(
            spec, agent, owner=principal, on_disconnect=on_disconnect, parent=parent, deadline=deadline
        )
        span.set_attribute(RUN_ID, run_id)
        return run_id

    def link_spans(self, run_id: str, principal: str, span: trace.Span) -> None:
        """Link the span of a follow and that of its run to each other: they are two traces.

        Args:
            run_id: The run. Nothing is linked where it is not live here, or another principal's.
            principal: Who follows.
            span: The follow's.

        Raises:
            InvalidRequestError: The run's id has not the form of one.
        """
        require_run_id(run_id)
        span.set_attribute(RUN_ID, run_id)
        run = self.manager.live(run_id)
        if run is not None and run.record.owner == principal and run.span is not None:
            span.add_link(run.span.context)
            run.span.add_follower(span.get_span_context())

    async def _agent(self, name: str) -> NamedAgent:
        """Return an agent.

        Raises:
            UnknownAgentError: There is none of that name.
            AgentUnavailableError: It can't be loaded, or did not start.
        """
        try:
            return await self._agents.get(name)
        except KeyError:
            raise UnknownAgentError(name, self._agents.names) from None
        except AgentLoadError as error:
            logger.error("%s", error)  # noqa: TRY400 # a line for the operator, not a traceback
            raise AgentUnavailableError(name) from error


def position_of(after: Cursor) -> Position:
    """Return the place in a log that a cursor names: the start where it is absent."""
    return Position(after.epoch or FIRST_EPOCH, after.sequence)
