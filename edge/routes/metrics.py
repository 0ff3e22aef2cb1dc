"""/metrics: the process's numbers, for Prometheus."""

from __future__ import annotations

from litestar import Response, get

from edge.http.request import EdgeRequest
from tokenwire.telemetry.metrics import home
from tokenwire.telemetry.metrics.exposition import metrics_page


@get("/metrics", include_in_schema=False)
async def metrics(request: EdgeRequest) -> Response[bytes]:
    """Return all metrics: OpenMetrics, with exemplars, where `Accept` asks for it."""
    page, content_type = metrics_page(home(), request.headers.get("accept", ""))
    # As a header: to a media type of text Litestar adds a charset of its own.
    return Response(page, headers={"content-type": content_type, "cache-control": "no-store"})
