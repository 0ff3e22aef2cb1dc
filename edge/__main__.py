"""`python -m edge`: the edge process, set up by TOKENWIRE_* variables alone."""

from __future__ import annotations

import logging
import os
import sys

from pydantic import ValidationError

from edge.app import create_app
from edge.http.drain import Drain
from edge.server import bind, make_server
from edge.settings import EdgeSettings
from tokenwire import descriptors
from tokenwire.logs import set_up_logging
from tokenwire.telemetry import set_up_tracing

logger = logging.getLogger("edge")


def main() -> int:
    """Return the exit status: 0 after a signal, 2 when the settings are wrong, 1 when the port is taken."""
    try:
        settings = EdgeSettings()
    except ValidationError as error:
        for problem in error.errors():
            name = f"TOKENWIRE_{str(problem['loc'][0]).upper()}: " if problem["loc"] else ""
            print(f"edge: {name}{problem['msg']}", file=sys.stderr)  # noqa: T201 # there is no log yet
        return 2
    set_up_logging(settings.log_level, settings.log_format)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    drain = Drain()
    try:
        app = create_app(settings, drain)
        stop_tracing = set_up_tracing("tokenwire-edge", instance_id=f"edge-{os.getpid()}")
    except (OSError, ValueError) as error:
        logger.error("%s", error)  # noqa: TRY400 # a line for the operator, not a traceback
        return 2
    if settings.auth == "none":
        logger.warning("authentication is off: everybody on this machine may start runs")
    elif settings.shared_owner:
        logger.warning("TOKENWIRE_SHARED_OWNER is set: all users share runs, sessions and histories")
    descriptors.raise_limit()
    needed = settings.max_streams + settings.max_idle_connections + descriptors.OWN
    descriptors.warn_if_short(needed, f"TOKENWIRE_MAX_STREAMS={settings.max_streams}")
    try:
        listener = bind(settings)
    except OSError as error:
        logger.error("can't listen on %s:%s: %s", settings.host, settings.port, error.strerror)  # noqa: TRY400
        return 1
    logger.info(
        "edge ready on http://%s:%s, core at %s", settings.host, listener.getsockname()[1], settings.core
    )
    try:
        make_server(app, settings, drain).run(sockets=[listener])
    finally:
        stop_tracing()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
