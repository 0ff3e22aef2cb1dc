"""Appends spans to a file, as OTLP/JSON: one ExportTraceServiceRequest a line.

Source: https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from tokenwire.outage import Outage
from tokenwire.settings import WrongSettingError
from tokenwire.telemetry.otlp_json import encode_request

VARIABLE: Final = "TOKENWIRE_TRACE_FILE"

MODE: Final = 0o600
"""Who may read a file that is made here: its owner. One that is there keeps its own mode."""

logger = logging.getLogger(__name__)


class TraceFileExporter(SpanExporter):
    """Appends spans to a file that several processes may share.

    The file is opened for each batch: one that was moved away is made anew.

    Args:
        path: The file.

    Raises:
        WrongSettingError: It can't be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._torn = False
        self._outage = Outage(
            logger,
            away=f"{VARIABLE}={path}: spans can't be written",
            back=f"{VARIABLE}={path}: spans are written again",
        )
        try:
            os.close(self._open())
        except OSError as error:
            raise WrongSettingError(f"{VARIABLE}={path}: {error.strerror}") from error

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Append a batch as one line; return whether the file took it."""
        try:
            self._append(encode_request(spans))
        except OSError as error:
            self._outage.begin(error.strerror)
            return SpanExportResult.FAILURE
        self._outage.end()
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Do nothing: nothing is kept open."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 # the SDK's interface
        """Return at once: nothing waits here."""
        return True

    def _append(self, line: bytes) -> None:
        """Write a line in one piece, so that those of several processes do not mix.

        Raises:
            OSError: Not all of it was taken.
        """
        # A line that was cut short is ended first, or it would take this one with it.
        data = b"\n%b\n" % line if self._torn else b"%b\n" % line
        file = self._open()
        try:
            written = os.write(file, data)
        finally:
            os.close(file)
        self._torn = written < len(data)
        if self._torn:
            raise OSError(0, f"only {written} of {len(data)} bytes were written")

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)
