"""The guard before every route of the API."""

from __future__ import annotations

from typing import Final

from litestar.handlers import BaseRouteHandler

from edge.http.authentication.contract import ANONYMOUS, Connection, bearing_principal
from edge.http.authentication.tickets import Tickets
from tokenwire.authentication import Bearers, authorization_of

TAKES_TICKETS: Final = "tokenwire_takes_tickets"
"""The `opt` of a route that a ticket opens. No other route looks at one."""

_PRINCIPAL_KEY: Final = "tokenwire.principal"
_BY_TICKET_KEY: Final = "tokenwire.by_ticket"


async def require_principal(connection: Connection, handler: BaseRouteHandler) -> None:
    """Let a request through when it says who asks, and remember it. A Litestar guard.

    A ticket counts instead of the Authorization header: a proxy may have one of its own there.

    Raises:
        UnauthenticatedError: It does not, or can't prove it.
        EdgeError: UNAVAILABLE, that can't be told at the moment.
    """
    edge = connection.app.state.edge
    ticket = connection.query_params.get("ticket") if handler.opt.get(TAKES_TICKETS) else None
    connection.scope["state"][_BY_TICKET_KEY] = ticket is not None
    if ticket is not None:
        tickets: Tickets = edge.tickets
        principal = tickets.principal_of(ticket, str(connection.path_params["run_id"]))
    else:
        bearers: Bearers = edge.authenticator
        authorization = authorization_of(connection.headers.getall("authorization", []))
        principal = await bearing_principal(bearers, authorization)
    connection.scope["state"][_PRINCIPAL_KEY] = principal


def principal_of(connection: Connection) -> str:
    """Return who is asking, as `require_principal` found out."""
    principal: str = connection.scope["state"].get(_PRINCIPAL_KEY, ANONYMOUS)
    return principal


def came_by_ticket(connection: Connection) -> bool:
    """Return whether the request was let in by a ticket."""
    by_ticket: bool = connection.scope["state"].get(_BY_TICKET_KEY, False)
    return by_ticket
