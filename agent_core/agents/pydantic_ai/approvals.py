"""Tools of Pydantic AI that need approval: a person who follows the run is asked."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from pydantic_ai.capabilities import AbstractCapability, CapabilityOrdering
from pydantic_ai.messages import ToolCallPart
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults, RunContext, ToolDenied

from agent_core.agents.events import RunRequest
from agent_core.agents.inputs import DEFAULT_TIMEOUT_S
from agent_core.agents.pydantic_ai.translation import sound

SHOWN_CHARACTERS: Final = 2000
"""How much of a call's arguments a question shows."""

DENIED: Final = "The user has denied this call."
DECLINED: Final = "The user has declined to decide on this call: it was not made."


class Approvals(AbstractCapability[Any]):
    """Asks for each call that needs approval, several at once, and continues the same run.

    A tool that raises `ApprovalRequired` may say more in its metadata: `prompt`, in words for users, and
    `timeout_s`. What an agent's own capabilities have decided before is not asked.

    Args:
        request: Of the run.
    """

    def __init__(self, request: RunRequest) -> None:
        self._request = request

    def get_ordering(self) -> CapabilityOrdering:
        """Return that a person is asked last: what can decide without one goes first."""
        return CapabilityOrdering(position="innermost")

    async def handle_deferred_tool_calls(
        self,
        ctx: RunContext[Any],  # noqa: ARG002 # theirs
        *,
        requests: DeferredToolRequests,
    ) -> DeferredToolResults | None:
        """Return what people have decided. Calls that are made elsewhere stay the agent's own affair.

        Raises:
            InputExpired: A question was not answered in time.
        """
        if self._request.inputs is None or not requests.approvals:
            return None
        async with asyncio.TaskGroup() as group:
            asking = {
                call.tool_call_id: group.create_task(self._ask(call, requests.metadata))
                for call in requests.approvals
            }
        approvals = {call_id: task.result() for call_id, task in asking.items()}
        return requests.build_results(approvals=approvals)

    async def _ask(self, call: ToolCallPart, metadata: dict[str, dict[str, Any]]) -> bool | ToolDenied:
        """Return whether a call may be made."""
        more = metadata.get(call.tool_call_id, {})
        prompt = more.get("prompt")
        answer = await self._request.ask(
            prompt if isinstance(prompt, str) and prompt.strip() else question_of(call),
            "approval",
            timeout_s=more.get("timeout_s", DEFAULT_TIMEOUT_S),
        )
        if answer is None:
            return ToolDenied(DECLINED)
        return True if answer else ToolDenied(DENIED)


def question_of(call: ToolCallPart) -> str:
    """Return what is asked of a call whose tool says nothing itself."""
    arguments = sound(call.args_as_json_str())
    if len(arguments) > SHOWN_CHARACTERS:
        arguments = f"{arguments[: SHOWN_CHARACTERS - 1]}…"
    return f"Allow {sound(call.tool_name)} with {arguments}?"
