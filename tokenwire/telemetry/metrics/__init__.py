"""The home of a process's metrics: local arrays, told to OTLP and at `/metrics` from the same numbers.

The instruments are in `tokenwire.telemetry.metrics.instruments`.
"""

from tokenwire.telemetry.metrics.home import Home, home
from tokenwire.telemetry.metrics.series import Counter, Exemplar, Gauge, Histogram

__all__ = ["Counter", "Exemplar", "Gauge", "Histogram", "Home", "home"]
