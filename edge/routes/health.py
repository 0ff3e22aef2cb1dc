"""/health: whether the process lives, and whether it can serve."""

from __future__ import annotations

import msgspec
from litestar import Response, get
from litestar.openapi.datastructures import ResponseSpec

from edge.routes.context import EdgeDependency

_NO_STORE = {"cache-control": "no-store"}


class Health(msgspec.Struct):
    """How it stands."""

    status: str
    """ok, draining or core_unavailable."""


@get("/health/live", summary="Check whether the process is alive")
async def live() -> Response[Health]:
    """Answer while the event loop turns."""
    return Response(Health("ok"), headers=_NO_STORE)


@get(
    "/health/ready",
    summary="Check whether new runs can be started",
    responses={503: ResponseSpec(Health, description="Shutting down, or no core can be reached.")},
)
async def ready(edge: EdgeDependency) -> Response[Health]:
    """Tell whether this edge and a core can take a new run."""
    if edge.drain.started:
        return Response(Health("draining"), status_code=503, headers=_NO_STORE)
    if not await edge.upstream.ready():
        return Response(Health("core_unavailable"), status_code=503, headers=_NO_STORE)
    return Response(Health("ok"), headers=_NO_STORE)
