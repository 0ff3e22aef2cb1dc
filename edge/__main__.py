"""`python -m edge`: the edge process, set up by TOKENWIRE_* variables alone."""

from __future__ import annotations

import logging
import os
import sys

from pydantic import ValidationError

from edge.app import create_app
from edge.http.drain import Drain
from edge.server import bind, is_loopback, make_server
from edge.settings import EdgeSettings
from tokenwire.telemetry import set_up_tracing

logger = logging.getLogger("edge")


def main() -> int:
    """Return the exit status: 0 after a signal, 2 when the settings are wrong, 1 when the port is taken."""
    try:
        settings = EdgeSettings()
    except ValidationError as error:
        for problem in error.errors():
            print(f"TOKENWIRE_{str(problem['loc'][0]).upper()}: {problem['msg']}", file=sys.stderr)  # noqa: T201
        return 2
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    if not is_loopback(settings.host):
        logger.error("there is no authentication yet: refusing to listen on %s", settings.host)
        return 2
    logger.warning("authentication is off: everybody on this machine may start runs")
    try:
        listener = bind(settings)
    except OSError as error:
        logger.error("can't listen on %s:%s: %s", settings.host, settings.port, error.strerror)  # noqa: TRY400
        return 1
    stop_tracing = set_up_tracing("tokenwire-edge", instance_id=f"edge-{os.getpid()}")
    drain = Drain()
    app = create_app(settings, drain)
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
