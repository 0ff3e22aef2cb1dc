"""`python -m edge`: the edge process, set up by TOKENWIRE_* variables alone."""

from __future__ import annotations

import logging
import os

from edge.app import create_app
from edge.http.drain import Drain
from edge.server import bind, make_server
from edge.settings import EdgeSettings
from tokenwire import descriptors
from tokenwire.addresses import address_of
from tokenwire.logs import set_up_logging
from tokenwire.settings import WRONG_SETTINGS, read_settings
from tokenwire.telemetry import set_up_tracing
from tokenwire.telemetry.metrics.server import MetricsPortError, bind_metrics
from tokenwire.telemetry.metrics.setup import set_up_metrics
from tokenwire.telemetry.settings import TelemetrySettings
from tokenwire.variables import unknown_variables

logger = logging.getLogger("edge")


def main() -> int:
    """Return the exit status: 0 after a signal, 2 when the settings are wrong, 1 when the port is taken."""
    settings = read_settings("edge", EdgeSettings)
    telemetry = read_settings("edge", TelemetrySettings)
    set_up_logging(settings.log_level, settings.log_format)
    for line in unknown_variables(os.environ):
        logger.warning("%s", line)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    drain, instance_id = Drain(), f"edge-{os.getpid()}"
    try:
        app = create_app(settings, drain, telemetry)
        stop_tracing = set_up_tracing("tokenwire-edge", instance_id=instance_id, settings=telemetry)
        stop_metrics = set_up_metrics("edge", instance_id=instance_id)
    except ValueError as error:
        logger.error("%s", error)  # noqa: TRY400 # a line for the operator, not a traceback
        return WRONG_SETTINGS
    if settings.auth == "none":
        logger.warning("authentication is off: all users of this machine may start runs")
    elif settings.shared_owner:
        logger.warning("TOKENWIRE_SHARED_OWNER is set: all users share runs, sessions and histories")
    for warning in settings.share_warnings():
        logger.warning("%s", warning)
    if settings.reuse_port and telemetry.metrics_port is None:
        logger.warning(
            "a scrape of /metrics reaches one of the edges on this port: set TOKENWIRE_METRICS_PORT for each"
        )
    descriptors.raise_limit()
    needed = settings.max_streams + settings.max_idle_connections + descriptors.OWN
    descriptors.warn_if_short(needed, f"TOKENWIRE_MAX_STREAMS={settings.max_streams}")
    try:
        metrics = bind_metrics(telemetry)
        listener = bind(settings)
    except MetricsPortError as error:
        logger.error("%s", error)  # noqa: TRY400 # as above
        return 1
    except OSError as error:
        address = address_of(settings.host, settings.port)
        logger.error("can't listen on %s: %s", address, error.strerror)  # noqa: TRY400 # as above
        return 1
    address = address_of(settings.host, listener.getsockname()[1])
    logger.info("edge ready on http://%s, core at %s", address, settings.core)
    try:
        make_server(app, settings, drain, metrics).run(sockets=[listener])
    finally:
        stop_metrics()
        stop_tracing()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
