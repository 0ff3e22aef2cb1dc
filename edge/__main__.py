"""`python -m edge`: the edge, set up by TOKENWIRE_* variables alone."""

from __future__ import annotations

from edge.process import read_all_settings, serve
from edge.workers.plan import Plan, become_supervisor


def main() -> int:
    """Return the exit status: 0 after a signal, 2 when the settings are wrong, 1 when a port is taken."""
    settings, telemetry = read_all_settings()
    if settings.workers == 1:
        return serve(settings, telemetry)
    return become_supervisor(
        Plan(
            workers=settings.workers,
            host=settings.host,
            port=settings.port,
            core=settings.core,
            shares_port=settings.reuse_port,
            has_key=settings.has_ticket_key,
            write_deadline_s=settings.write_deadline_s,
            drain_s=settings.drain_s,
            metrics_host=telemetry.metrics_host,
            metrics_port=telemetry.metrics_port or 0,
            log_level=settings.log_level,
            log_format=settings.log_format,
        )
    )


if __name__ == "__main__":
    raise SystemExit(main())
