"""The log of a process: lines for people, or one JSON object a line for programs.

Everything that this process logs goes one way: uvicorn's, grpc's and asyncio's lines, warnings, what no
code has caught. A JSON line names its run and its trace; no line shows a secret.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
from collections.abc import Mapping
from contextvars import Context, ContextVar
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, TextIO, TypeAlias

from opentelemetry import trace
from opentelemetry.trace import SpanContext

from tokenwire.outage import RepeatFilter
from tokenwire.variables import VARIABLES

LogFormat: TypeAlias = Literal["text", "json"]

FIELDS: Final = ("run_id", "agent", "trace_id", "span_id", "principal", "outcome", "gap_max_hop")
"""What a JSON line holds besides its text, where it is known."""

NUMBERS: Final = ("tokens", "ttft_ms", "gap_max_ms")
"""The same, as numbers."""

REDACTED: Final = "[redacted]"

MIN_SECRET_CHARS: Final = 8
"""Shorter values are no secrets worth the name, and hiding them would tear holes into other words."""

TALKATIVE: Final = ("httpx", "httpx2", "httpcore", "httpcore2", "openai", "hpack")
"""Libraries that log each request with its address or body. Of them only warnings are logged."""

REPETITIVE: Final = ("opentelemetry.", "edge.http.authentication.")
"""Loggers that tell of each failed try: libraries, of each export while the collector is away; the edge, of
each token or ticket that was refused, which anybody may send as often as they like. One such line a minute is
logged."""

_SECRET_VARIABLE: Final = re.compile(r"(KEY|KEYS|TOKEN|SECRET|PASSWORD|HEADERS)$", re.IGNORECASE)
_PATH_VARIABLE: Final = re.compile(r"OTEL_EXPORTER_OTLP_(\w+_)?CLIENT_KEY", re.IGNORECASE)
"""OpenTelemetry's variables that hold the path of a key. Of our own, the table of variables knows it."""
_CREDENTIALS: Final = re.compile(
    r"(?i)(?<=\bbearer )\s*[^\s\"',;]+"  # an Authorization header
    r"|\beyJ[\w-]{8,}\.[\w-]+\.[\w-]+"  # a JWT
    r"|(?<=://)[^\s/@:]*:[^\s/@]+(?=@)"  # the password of an address
)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Control characters but tab and newline: a terminal would obey them."""

_TEXT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"

_bound: ContextVar[Mapping[str, str]] = ContextVar("tokenwire.log_fields")

logger = logging.getLogger("tokenwire")


def set_up_logging(level: str, log_format: LogFormat = "text", *, stream: TextIO | None = None) -> None:
    """Send all that this process logs one way. A repetition replaces what was set up before.

    Args:
        level: The least severe lines that are logged: debug, info, warning or error.
        log_format: `text` for people, `json` for programs.
        stream: Where lines go; None for standard error.
    """
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Handler)]:
        root.removeHandler(handler)
    redact = Redactor(os.environ)
    handler = _Handler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(redact) if log_format == "json" else TextFormatter(redact))
    handler.addFilter(RepeatFilter(REPETITIVE))
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


def log_fields(
    *, run_id: str = "", agent: str = "", principal: str = "", span: SpanContext | None = None
) -> dict[str, str]:
    """Return the `extra` of a log call: what the line is about.

    Args:
        run_id: The run; empty when there is none.
        agent: The run's agent.
        principal: On whose behalf; empty when nobody knows.
        span: The span, where it is not the current one.
    """
    known = {"run_id": run_id, "agent": agent, "principal": principal}
    if span is not None and span.is_valid:
        known["trace_id"] = trace.format_trace_id(span.trace_id)
        known["span_id"] = trace.format_span_id(span.span_id)
    return {name: value for name, value in known.items() if value}


def bind_log_fields(fields: Mapping[str, str]) -> None:
    """Have every line that is logged in the current context, and in tasks made from it, hold these.

    Args:
        fields: From `log_fields`. A log call's own `extra` goes before them.
    """
    _bound.set({**_bound.get({}), **fields})


def bound_log_fields(context: Context) -> Mapping[str, str]:
    """Return what `bind_log_fields` has bound in a context; any thread may ask."""
    return context.get(_bound, {})


class Redactor:
    """Takes secrets out of texts: credentials by their looks, and the values of this process's own.

    Args:
        environment: Variables whose names end in KEY, TOKEN and the like hold secrets, unless they hold
            the path of a file: also of one that is missing, or the operator could not be told which.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        secrets = {
            value.strip()
            for name, value in environment.items()
            if _is_secret(name) and len(value.strip()) >= MIN_SECRET_CHARS
        }
        # The longest first: one may begin with another.
        longest_first = sorted((s for s in secrets if not _names_a_file(s)), key=len, reverse=True)
        self._values = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(self, text: str) -> str:
        """Return the text without secrets.

        Args:
            text: Any.
        """
        if self._values is not None:
            text = self._values.sub(REDACTED, text)
        return _CREDENTIALS.sub(REDACTED, text)


class TextFormatter(logging.Formatter):
    """Lines for people. What follows a record's first line is indented, so that no text can pass for a line.

    Args:
        redact: Takes secrets out.
    """

    def __init__(self, redact: Redactor) -> None:
        super().__init__(_TEXT)
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text.

        Args:
            record: The record.
        """
        text = self._redact(super().format(_sound(record)))
        return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text).replace("\n", "\n    ")


class JsonFormatter(logging.Formatter):
    """One JSON object a line, in ASCII: nothing in it can break the line.

    Args:
        redact: Takes secrets out.
    """

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a JSON object.

        Args:
            record: The record.
        """
        line = {
            "time": _rfc3339(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._redact(_sound(record).getMessage()),
            **_fields_of(record),
            **{name: value for name in NUMBERS if (value := getattr(record, name, None)) is not None},
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = self._redact(self.formatException(record.exc_info))
        if record.stack_info:
            line["stack"] = self._redact(record.stack_info)
        return json.dumps(line)


class _Handler(logging.StreamHandler[TextIO]):
    """Ours, to be told from other handlers."""


def _fields_of(record: logging.LogRecord) -> dict[str, str]:
    """Return what a record is about, as far as it is known: by itself, its context, the current span."""
    current = log_fields(span=trace.get_current_span().get_span_context())
    own = {name: str(value) for name in FIELDS if (value := getattr(record, name, ""))}
    known = {**current, **_bound.get({}), **own}
    return {name: known[name] for name in FIELDS if known.get(name)}


def _sound(record: logging.LogRecord) -> logging.LogRecord:
    """Return the record, with a plain message where its arguments do not fit."""
    try:
        record.getMessage()
    except Exception:  # noqa: BLE001 # a line that can't be formatted is still worth having
        record.msg, record.args = f"{record.msg} {record.args!r}", ()
    return record


def _rfc3339(unix_s: float) -> str:
    """Return a time in UTC, to the millisecond: 2025-10-29T09:00:00.123Z."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _is_secret(variable: str) -> bool:
    """Return whether a variable's value is a secret, as far as its name tells."""
    known = VARIABLES.get(variable.upper())
    if known is not None:
        return known.is_secret
    return bool(_SECRET_VARIABLE.search(variable)) and not _PATH_VARIABLE.fullmatch(variable)


def _names_a_file(value: str) -> bool:
    try:
        return Path(value).exists()
    except (OSError, ValueError):
        return False


def _uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Log what no code has caught, but for Ctrl-C."""
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
        return
    logger.critical("uncaught %s", kind.__name__, exc_info=(kind, error, traceback))


def _uncaught_in_thread(args: Any) -> None:
    """Log what no code of a thread has caught; SystemExit ends a thread quietly."""
    if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
        name = args.thread.name if args.thread else "a thread"
        trio = (args.exc_type, args.exc_value, args.exc_traceback)
        logger.critical("uncaught %s in %s", args.exc_type.__name__, name, exc_info=trio)
