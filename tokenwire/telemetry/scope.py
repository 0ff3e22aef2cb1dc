"""The tracer that makes every span of this process: one scope, with the package's version."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

from opentelemetry import trace
from opentelemetry.trace import Tracer

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"
"""The semantic conventions that the attributes' names are from."""

VERSION: Final = version("tokenwire")

SCOPES: Final = {"tokenwire-edge": "tokenwire.edge", "tokenwire-core": "tokenwire.agent_core"}
"""The name of the scope of each kind of process."""

DEFAULT_SCOPE: Final = "tokenwire"
"""Where `name_scope` was not called: in programs that use the packages as a library."""

_tracer: Tracer = trace.get_tracer(DEFAULT_SCOPE, VERSION, schema_url=SCHEMA_URL)


def tracer() -> Tracer:
    """Return the process's tracer. While tracing is off its spans record nothing."""
    return _tracer


def name_scope(service: str) -> None:
    """Have the process's spans carry the scope of its kind.

    Args:
        service: A key of `SCOPES`, or a name of another process.
    """
    global _tracer  # noqa: PLW0603 # one a process
    _tracer = trace.get_tracer(SCOPES.get(service, service), VERSION, schema_url=SCHEMA_URL)
