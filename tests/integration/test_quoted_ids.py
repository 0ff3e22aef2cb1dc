"""Whatever goes wrong has an id that its user can quote and the log knows, whether it is traced or not."""

from __future__ import annotations

import logging
from typing import Any

import grpc
import pytest
from opentelemetry import trace

from tests.support.core import refusal_of, running_core
from tests.support.raw_http import ask
from tests.support.spans import Spans, spans, unsampled_spans, use_provider
from tests.support.stack import Stack, running_stack
from tokenwire.v1 import agent_service_pb2 as pb

__all__ = ["spans", "unsampled_spans"]

CHAT: dict[str, Any] = {"message": "hi", "sessionId": "s"}
REFUSALS = {
    "no such agent": ("POST", "/api/chat", {**CHAT, "agent": "nobody"}),
    "no message": ("POST", "/api/chat", {"sessionId": "s"}),
    "no such run": ("GET", "/api/runs/" + "a" * 30, None),
    "no run id": ("GET", "/api/runs/x/events", None),
    "no such route": ("GET", "/api/nothing", None),
    "wrong method": ("DELETE", "/api/chat", None),
}


async def refused(stack: Stack, what: str) -> Any:
    """Return the answer to a request that can't be served."""
    method, path, body = REFUSALS[what]
    response = await stack.client.request(method, path, json=body)
    assert response.status_code >= 400
    assert response.headers["content-type"] == "application/problem+json"
    return response


def lines_about(caplog: pytest.LogCaptureFixture, trace_id: str) -> list[logging.LogRecord]:
    """Return the records that are found by an id."""
    assert len(trace_id) == 32
    return [record for record in caplog.records if getattr(record, "trace_id", "") == trace_id]


@pytest.fixture(params=["sampled", "not sampled", "off"])
def tracing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Trace everything, nothing of what goes well, or not at all."""
    if request.param == "off":
        use_provider(trace.NoOpTracerProvider(), monkeypatch)
    else:
        request.getfixturevalue("spans" if request.param == "sampled" else "unsampled_spans")
    return str(request.param)


async def test_every_refusal_names_an_id_that_the_log_has(
    tracing: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With what was refused and why; and the response names its span where there is one."""
    async with running_stack() as stack:
        with caplog.at_level(logging.INFO, "edge"):
            for what in REFUSALS:
                response = await refused(stack, what)
                problem = response.json()
                (line,) = lines_about(caplog, problem["traceId"])
                assert problem["traceId"] in line.getMessage()
                assert f" refused: {problem['status']} " in line.getMessage()
                named = response.headers.get("traceparent")
                if tracing == "off":
                    assert named is None
                elif what not in {"no such route", "wrong method"}:
                    assert named.split("-")[1] == problem["traceId"]


async def test_what_is_no_request_is_refused_with_an_id_too(caplog: pytest.LogCaptureFixture) -> None:
    """The server's own answers, before there is a route."""
    async with running_stack() as stack:
        with caplog.at_level(logging.INFO, "edge"):
            answer = await ask(stack.url, b"rubbish\r\n\r\n")
    assert answer.status == 400
    assert lines_about(caplog, answer.problem["traceId"])


async def test_a_refused_call_of_the_core_names_an_id_that_its_log_has(
    tracing: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Services that call it directly have no problem document: `RequestInfo` is gRPC's own place for it."""
    metadata = (("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),)
    async with running_core() as core:
        with caplog.at_level(logging.INFO, "agent_core"), pytest.raises(grpc.aio.AioRpcError) as refused:
            await core.stub.GetRun(pb.GetRunRequest(run_id="x"), metadata=metadata)
    known_as = refusal_of(refused.value).request.request_id
    (line,) = lines_about(caplog, known_as)
    assert f"GetRun refused: INVALID_REQUEST (trace {known_as})" in line.getMessage()
    assert known_as == "0af7651916cd43dd8448eb211c80319c", tracing


async def test_a_flood_of_refusals_does_not_fill_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond so many a second they are at level debug, for who looks for one."""
    monkeypatch.setattr("edge.http.problem._logged", Once())
    async with running_stack() as stack:
        with caplog.at_level(logging.DEBUG, "edge"):
            ids = [(await refused(stack, "no such run")).json()["traceId"] for _ in range(3)]
    levels = [line.levelname for known in ids for line in lines_about(caplog, known)]
    assert levels == ["INFO", "DEBUG", "DEBUG"]


class Once:
    """A rate that allows one."""

    def __init__(self) -> None:
        self._left = 1

    def take(self) -> bool:
        self._left -= 1
        return self._left >= 0


@pytest.mark.parametrize("agent", ["raises_before", "raises_after", "refuses"])
async def test_every_failed_run_names_an_id_that_the_log_has(
    tracing: str, agent: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The trace id in its error, where anything is traced, and its run id in any case."""
    async with running_stack() as stack:
        with caplog.at_level(logging.INFO):
            async with stack.chat(agent=agent) as response:
                text = (await response.aread()).decode()
            run_id = response.headers["run-id"]
    said = [r for r in caplog.records if getattr(r, "run_id", "") == run_id and "failed" in r.getMessage()]
    assert any(run_id in record.getMessage() for record in said)
    if tracing != "off":
        (trace_id,) = {record.trace_id for record in said}  # type: ignore[attr-defined]
        assert f'"traceId":"{trace_id}"' in text
        assert response.headers["traceparent"].split("-")[1] == trace_id


async def test_a_run_that_its_core_takes_down_is_in_the_log(
    tracing: str, caplog: pytest.LogCaptureFixture
) -> None:
    """No bug, so without a traceback; but its user sees an error."""
    async with running_stack() as stack:
        with caplog.at_level(logging.INFO):
            async with stack.chat(agent="slow") as response:
                parts = response.aiter_text()
                await anext(parts)
                await stack.core.stop()
                text = "".join([part async for part in parts])
    assert "CORE_SHUTDOWN" in text
    run_id = response.headers["run-id"]
    (line,) = [record for record in caplog.records if f"run {run_id} failed" in record.getMessage()]
    assert "CORE_SHUTDOWN" in line.getMessage()
    assert line.exc_info is None
    assert hasattr(line, "trace_id") is (tracing != "off")


async def test_a_refused_chat_has_no_run_in_its_span(spans: Spans) -> None:
    """An empty id would be found by who looks for runs."""
    async with running_stack() as stack:
        await refused(stack, "no such agent")
        (request,) = await spans.wait_for("POST /api/chat")
    assert request.attributes is not None
    assert "tokenwire.run.id" not in request.attributes
    assert request.attributes["http.response.status_code"] == 404


async def test_a_traces_flags_are_the_same_wherever_they_are_told(spans: Spans) -> None:
    """In the response's header, in the run's first event, and so for whoever goes on from there."""
    async with running_stack() as stack, stack.chat(agent="scripted") as response:
        text = (await response.aread()).decode()
    flags = response.headers["traceparent"].rpartition("-")[2]
    (request,) = await spans.wait_for("POST /api/chat")
    assert request.context is not None
    assert flags == f"{request.context.trace_flags:02x}"
    told = text.partition('"traceparent":"')[2].partition('"')[0]
    assert told.rpartition("-")[2] == flags
    for span in spans.all():
        assert span.context is not None
        assert f"{span.context.trace_flags:02x}" == flags
