"""Who is asking, at the edge: what a request bears, and tickets for one run's events."""

from edge.http.authentication.contract import ANONYMOUS, Connection, NoAuthentication
from edge.http.authentication.guard import TAKES_TICKETS, came_by_ticket, principal_of, require_principal
from edge.http.authentication.openapi import by_security, security_components
from edge.http.authentication.tickets import Tickets, ticket_key
from edge.http.authentication.timing_tokens import TimedStream, TimingTokens

__all__ = [
    "ANONYMOUS",
    "TAKES_TICKETS",
    "Connection",
    "NoAuthentication",
    "Tickets",
    "TimedStream",
    "TimingTokens",
    "by_security",
    "came_by_ticket",
    "principal_of",
    "require_principal",
    "security_components",
    "ticket_key",
]
