"""Hands the numbers to the OTLP exporter every minute, in a thread: the event loop does not wait for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData

from tokenwire.outage import Outage

LAST_EXPORT_S: Final = 2.0
"""How long the export at the process's end may take."""

EXPORTERS: Final = (
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
)
"""The loggers of the exporters: they log each failed try."""

logger = logging.getLogger(__name__)


class MetricsExport:
    """Exports until it is stopped, and once more then.

    Args:
        exporter: Where to.
        collect: Returns all numbers.
        interval_s: How long to wait between two exports, in seconds.
    """

    def __init__(
        self, exporter: MetricExporter, collect: Callable[[], MetricsData], interval_s: float
    ) -> None:
        self._exporter = exporter
        self._collect = collect
        self._interval_s = interval_s
        self._stopping = threading.Event()
        self._outage = Outage(
            logger, "metrics can't be exported", "metrics are exported again", level=logging.WARNING
        )
        self._thread = threading.Thread(target=self._run, name="metrics export", daemon=True)
        self._quiet = _Quiet(self._thread)

    def start(self) -> None:
        """Begin."""
        for name in EXPORTERS:
            logging.getLogger(name).addFilter(self._quiet)
        self._thread.start()

    def stop(self) -> None:
        """Export once more, and end. What a dead collector does not take is lost."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._thread.join(LAST_EXPORT_S)
        # Ends the export that is under way, if one is.
        self._exporter.shutdown()
        for name in EXPORTERS:
            logging.getLogger(name).removeFilter(self._quiet)

    def _run(self) -> None:
        while not self._stopping.wait(self._interval_s):
            self._export()
        self._export()

    def _export(self) -> None:
        """Export all numbers, and log when that has failed, or works again."""
        try:
            result = self._exporter.export(self._collect())
        except Exception as error:  # noqa: BLE001 # whatever a library raises: the next try may succeed
            self._outage.begin(repr(error))
            return
        if result is MetricExportResult.SUCCESS:
            self._outage.end()
        else:
            self._outage.begin(self._quiet.last)


class _Quiet(logging.Filter):
    """Holds back what an exporter logs in the thread of the export: `Outage` says it, once.

    Args:
        thread: That thread.
    """

    def __init__(self, thread: threading.Thread) -> None:
        super().__init__()
        self._thread = thread
        self.last = ""
        """The last line that was held back."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is logged.

        Args:
            record: The record.
        """
        if record.thread != self._thread.ident or record.levelno < logging.WARNING:
            return True
        self.last = record.getMessage()
        return False
