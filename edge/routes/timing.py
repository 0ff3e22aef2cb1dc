"""/runs/{runId}/timing: when a page received the events of its stream, told once after it."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody

from edge.errors import EdgeError, RequestError
from edge.http.authentication import principal_of
from edge.routes.context import EdgeDependency, caller_of
from edge.routes.requests import CHANGE_REFUSALS, RunIdInPath, refusal
from edge.sse.event_id import check_run_id
from edge.telemetry.browser_timing import MAX_EVENTS, PageReport
from tokenwire.latency.browser import Received

MAX_PARTS: Final = 64
NANO_PER_MS: Final = 1_000_000
MAX_UNIX_MS: Final = 4_102_444_800_000
"""The year 2100: what is later is no time of a page's clock."""

UnixMs = Annotated[float, msgspec.Meta(ge=0, le=MAX_UNIX_MS)]


class ReceivedEvents(msgspec.Struct, rename="camel"):
    """Consecutive events of the stream."""

    first: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    """The sequence of the first one: what its id ends in."""
    received_ms: Annotated[list[UnixMs], msgspec.Meta(min_length=1)]
    """When each was received: Unix milliseconds by the page's clock, with their fractions
    (`performance.timeOrigin + performance.now()`)."""


class TimingReport(msgspec.Struct, rename="camel"):
    """What a page says of the stream that it has seen."""

    token: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    """The `Timing-Token` header of the stream's response."""
    sent_ms: UnixMs
    """When this report is sent, by the same clock."""
    parts: Annotated[list[ReceivedEvents], msgspec.Meta(min_length=1, max_length=MAX_PARTS)]
    """The events."""


@post(
    "/runs/{run_id:str}/timing",
    status_code=204,
    summary="Report when a page received a stream's events",
    description="Adds the last hop, from edge to page, to the stream's trace and to the metrics. Accepted "
    f"once a stream, after its end, for at most {MAX_EVENTS} events.",
    responses={
        204: ResponseSpec(None, description="The report was accepted."),
        **CHANGE_REFUSALS,
        409: refusal("The stream has already been reported."),
    },
)
async def timing(
    request: Request[Any, Any, Any], run_id: RunIdInPath, data: JSONBody[TimingReport], edge: EdgeDependency
) -> None:
    """Take a page's report on a stream of a run that it may follow."""
    run = await edge.upstream.get_run(check_run_id(run_id), caller_of(request))
    stream = edge.timing_tokens.stream_of(data.token, principal_of(request))
    if sum(len(part.received_ms) for part in data.parts) > MAX_EVENTS:
        raise RequestError(
            "INVALID_ARGUMENT",
            f"The report is on more than {MAX_EVENTS} events.",
            details={"field": "parts"},
        )
    report = PageReport(
        stream.id,
        stream.traceparent,
        [Received(part.first, [round(ms * NANO_PER_MS) for ms in part.received_ms]) for part in data.parts],
        sent_unix_nano=round(data.sent_ms * NANO_PER_MS),
        came_unix_nano=time.time_ns(),
        run_id=run.run_id,
    )
    if not await edge.browser_timing.take(report):
        raise EdgeError("ALREADY_EXISTS", "The stream has already been reported.", retryable=False)
