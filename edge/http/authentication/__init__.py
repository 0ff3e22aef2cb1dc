"""Who is asking: API keys, JWTs of an issuer, and tickets for one run's events."""

from edge.http.authentication.api_keys import ApiKeys, load_keys
from edge.http.authentication.bearer import KeysAndTokens
from edge.http.authentication.contract import ANONYMOUS, Authenticator, Connection, NoAuthentication
from edge.http.authentication.guard import TAKES_TICKETS, came_by_ticket, principal_of, require_principal
from edge.http.authentication.key_set import KeySet, KeySource, read_key_file
from edge.http.authentication.tickets import Tickets, ticket_key
from edge.http.authentication.timing_tokens import TimedStream, TimingTokens
from edge.http.authentication.tokens import JwtRules, JwtTokens

__all__ = [
    "ANONYMOUS",
    "TAKES_TICKETS",
    "ApiKeys",
    "Authenticator",
    "Connection",
    "JwtRules",
    "JwtTokens",
    "KeySet",
    "KeySource",
    "KeysAndTokens",
    "NoAuthentication",
    "Tickets",
    "TimedStream",
    "TimingTokens",
    "came_by_ticket",
    "load_keys",
    "principal_of",
    "read_key_file",
    "require_principal",
    "ticket_key",
]
