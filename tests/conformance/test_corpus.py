"""The wire core writes every case's bytes, and a foreign parser reads them back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import json_format
from httpx import Response
from httpx_sse import EventSource, ServerSentEvent

from edge.sse.dialects import NativeDialect
from tests.conformance.corpus import Case, load_cases, written
from tokenwire.v1 import agent_service_pb2, event_pb2, stream_pb2

CASES = load_cases()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_wire_core_writes_exactly_these_bytes(case: Case) -> None:
    """A byte that changes here changes for every client there is."""
    assert written(case, NativeDialect()) == case.frames


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_httpx_sse_reads_what_a_client_must_see(case: Case) -> None:
    """A parser that is not ours gets the events, the ids and the JSON that the case promises."""
    source = EventSource(Response(200, headers={"content-type": "text/event-stream"}, content=case.frames))
    assert [_as_seen(sse) for sse in source.iter_sse()] == [
        _with_sticky_id(case, i) for i in range(len(case.client))
    ]


def _as_seen(sse: ServerSentEvent) -> dict[str, Any]:
    return {"event": sse.event, "id": sse.id or None, "data": json.loads(sse.data)}


def _with_sticky_id(case: Case, index: int) -> dict[str, Any]:
    """Return an expected event with the last id so far: parsers keep it over frames that have none."""
    ids = [event["id"] for event in case.client[: index + 1] if event["id"]]
    return {**case.client[index], "id": ids[-1] if ids else None}


def test_the_corpus_holds_every_event_and_every_control_of_the_contract() -> None:
    """A new member of either oneof fails here until it has a case."""
    responses = [
        json_format.ParseDict(step["response"], agent_service_pb2.StreamRunResponse())
        for case in CASES
        for step in case.steps
        if isinstance(step, dict) and "response" in step
    ]
    payloads = {event.WhichOneof("payload") for response in responses for event in response.events}
    controls = {response.control.WhichOneof("control") for response in responses}
    assert payloads - {None} == _members(event_pb2.Event.DESCRIPTOR, "payload")
    assert controls - {None} == _members(stream_pb2.Control.DESCRIPTOR, "control")


def _members(descriptor: Any, oneof: str) -> set[str]:
    return {field.name for field in descriptor.oneofs_by_name[oneof].fields}
