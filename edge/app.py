"""The composition root of the edge."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from litestar import Litestar, Router
from litestar.config.cors import CORSConfig
from litestar.datastructures import ResponseHeader
from litestar.di import Provide
from litestar.middleware import DefineMiddleware
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, YamlRenderPlugin

from edge.http.authentication import by_security, require_principal, security_components
from edge.http.browser_guard import BrowserGuard
from edge.http.drain import Drain
from edge.http.limits import Limits
from edge.http.problem import EXCEPTION_HANDLERS
from edge.http.request import EdgeRequest
from edge.routes import ag_ui, ai_sdk, chat, health, inputs, metrics, openai, runs, sessions, tickets, timing
from edge.routes.context import EdgeContext
from edge.routes.page import page_routes
from edge.settings import EdgeSettings
from edge.telemetry.browser_timing import BrowserTiming
from edge.telemetry.server_span import ServerSpanMiddleware
from edge.telemetry.stream_recorder import TokenTelemetry
from edge.upstream import GrpcUpstream
from edge.workers.plan import Place
from edge.workers.reports import SharedTiming
from tokenwire.latency.clock_bounds import ClockBook
from tokenwire.telemetry import clock_id
from tokenwire.telemetry.settings import TelemetrySettings

API: Final = (
    chat.chat,
    runs.follow,
    runs.state,
    runs.cancel,
    inputs.send_input,
    tickets.ticket,
    timing.timing,
    sessions.session_runs,
    sessions.transcript,
    ai_sdk.chat,
    ai_sdk.resume,
    ai_sdk.stop,
    ag_ui.run_agent,
    ag_ui.follow,
)
"""The routes below /api: they are for those who say who they are."""

OPENAI_API: Final = (openai.completions, openai.models)
"""Those below /v1, as well."""


def create_app(
    settings: EdgeSettings,
    drain: Drain | None = None,
    telemetry: TelemetrySettings | None = None,
    place: Place | None = None,
) -> Litestar:
    """Return the ASGI application. Its lifespan opens the channels to the cores, in the serving loop.

    Args:
        settings: The settings.
        drain: The switch that the server turns when the process is to end.
        telemetry: What is told of tokens; None for what the environment says.
        place: This process's among several workers; None where it is alone.

    Raises:
        ValueError: The settings can't be used as they are.
    """
    drain = drain or Drain()
    core_security, authenticator = settings.core_security(), settings.authenticator()
    ticket_signer, limits = settings.tickets(), Limits(settings.limit_policy(), time.monotonic)
    cors = _cors(settings)
    browser_guard = BrowserGuard(
        settings.served_hosts, cors.is_origin_allowed if cors else lambda _origin: False
    )
    policy = settings.stream_policy()
    telemetry = telemetry or TelemetrySettings()
    tokens = TokenTelemetry(telemetry, ClockBook(clock_id()))
    stall_nano = telemetry.stall_nano
    browser_timing = SharedTiming(stall_nano, place) if place else BrowserTiming(stall_nano)

    @asynccontextmanager
    async def upstream(app: Litestar) -> AsyncIterator[None]:
        cores = GrpcUpstream(settings.core_targets, core_security, tokens.clocks, settings.link_settings())
        app.state.edge = EdgeContext(
            settings,
            cores,
            policy,
            drain,
            authenticator,
            ticket_signer,
            limits,
            tokens,
            settings.timing_tokens(),
            browser_timing,
        )
        try:
            async with authenticator.running(), browser_timing.running():
                yield
        finally:
            await cores.close()

    def edge_context() -> EdgeContext:
        context: EdgeContext = app.state.edge
        return context

    app = Litestar(
        route_handlers=[
            *(
                Router(path, route_handlers=handlers, guards=[require_principal], security=security)
                for path, api in (("/api", API), ("/v1", OPENAI_API))
                for handlers, security in by_security(api, settings.auth)
            ),
            health.live,
            health.ready,
            *([metrics.metrics] if telemetry.metrics_port is None else []),
            *page_routes(),
        ],
        guards=[browser_guard],  # before those of a router
        lifespan=[upstream],
        logging_config=None,  # the process has set up logging
        dependencies={"edge": Provide(edge_context, sync_to_thread=False)},
        exception_handlers=EXCEPTION_HANDLERS,
        request_class=EdgeRequest,
        response_headers=[ResponseHeader(name="x-content-type-options", value="nosniff")],
        middleware=[DefineMiddleware(ServerSpanMiddleware, trust_traceparent=settings.trust_traceparent)],
        cors_config=cors,
        request_max_body_size=settings.max_body_bytes,
        openapi_config=OpenAPIConfig(
            title="Tokenwire",
            version="1",
            description="Runs agents and streams their events as Server-Sent Events. Streams can be resumed.",
            path="/schema",
            components=security_components(settings.auth),
            render_plugins=[JsonRenderPlugin(path="/"), YamlRenderPlugin()],
        ),
    )
    return app


def _cors(settings: EdgeSettings) -> CORSConfig | None:
    """Return the allow-list, or None when only the edge's own pages may call it."""
    if not settings.cors_origins:
        return None
    return CORSConfig(
        allow_origins=list(settings.cors_origins),
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "traceparent"],
        expose_headers=[
            "Run-Id",
            "traceparent",
            "Timing-Token",
            "Location",
            "Retry-After",
            "WWW-Authenticate",
            "X-Workflow-Run-Id",
            "X-Workflow-Stream-Tail-Index",
        ],
        max_age=600,
    )
