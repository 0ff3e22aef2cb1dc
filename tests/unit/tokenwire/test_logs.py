"""One way for all lines, each with its ids, none with a secret."""

import asyncio
import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from contextvars import Context
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span

from tokenwire import logs
from tokenwire.logs import REDACTED, LogFormat, Redactor, bind_log_fields, log_fields, set_up_logging
from tokenwire.outage import RepeatFilter

SPAN = SpanContext(0xABC, 0x12, is_remote=False, trace_flags=TraceFlags(1))
TRACE_ID, SPAN_ID = f"{0xABC:032x}", f"{0x12:016x}"

logger = logging.getLogger("tests.logs")


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level, sys.excepthook, threading.excepthook
    yield
    logging.captureWarnings(False)
    root.handlers[:], root.level, sys.excepthook, threading.excepthook = before


def logging_to(log_format: LogFormat, level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    # pytest's own handlers raise where a line can't be formatted.
    for name in ("LogCaptureHandler", "_LiveLoggingNullHandler"):
        root = logging.getLogger()
        root.handlers[:] = [handler for handler in root.handlers if type(handler).__name__ != name]
    set_up_logging(level, log_format, stream=stream)
    return stream


def raised(error: Exception) -> Exception:
    """Return an exception as it is when it was caught: with a traceback."""
    try:
        raise error  # noqa: TRY301 - that is what this is for
    except Exception as caught:  # noqa: BLE001 - whatever it is
        return caught


def lines_of(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_json_line_holds_time_level_logger_and_message() -> None:
    """And nothing else where nothing else is known."""
    stream = logging_to("json")
    logger.warning("%d of %d", 3, 4)
    (line,) = lines_of(stream)
    assert set(line) == {"time", "level", "logger", "message"}
    assert (line["level"], line["logger"], line["message"]) == ("warning", "tests.logs", "3 of 4")
    assert line["time"].endswith("Z")
    assert abs(datetime.fromisoformat(line["time"]).timestamp() - datetime.now().astimezone().timestamp()) < 5


def test_a_json_line_is_one_line_whatever_it_says() -> None:
    """Newlines, separators and lone surrogates can't break it."""
    stream = logging_to("json")
    logger.info("a\nb\r\u2028\ud800é")
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().isascii()
    assert lines_of(stream)[0]["message"] == "a\nb\r\u2028\ud800é"


def test_the_extra_names_the_run_the_trace_and_the_principal() -> None:
    """What a call says of itself goes before what its context and the current span say."""
    stream = logging_to("json")

    def log() -> None:
        bind_log_fields(log_fields(run_id="bound", principal="ann"))
        bind_log_fields({"principal": "bob"})
        with use_span(NonRecordingSpan(SpanContext(1, 2, is_remote=False))):
            logger.info("one", extra=log_fields(run_id="own", span=SPAN))
            logger.info("two", extra=log_fields())

    Context().run(log)
    one, two = lines_of(stream)
    assert (one["run_id"], one["trace_id"], one["span_id"], one["principal"]) == (
        "own",
        TRACE_ID,
        SPAN_ID,
        "bob",
    )
    assert (two["run_id"], two["trace_id"], two["principal"]) == ("bound", f"{1:032x}", "bob")


async def test_what_is_bound_in_one_task_is_not_in_another() -> None:
    """Two requests do not sign each other's lines; tasks that a request makes are its own."""
    stream = logging_to("json")

    async def request(run_id: str) -> None:
        bind_log_fields(log_fields(run_id=run_id))
        await asyncio.sleep(0)

        async def child() -> None:
            logger.info("of %s", run_id)

        await asyncio.create_task(child())

    await asyncio.gather(request("a"), request("b"))
    logger.info("of none")
    assert [(line["message"], line.get("run_id")) for line in lines_of(stream)] == [
        ("of a", "a"),
        ("of b", "b"),
        ("of none", None),
    ]


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_an_exception_is_told_with_its_traceback(log_format: LogFormat) -> None:
    """In one JSON object; or in lines that are indented."""
    stream = logging_to(log_format)
    error = raised(RuntimeError("first\n2025-10-29 09:00:00,000 INFO edge: forged"))
    logger.error("failed", exc_info=error)
    if log_format == "json":
        (line,) = lines_of(stream)
        assert line["exception"].startswith("Traceback")
        assert "RuntimeError: first" in line["exception"]
    else:
        first, *others = stream.getvalue().splitlines()
        assert first.endswith("ERROR tests.logs: failed")
        assert others[0] == "    Traceback (most recent call last):"
        assert all(line.startswith("    ") for line in others), "no text passes for a line of its own"


def test_a_text_line_obeys_no_terminal() -> None:
    """Control characters are shown, not sent."""
    stream = logging_to("text")
    logger.info("a\x1b[2Jb\rc")
    assert stream.getvalue().endswith("INFO tests.logs: a\\x1b[2Jb\\x0dc\n")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_line_shows_a_secret(
    log_format: LogFormat, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither its text nor its exception: our own keys, headers, tokens, passwords in addresses."""
    key_file = tmp_path / "tls.pem"
    key_file.touch()
    monkeypatch.setenv("TOKENWIRE_PRINCIPAL_KEY", "correct horse battery staple!!!!")
    monkeypatch.setenv("PROVIDER_API_KEY", "sk-provider-12345")
    monkeypatch.setenv("TOKENWIRE_GRPC_TLS_KEY", str(key_file))
    monkeypatch.setenv("SHORT_TOKEN", "in")
    stream = logging_to(log_format)
    error = raised(RuntimeError("401 for sk-provider-12345 at https://ann:hunter22@host/v1"))
    logger.error(
        "Authorization: Bearer abc.def-123, key %s in %s",
        "correct horse battery staple!!!!",
        key_file,
        exc_info=error,
    )
    logger.info("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2ln ends")
    text = stream.getvalue()
    for secret in ("abc.def-123", "horse", "sk-provider", "hunter22", "eyJ"):
        assert secret not in text
    assert text.count(REDACTED) >= 5
    assert str(key_file) in text, "a path is no secret"
    assert " in " in text, "nor is a word of two letters"


def test_a_secret_that_begins_with_another_is_hidden_whole() -> None:
    """The longest match counts."""
    redact = Redactor({"A_KEY": "12345678", "B_KEY": "12345678-and-more"})
    assert redact("x 12345678-and-more y") == f"x {REDACTED} y"


def test_a_line_whose_arguments_do_not_fit_is_logged_all_the_same(capfd: pytest.CaptureFixture[str]) -> None:
    """A slip in a log call costs no line, and writes nothing past the log."""
    stream = logging_to("json")
    logger.info("%d apples", "many")
    assert lines_of(stream)[0]["message"] == "%d apples ('many',)"
    assert capfd.readouterr() == ("", "")


def test_warnings_and_other_libraries_go_the_same_way() -> None:
    """uvicorn, grpc and asyncio log through their own loggers; warnings through py.warnings."""
    stream = logging_to("json")
    for name in ("uvicorn.error", "grpc._cython.cygrpc", "asyncio"):
        logging.getLogger(name).error("of %s", name)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        # As logging.captureWarnings does it, past what pytest puts there.
        logging._showwarning(UserWarning("careful"), UserWarning, "a.py", 1)
    assert [line["logger"] for line in lines_of(stream)] == [
        "uvicorn.error",
        "grpc._cython.cygrpc",
        "asyncio",
        "py.warnings",
    ]


def test_libraries_that_log_requests_are_quiet() -> None:
    """A model's address and what users write are not logged, whatever the level."""
    stream = logging_to("json", "debug")
    logging.getLogger("httpx").info("HTTP Request: POST https://host/v1?key=1")
    logging.getLogger("openai").debug("Request options: …")
    logger.debug("ours")
    assert [line["message"] for line in lines_of(stream)] == ["ours"]


@pytest.mark.parametrize("name", ["edge.http.authentication.contract", "opentelemetry.exporter"])
def test_what_anybody_can_cause_is_logged_once_a_minute(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the number of those left out; another kind of line, and another logger's, is not held back."""
    now_s = 0.0
    monkeypatch.setattr(logs, "RepeatFilter", partial(RepeatFilter, clock_s=lambda: now_s))
    out = io.StringIO()
    set_up_logging("info", stream=out)
    for count in range(1000):
        logging.getLogger(name).info("a token was refused: %s", f"why {count}")
    logging.getLogger(name).info("something else")
    logging.getLogger("edge.other").info("a token was refused: %s", "elsewhere")
    now_s = 61.0
    logging.getLogger(name).info("a token was refused: %s", "later")
    lines = [line.rpartition(f"{name}: ")[2] for line in out.getvalue().splitlines()]
    assert lines[0] == "a token was refused: why 0"
    assert [line.rpartition(": ")[2] for line in lines[1:3]] == ["something else", "elsewhere"]
    assert lines[3].startswith("a token was refused: later")
    assert "999" in lines[3]
    assert len(lines) == 4


def test_what_no_code_has_caught_is_logged() -> None:
    """In the main thread and in others; Ctrl-C is not."""
    stream = logging_to("json")
    error = ValueError("nobody")
    sys.excepthook(ValueError, error, None)

    def fail() -> None:
        raise error

    # As a thread does it, past what pytest puts there.
    thread = threading.Thread(target=fail, name="worker")
    threading.excepthook(threading.ExceptHookArgs((ValueError, error, None, thread)))
    threading.excepthook(threading.ExceptHookArgs((SystemExit, SystemExit(1), None, thread)))
    first, second = lines_of(stream)
    assert (first["level"], first["message"]) == ("critical", "uncaught ValueError")
    assert second["message"] == "uncaught ValueError in worker"
    assert "nobody" in first["exception"]


def test_ctrl_c_is_python_s_own(capsys: pytest.CaptureFixture[str]) -> None:
    """It is no failure to be logged."""
    stream = logging_to("json")
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert stream.getvalue() == ""
    assert "KeyboardInterrupt" in capsys.readouterr().err


def test_setting_up_again_replaces_and_leaves_others() -> None:
    """No line twice; a handler that is not ours stays."""
    other = logging.NullHandler()
    logging.getLogger().addHandler(other)
    first, second = logging_to("text"), logging_to("text", "error")
    logger.warning("quiet")
    logger.error("once")
    assert (first.getvalue(), second.getvalue().count("once")) == ("", 1)
    assert "quiet" not in second.getvalue()
    assert other in logging.getLogger().handlers


def test_a_stack_is_told_when_asked_for() -> None:
    """`stack_info=True`."""
    stream = logging_to("json")
    logger.info("here", stack_info=True)
    assert "test_a_stack_is_told_when_asked_for" in lines_of(stream)[0]["stack"]


def test_a_value_that_can_be_no_path_counts_as_a_secret() -> None:
    """A NUL, or thousands of characters."""
    for value in ("0123\x00456789", "x" * 5000):
        assert logs.Redactor({"A_KEY": value})(value) == REDACTED


@pytest.mark.parametrize(
    "name",
    [
        "TOKENWIRE_GRPC_TLS_KEY",
        "TOKENWIRE_CORE_TLS_KEY",
        "tokenwire_core_tls_key",
        "OTEL_EXPORTER_OTLP_CLIENT_KEY",
    ],
)
def test_the_path_of_a_key_is_no_secret(name: str) -> None:
    """Also when there is no such file: then it is just what the operator has to know."""
    path = "/etc/tokenwire/missing.key"
    assert Redactor({name: path})(f"can't read {path}") == f"can't read {path}"
    assert Redactor({"TOKENWIRE_TICKET_KEY": path})(path) == REDACTED
