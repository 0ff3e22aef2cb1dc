"""The edge process: settings, telemetry, the listening socket, the server."""

from __future__ import annotations

import logging
import os
import secrets
import socket

from edge.app import create_app
from edge.http.drain import Drain
from edge.server import bind, make_server
from edge.settings import EdgeSettings
from edge.workers.plan import Place
from edge.workers.slot import tell_ready
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


def read_all_settings() -> tuple[EdgeSettings, TelemetrySettings]:
    """Return the settings of this process's environment.

    Raises:
        SystemExit: Some are wrong: see `tokenwire.settings.read_settings`.
    """
    return read_settings("edge", EdgeSettings), read_settings("edge", TelemetrySettings)


def serve(settings: EdgeSettings, telemetry: TelemetrySettings, place: Place | None = None) -> int:
    """Serve until a signal asks for the end.

    Args:
        settings: The edge's.
        telemetry: What is told of it.
        place: This process's among several workers; None where it is alone.

    Returns:
        The exit status: 0 after a signal, 2 when the settings are wrong, 1 when a port is taken.
    """
    set_up_logging(settings.log_level, settings.log_format)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    # Unique among all edges: in containers, process ids are the same everywhere.
    descriptors.raise_limit()
    drain, instance_id = Drain(), f"edge-{secrets.token_hex(8)}"
    try:
        app = create_app(settings, drain, telemetry, place)
        stop_tracing = set_up_tracing("tokenwire-edge", instance_id=instance_id, settings=telemetry)
        stop_metrics = set_up_metrics("edge", instance_id=instance_id)
    except ValueError as error:
        logger.error("%s", error)  # noqa: TRY400 # a line for the operator, not a traceback
        return WRONG_SETTINGS
    if place is None or place.number == 1:
        _warn(settings, telemetry)
    try:
        metrics = bind_metrics(telemetry)
        listener = socket.socket(fileno=place.listener) if place else bind(settings)
    except MetricsPortError as error:
        logger.error("%s", error)  # noqa: TRY400 # as above
        return 1
    except OSError as error:
        address = address_of(settings.host, settings.port)
        logger.error("can't listen on %s: %s", address, error.strerror)  # noqa: TRY400 # as above
        return 1

    def tell() -> None:
        address = address_of(settings.host, listener.getsockname()[1])
        name = f"edge worker {place.number} of {place.workers} (pid {os.getpid()})" if place else "edge"
        logger.info("%s ready on http://%s, core at %s", name, address, settings.core)
        if place:
            tell_ready(place.ready)

    try:
        make_server(app, settings, drain, metrics, on_ready=tell).run(sockets=[listener])
    finally:
        stop_metrics()
        stop_tracing()
    return 0


def _warn(settings: EdgeSettings, telemetry: TelemetrySettings) -> None:
    """Say what an operator should know of what is set."""
    for line in unknown_variables(os.environ):
        logger.warning("%s", line)
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
    needed = settings.max_streams + settings.max_idle_connections + descriptors.OWN
    descriptors.warn_if_short(needed, f"TOKENWIRE_MAX_STREAMS={settings.max_streams}")
