"""Which environment variables there are, which process reads each, and what its value is.

The table is written by `scripts/gen_settings.py`, from the settings classes and the command line's options.
It stands here since what both processes and the command line share imports none of them.
"""

from __future__ import annotations

import difflib
import enum
import re
from collections.abc import Mapping
from typing import Final, NamedTuple


class Reader(enum.Flag):
    """Who reads a variable."""

    CORE = enum.auto()
    """The agent core, and what runs inside it."""
    EDGE = enum.auto()
    """The edge."""
    CLI = enum.auto()
    """The command line itself, beside what it hands on to the processes that it starts."""


CORE, EDGE, CLI = Reader


class Variable(NamedTuple):
    """What is known of one variable."""

    readers: Reader
    is_secret: bool = False
    """Whether the value is a secret. False where it is an address that may hold a password."""
    is_path: bool = False
    """Whether the value is the path of a file or a folder, which is no secret whatever the file holds."""


PREFIX: Final = "TOKENWIRE_"

ALIKE: Final = 0.8
"""How alike two names must be for one to be taken for the other, from 0 to 1 (`difflib`)."""

_NOT_OURS: Final = re.compile(
    r"TOKENWIRE_(TEST_\w+|EDGE"  # the tests and the page's development server
    # What Kubernetes sets in each container for each service that is called tokenwire or tokenwire-….
    # Source: https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
    r"|(\w+_)?SERVICE_(HOST|PORT(_\w+)?)|(\w+_)?PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)"
)
_LINK: Final = re.compile(r"(tcp|udp|sctp)://")
"""What the value begins with of another one of these, TOKENWIRE_…_PORT."""


VARIABLES: Final[Mapping[str, Variable]] = {
    # variables: written by scripts/gen_settings.py
    "OPENAI_API_KEY": Variable(CORE, is_secret=True),
    "TOKENWIRE_AGENT": Variable(CORE | CLI),
    "TOKENWIRE_ALLOWED_HOSTS": Variable(EDGE),
    "TOKENWIRE_API_KEY": Variable(CLI, is_secret=True),
    "TOKENWIRE_API_KEYS": Variable(CORE | EDGE, is_secret=True),
    "TOKENWIRE_API_KEYS_FILE": Variable(CORE | EDGE, is_path=True),
    "TOKENWIRE_AUTH": Variable(CORE | EDGE | CLI),
    "TOKENWIRE_CLIENT_BUDGET_BYTES": Variable(EDGE),
    "TOKENWIRE_COMMIT_MS": Variable(EDGE),
    "TOKENWIRE_CORE": Variable(EDGE | CLI),
    "TOKENWIRE_CORE_TLS_CA": Variable(EDGE | CLI, is_path=True),
    "TOKENWIRE_CORE_TLS_CERT": Variable(EDGE | CLI, is_path=True),
    "TOKENWIRE_CORE_TLS_KEY": Variable(EDGE | CLI, is_path=True),
    "TOKENWIRE_CORS_ORIGINS": Variable(EDGE),
    "TOKENWIRE_DISCONNECT_GRACE_S": Variable(CORE),
    "TOKENWIRE_DRAIN_S": Variable(CORE | EDGE | CLI),
    "TOKENWIRE_GRPC_HOST": Variable(CORE | CLI),
    "TOKENWIRE_GRPC_PORT": Variable(CORE | CLI),
    "TOKENWIRE_GRPC_TLS_CERT": Variable(CORE, is_path=True),
    "TOKENWIRE_GRPC_TLS_CLIENT_CA": Variable(CORE, is_path=True),
    "TOKENWIRE_GRPC_TLS_KEY": Variable(CORE, is_path=True),
    "TOKENWIRE_HEARTBEAT_S": Variable(EDGE),
    "TOKENWIRE_HOST": Variable(EDGE | CLI),
    "TOKENWIRE_JWT_AUDIENCE": Variable(CORE | EDGE),
    "TOKENWIRE_JWT_CLAIM": Variable(CORE | EDGE),
    "TOKENWIRE_JWT_ISSUER": Variable(CORE | EDGE),
    "TOKENWIRE_JWT_JWKS_URL": Variable(CORE | EDGE),
    "TOKENWIRE_JWT_KEYS_FILE": Variable(CORE | EDGE, is_path=True),
    "TOKENWIRE_JWT_LEEWAY_S": Variable(CORE | EDGE),
    "TOKENWIRE_JWT_REFRESH_S": Variable(CORE | EDGE),
    "TOKENWIRE_KEEP_ALIVE_S": Variable(EDGE),
    "TOKENWIRE_LINK": Variable(EDGE),
    "TOKENWIRE_LOG_FORMAT": Variable(CORE | EDGE),
    "TOKENWIRE_LOG_LEVEL": Variable(CORE | EDGE),
    "TOKENWIRE_LOG_PRINCIPAL_BYTES": Variable(CORE),
    "TOKENWIRE_LOG_RETENTION_S": Variable(CORE),
    "TOKENWIRE_LOG_RUN_BYTES": Variable(CORE),
    "TOKENWIRE_LOG_RUN_EVENTS": Variable(CORE),
    "TOKENWIRE_LOG_TOTAL_BYTES": Variable(CORE),
    "TOKENWIRE_MAX_BODY_BYTES": Variable(EDGE),
    "TOKENWIRE_MAX_FOLLOWS": Variable(CORE),
    "TOKENWIRE_MAX_HEADER_BYTES": Variable(EDGE),
    "TOKENWIRE_MAX_IDLE_CONNECTIONS": Variable(EDGE),
    "TOKENWIRE_MAX_INPUT_WAIT_S": Variable(CORE),
    "TOKENWIRE_MAX_MESSAGE_BYTES": Variable(CORE),
    "TOKENWIRE_MAX_PRINCIPAL_FOLLOWS": Variable(CORE),
    "TOKENWIRE_MAX_PRINCIPAL_RUNS": Variable(CORE),
    "TOKENWIRE_MAX_PRINCIPAL_STARTS_PER_MINUTE": Variable(CORE),
    "TOKENWIRE_MAX_RUNS": Variable(CORE),
    "TOKENWIRE_MAX_RUN_BYTES": Variable(CORE),
    "TOKENWIRE_MAX_RUN_EVENTS": Variable(CORE),
    "TOKENWIRE_MAX_RUN_TOOL_CALLS": Variable(CORE),
    "TOKENWIRE_MAX_STREAMS": Variable(EDGE),
    "TOKENWIRE_MAX_STREAMS_PER_PRINCIPAL": Variable(EDGE),
    "TOKENWIRE_MERGE": Variable(EDGE),
    "TOKENWIRE_METRICS_HOST": Variable(CORE | EDGE),
    "TOKENWIRE_METRICS_PORT": Variable(CORE | EDGE),
    "TOKENWIRE_MODEL": Variable(CORE | CLI),
    "TOKENWIRE_MODEL_CACHE": Variable(CORE, is_path=True),
    "TOKENWIRE_MODEL_CONNECT_S": Variable(CORE),
    "TOKENWIRE_MODEL_CONTEXT_TOKENS": Variable(CORE),
    "TOKENWIRE_MODEL_KEY": Variable(CORE, is_secret=True),
    "TOKENWIRE_MODEL_MAX_TOKENS": Variable(CORE),
    "TOKENWIRE_MODEL_MAX_TOOL_CALLS": Variable(CORE),
    "TOKENWIRE_MODEL_PARALLEL": Variable(CORE),
    "TOKENWIRE_MODEL_RETRIES": Variable(CORE),
    "TOKENWIRE_MODEL_RETRY_S": Variable(CORE),
    "TOKENWIRE_MODEL_STALL_S": Variable(CORE),
    "TOKENWIRE_MODEL_THINKS_FIRST": Variable(CORE),
    "TOKENWIRE_MODEL_THREADS": Variable(CORE),
    "TOKENWIRE_MODEL_TOOLS": Variable(CORE),
    "TOKENWIRE_MODEL_TOOL_TIMEOUT_S": Variable(CORE),
    "TOKENWIRE_MODEL_URL": Variable(CORE | CLI),
    "TOKENWIRE_MODEL_USAGE": Variable(CORE),
    "TOKENWIRE_PATIENCE_S": Variable(CLI),
    "TOKENWIRE_PORT": Variable(EDGE | CLI),
    "TOKENWIRE_PRINCIPAL": Variable(CLI),
    "TOKENWIRE_PRINCIPAL_KEY": Variable(CORE | EDGE | CLI, is_secret=True),
    "TOKENWIRE_RECONNECTS_PER_S": Variable(EDGE),
    "TOKENWIRE_REDIS_PREFIX": Variable(CORE),
    "TOKENWIRE_RELOAD": Variable(CORE | CLI),
    "TOKENWIRE_REQUEST_TIMEOUT_S": Variable(EDGE),
    "TOKENWIRE_RETRY_MS": Variable(EDGE),
    "TOKENWIRE_REUSE_PORT": Variable(EDGE),
    "TOKENWIRE_RUN_TIMEOUT_S": Variable(CORE),
    "TOKENWIRE_SESSION_BYTES": Variable(CORE),
    "TOKENWIRE_SESSION_EXCHANGES": Variable(CORE),
    "TOKENWIRE_SESSION_RETENTION_S": Variable(CORE),
    "TOKENWIRE_SHARED_OWNER": Variable(CORE | EDGE | CLI),
    "TOKENWIRE_STALL_MS": Variable(CORE | EDGE),
    "TOKENWIRE_STARTS_BURST": Variable(EDGE),
    "TOKENWIRE_STARTS_PER_MINUTE": Variable(EDGE),
    "TOKENWIRE_STOP_GRACE_S": Variable(CORE),
    "TOKENWIRE_STORE": Variable(CORE | CLI),
    "TOKENWIRE_TICKET_KEY": Variable(EDGE, is_secret=True),
    "TOKENWIRE_TICKET_LIFETIME_S": Variable(EDGE),
    "TOKENWIRE_TRACE_DETAIL": Variable(CORE | EDGE),
    "TOKENWIRE_TRACE_FILE": Variable(CORE | EDGE | CLI, is_path=True),
    "TOKENWIRE_TRUST_TRACEPARENT": Variable(EDGE),
    "TOKENWIRE_URL": Variable(CLI),
    "TOKENWIRE_VIA": Variable(CLI),
    "TOKENWIRE_WORKERS": Variable(EDGE | CLI),
    "TOKENWIRE_WRITE_DEADLINE_S": Variable(EDGE),
    # end of variables
}
"""Every variable that something of Tokenwire reads, but those of OpenTelemetry."""


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Return a line for each variable that was meant for Tokenwire, as it seems, and that nothing reads.

    Args:
        environment: The process's. Values are looked at for what Kubernetes sets, and not shown.
    """
    names = sorted(name for name, value in environment.items() if not _LINK.match(value))
    return [line for name in names if (line := _unknown(name))]


def _unknown(name: str) -> str:
    """Return what is wrong with a name; empty when it is known, or of no concern."""
    upper = name.upper()
    if name in VARIABLES or _NOT_OURS.fullmatch(name) or not _resembles(upper[: len(PREFIX)], PREFIX):
        return ""
    if upper in VARIABLES:
        return f"{name} is not read everywhere: the name is {upper}, in capitals"
    meant = difflib.get_close_matches(upper, VARIABLES, n=1, cutoff=ALIKE)
    if meant:
        return f"{name} is not a variable of Tokenwire and is ignored. Did you mean {meant[0]}?"
    if upper.startswith(PREFIX):
        return f"{name} is not a variable of Tokenwire and is ignored"
    return ""


def _resembles(one: str, other: str) -> bool:
    return difflib.SequenceMatcher(None, one, other).ratio() >= ALIKE
