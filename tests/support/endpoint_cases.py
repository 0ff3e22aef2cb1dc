"""What real endpoints have sent, as data: `tests/integration/endpoint_cases/*.json`, one file for each kind.

A case has its `rounds`, one for each model call: either the items of an event stream, or a whole HTTP
response. An item is a delta with its finish reason, a whole chunk, or text that is sent as it is.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent_core.agents import AgentError, Finish, ReasoningDelta, RunRequest, TextDelta, ToolResult, ToolStart
from agent_core.agents.endpoint.assistant import EndpointAssistant
from tests.support.scripted_endpoint import Exchange, Step

CASES = Path(__file__).parents[1] / "integration" / "endpoint_cases"


def kinds() -> list[str]:
    """Return the kinds of cases."""
    return sorted(file.stem for file in CASES.glob("*.json"))


def cases(kind: str) -> dict[str, dict[str, Any]]:
    """Return the cases of a kind by their names."""
    found: dict[str, dict[str, Any]] = json.loads((CASES / f"{kind}.json").read_text())
    return found


def steps(case: dict[str, Any]) -> list[Step]:
    """Return what the endpoint does."""
    encoding, at_once = case.get("encoding", "utf-8"), case.get("ends at once", False)
    return [
        responds(given) if isinstance(given, dict) else streams(given, encoding, at_once=at_once)
        for given in case["rounds"]
    ]


def streams(items: list[Any], encoding: str = "utf-8", *, at_once: bool = False) -> Step:
    """Return a step that sends an event stream, and keeps it open where an item says so.

    Args:
        items: Its items.
        encoding: What texts are encoded with: Latin-1 where they are bytes.
        at_once: Whether it ends without the end of its last line.
    """
    body = b"".join(encoded(item, encoding) for item in items if item != {"hold": True})
    body = body.rstrip(b"\n") if at_once else body

    async def step(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.send(body)
        if {"hold": True} in items:
            await asyncio.get_running_loop().create_future()

    return step


def encoded(item: Any, encoding: str = "utf-8") -> bytes:
    """Return an item as bytes of an event stream."""
    if isinstance(item, str):
        return f"{item}\n\n".encode(encoding)
    if "delta" in item or "finish_reason" in item:
        names = ("delta", "finish_reason")
        choice = {"index": 0, **{name: item[name] for name in names if name in item}}
        item = {"choices": [choice], **{name: value for name, value in item.items() if name not in names}}
    return f"data: {json.dumps(item)}\n\n".encode(encoding)


def responds(given: dict[str, Any]) -> Step:
    """Return a step that sends a whole response."""

    async def step(exchange: Exchange) -> None:
        await exchange.head(given["status"], given["type"], **given.get("headers", {}))
        await exchange.send(given["body"].encode())

    return step


@dataclass
class Told:
    """What a run's followers got."""

    text: str = ""
    reasoning: str = ""
    starts: list[ToolStart] = field(default_factory=list)
    results: list[ToolResult] = field(default_factory=list)
    end: str = ""
    """The finish reason, or the reason of the failure."""
    retryable: bool = False
    usage: list[int | None] | None = None

    def tools(self) -> list[list[Any]]:
        """Return each call as its name, its arguments and its result."""
        results = {result.call_id: result.result for result in self.results}
        return [[call.tool, json.loads(str(call.args)), results.get(call.call_id)] for call in self.starts]


async def tell(assistant: EndpointAssistant) -> Told:
    """Return what a run tells."""
    told = Told()
    try:
        async for event in assistant(RunRequest("What is 2+3?")):
            match event:
                case TextDelta(content):
                    told.text += content
                case ReasoningDelta(content):
                    told.reasoning += content
                case ToolStart():
                    told.starts.append(event)
                case ToolResult():
                    told.results.append(event)
                case Finish(reason, usage):
                    told.end = reason
                    told.usage = [usage.input_tokens, usage.output_tokens] if usage else None
    except AgentError as error:
        told.end, told.retryable = error.details["reason"], error.retryable
    return told
