"""The example: a question whose answer stalls once, found again everywhere it must be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from scripts.observe.services import PROJECT, STALLING
from scripts.observe.supervisor import ObserveError
from tokenwire.traces.errors import TraceError
from tokenwire.traces.files import TraceFiles
from tokenwire.traces.source import choose
from tokenwire.traces.streams import Stall, assemble

STALLS: Final = "tokenwire_stalls_total"
"""The metric whose exemplars lead to the traces."""
WITHIN_S: Final = 30.0
"""How long to look for the stall: spans are exported every second, and metrics are scraped every second."""
LOOK_EVERY_S: Final = 0.2
ANSWER_WITHIN_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Example:
    """The question that was asked."""

    trace_id: str
    stall: Stall


async def ask(url: str, file: Path) -> Example:
    """Ask the agent that stalls; return its trace, once that is in the trace file.

    Args:
        url: The edge.
        file: Where the processes write their spans.

    Raises:
        ObserveError: There was no answer, or no stall is in the file.
    """
    trace_id = await _stream(url)
    stall = await _found(lambda: _stall_in(file, trace_id))
    if stall is None:
        raise ObserveError(f"The example's stall is not in {file} (trace {trace_id}).")
    return Example(trace_id, stall)


async def is_in_phoenix(url: str, example: Example) -> bool:
    """Return whether Phoenix shows the stall; waits for it."""
    path = f"{url}/v1/projects/{PROJECT}/spans"

    async def look() -> bool:
        answer = await _get(path, {"trace_id": example.trace_id, "limit": 100})
        return any(span["name"] == f"stall {example.stall.hop}" for span in answer.get("data", []))

    return bool(await _found(look))


async def is_in_prometheus(url: str, example: Example) -> bool:
    """Return whether Prometheus has an exemplar of the stall; waits for it."""

    async def look() -> bool:
        answer = await _get(f"{url}/api/v1/query_exemplars", exemplar_query())
        exemplars = [each for series in answer.get("data", []) for each in series["exemplars"]]
        return any(each["labels"].get("trace_id") == example.trace_id for each in exemplars)

    return bool(await _found(look))


def exemplar_query() -> dict[str, str | int]:
    """Return the parameters that ask Prometheus for the stalls of the last and the next hour."""
    now = int(time.time())
    return {"query": STALLS, "start": now - 3600, "end": now + 3600}


async def _stream(url: str) -> str:
    """Return the trace id of a question that was answered to its end."""
    body = {"message": "Whose fault is it?", "agent": STALLING, "sessionId": "observe"}
    async with httpx.AsyncClient(trust_env=False, timeout=ANSWER_WITHIN_S) as client:
        try:
            response = await client.post(f"{url}/api/chat", json=body)
        except httpx.TransportError as error:
            raise ObserveError(f"The example had no answer: {error!r}") from error
    if response.status_code != httpx.codes.OK or '"done"' not in response.text:
        raise ObserveError(f"The example had no answer ({response.status_code}): {response.text[-500:]}")
    return response.headers["traceparent"].split("-")[1]


async def _stall_in(file: Path, trace_id: str) -> Stall | None:
    """Return the stall that the trace file has of a stream which is whole."""
    source = TraceFiles([file], lambda _: None)
    try:
        trace = assemble(source.trace(choose(trace_id, source.candidates(trace_id))))
    except (TraceError, OSError):
        return None  # not yet
    stalls = [stall for stream in trace.streams if stream.root for stall in stream.stalls]
    return max(stalls, key=lambda stall: stall.ms, default=None)


async def _found(look: Callable[[], Awaitable[Any]]) -> Any:
    """Return the first true thing that looking gives within the time; else the last."""
    deadline = time.monotonic() + WITHIN_S
    while not (found := await look()) and time.monotonic() < deadline:  # noqa: ASYNC110 - other processes
        await asyncio.sleep(LOOK_EVERY_S)
    return found


async def _get(url: str, parameters: dict[str, str | int]) -> dict[str, Any]:
    """Return what an address answers; nothing where it can't yet."""
    async with httpx.AsyncClient(trust_env=False, timeout=ANSWER_WITHIN_S) as client:
        try:
            answer = await client.get(url, params=parameters)
        except httpx.TransportError:
            return {}
    return answer.json() if answer.status_code == httpx.codes.OK else {}
