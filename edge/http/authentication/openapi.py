"""How the OpenAPI document tells who may call: only what the edge is set up for.

Source: https://spec.openapis.org/oas/v3.1.0#security-scheme-object
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from litestar.handlers import HTTPRouteHandler
from litestar.openapi.spec import Components, SecurityRequirement, SecurityScheme

from edge.http.authentication.guard import TAKES_TICKETS

_BEARERS: Final[Mapping[str, tuple[str, SecurityScheme]]] = {
    "keys": (
        "apiKey",
        SecurityScheme(
            type="http",
            scheme="bearer",
            bearer_format="API key",
            description="API key, as made by `tokenwire key`.",
        ),
    ),
    "jwt": (
        "jwt",
        SecurityScheme(
            type="http",
            scheme="bearer",
            bearer_format="JWT",
            description="JWT of the issuer that is configured at the server.",
        ),
    ),
}
"""The name and the scheme of each part of TOKENWIRE_AUTH."""

_TICKET: Final = "ticket"


def security_components(auth: str) -> Components:
    """Return the schemes by which requests prove who asks.

    Args:
        auth: TOKENWIRE_AUTH.
    """
    schemes: dict[str, Any] = dict(_bearers(auth))
    if schemes:
        schemes[_TICKET] = SecurityScheme(
            type="apiKey",
            name="ticket",
            security_scheme_in="query",
            description="Ticket (`POST /api/runs/{run_id}/ticket`): lets an `EventSource`, which can't send "
            "headers, read the events of one run.",
        )
    return Components(security_schemes=schemes or None)


def by_security(
    handlers: Sequence[HTTPRouteHandler], auth: str
) -> list[tuple[list[HTTPRouteHandler], list[SecurityRequirement]]]:
    """Return handlers in groups, each with what its requests must bear: one of the listed.

    Args:
        handlers: Of the API.
        auth: TOKENWIRE_AUTH.
    """
    bearers: list[SecurityRequirement] = [{name: []} for name, _ in _bearers(auth)]
    ticketed = [handler for handler in handlers if TAKES_TICKETS in handler.opt]
    others = [handler for handler in handlers if TAKES_TICKETS not in handler.opt]
    return [(others, bearers), (ticketed, [*bearers, {_TICKET: []}] if bearers else [])]


def _bearers(auth: str) -> list[tuple[str, SecurityScheme]]:
    return [_BEARERS[part] for part in auth.split(",") if part in _BEARERS]
