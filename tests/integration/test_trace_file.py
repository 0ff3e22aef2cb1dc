"""The traces that real processes write into one file, read back by protobuf's own parser."""

from __future__ import annotations

import signal
import sys
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.support.otlp import attributes_of, requests_in, spans_in
from tests.support.processes import Processes, wait_until
from tests.support.sse_reader import events_of

STREAM_RUN = "tokenwire.v1.AgentService/StreamRun"
FOLLOW_RUN = "tokenwire.v1.AgentService/FollowRun"


def ask(url: str, agent: str = "scripted") -> httpx.Response:
    body = {"message": "hi", "sessionId": "s", "agent": agent}
    return httpx.post(f"{url}/api/chat", json=body, timeout=30, trust_env=False)


def test_both_processes_append_one_trace_to_the_file(processes: Processes, tmp_path: Path) -> None:
    """Without a collector; soon, not only at their end; each says its version, in one scope."""
    file = tmp_path / "traces.jsonl"
    stack = processes.up(settings={"TOKENWIRE_TRACE_FILE": str(file)})
    answer = ask(stack.url)
    trace_id = bytes.fromhex(answer.headers["traceparent"].split("-")[1])
    wanted = {"POST /api/chat", STREAM_RUN, "invoke_agent scripted"}
    wait_until(lambda: wanted <= {span.name for span in spans_in(file)}, "the spans are in the file", 20)
    chat = [span for span in spans_in(file) if span.trace_id == trace_id]
    by_id = {span.span_id: span for span in chat}
    assert sorted(span.name for span in chat if not span.name.startswith(("tokens", "stall "))) == [
        "POST /api/chat",
        "invoke_agent scripted",
        STREAM_RUN,
        STREAM_RUN,
    ]
    assert [span.name for span in chat if span.parent_span_id not in by_id] == ["POST /api/chat"]

    sources = {}
    for request in requests_in(file):
        for resource in request.resource_spans:
            told = attributes_of(resource.resource.attributes)
            (scope,) = resource.scope_spans
            said = (told["service.version"], scope.scope.name, scope.scope.version, scope.schema_url)
            assert sources.setdefault(told["service.name"], said) == said
    own, schema = version("tokenwire"), "https://opentelemetry.io/schemas/1.44.0"
    assert sources == {
        "tokenwire-core": (own, "tokenwire.agent_core", own, schema),
        "tokenwire-edge": (own, "tokenwire.edge", own, schema),
    }


@pytest.mark.parametrize("module", ["agent_core", "edge"])
def test_a_file_that_cannot_be_written_ends_the_process_at_its_start(
    processes: Processes, tmp_path: Path, module: str
) -> None:
    """With one line and the status of wrong settings: restarting does not help."""
    file = tmp_path / "missing" / "traces.jsonl"
    settings = {
        "TOKENWIRE_TRACE_FILE": str(file),
        "TOKENWIRE_GRPC_PORT": "0",
        "TOKENWIRE_PORT": "0",
        "TOKENWIRE_CORE": "127.0.0.1:1",
    }
    process = processes.start(module, [sys.executable, "-m", module], settings)
    assert process.wait() == 2
    (line,) = [line for line in process.stderr.splitlines() if "TRACE_FILE" in line]
    assert line.endswith(f"TOKENWIRE_TRACE_FILE={file}: No such file or directory")
    assert "Traceback" not in process.stderr


def test_a_killed_core_leaves_a_trace_of_the_loss(processes: Processes, tmp_path: Path) -> None:
    """The next core tells the trace of the loss; the edge, in one span, how often it tried to go on."""
    file = tmp_path / "traces.jsonl"
    settings = {
        "TOKENWIRE_TRACE_FILE": str(file),
        "TOKENWIRE_STORE": f"sqlite:{tmp_path / 'runs.db'}",
    }
    address, core = processes.core(agents=("slow",), settings=settings)
    url, _ = processes.edge(address, settings=settings)
    body = {"message": "hi", "sessionId": "s", "agent": "slow"}
    with httpx.stream("POST", f"{url}/api/chat", json=body, timeout=60, trust_env=False) as response:
        text = ""
        for part in response.iter_text():
            text += part
            if "text_delta" in text and core.is_running():
                core.send(signal.SIGKILL)
                core.wait()
                processes.start_core(int(address.rpartition(":")[2]), agents=("slow",), settings=settings)
    started, error = events_of(text)[0], events_of(text)[-1]
    assert (error["type"], error["details"]["reason"]) == ("error", "PRODUCER_LOST")
    assert error["traceId"] == started["traceparent"].split("-")[1]
    processes.running[-1].stop()
    for process in processes.running[1:]:
        process.stop()

    trace_id = bytes.fromhex(error["traceId"])
    spans = [span for span in spans_in(file) if span.trace_id == trace_id]
    (lost,) = [span for span in spans if span.name == "run lost"]
    told = attributes_of(lost.attributes)
    assert lost.parent_span_id == bytes.fromhex(started["traceparent"].split("-")[2])
    assert (told["tokenwire.run.id"], told["error.type"]) == (started["runId"], "PRODUCER_LOST")
    assert told["tokenwire.run.events"] == int(error_sequence(text)) - 1
    assert lost.status.code == Status.STATUS_CODE_ERROR
    assert lost.start_time_unix_nano < lost.end_time_unix_nano

    (reconnect,) = [span for span in spans if span.name == "reconnect"]
    assert attributes_of(reconnect.attributes)["tokenwire.reconnect.attempts"] > 1
    assert reconnect.status.code == Status.STATUS_CODE_UNSET
    calls = [span for span in spans if span.kind == Span.SPAN_KIND_CLIENT and span is not reconnect]
    assert sorted((call.name, call.status.code) for call in calls) == [
        (FOLLOW_RUN, Status.STATUS_CODE_UNSET),
        (STREAM_RUN, Status.STATUS_CODE_ERROR),
    ]
    log = processes.running[-1].stderr
    assert f"run {started['runId']} failed: its core was lost (trace {error['traceId']})" in log


def error_sequence(text: str) -> str:
    """Return the number of the last event that has an id."""
    return [line for line in text.splitlines() if line.startswith("id: ")][-1].rpartition(".")[2]
