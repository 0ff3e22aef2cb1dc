from typing import Any

import pytest
from google.protobuf import json_format

from tests.conformance.corpus import Case, load_cases
from tokenwire.cli.doors import Received
from tokenwire.cli.translate import cursor_of, received, received_control
from tokenwire.v1 import agent_service_pb2, event_pb2, stream_pb2
from tokenwire.v1.run_pb2 import Cursor

RUN_ID = "k7q25wq3c8h1x0v6m9t4z2b7n5r3ya"


def responses(case: Case) -> list[agent_service_pb2.FollowRunResponse]:
    return [
        json_format.ParseDict(step["response"], agent_service_pb2.FollowRunResponse())
        for step in case.steps
        if isinstance(step, dict) and "response" in step
    ]


def is_plain(case: Case) -> bool:
    """Whether each event becomes just one frame, and all frames come from the core."""
    events = [event for response in responses(case) for event in response.events]
    wanted = [item for item in case.client if item["event"] == "message"]
    return case.after == 0 and len(events) == len(wanted) and all(item.get("id") for item in wanted)


PLAIN = [case for case in load_cases() if is_plain(case)]


@pytest.mark.parametrize("case", PLAIN, ids=lambda case: case.name)
def test_an_event_reads_as_the_browser_reads_it(case: Case) -> None:
    """Whichever door `ask` goes through, --json prints the same."""
    read = [received(event, case.run_id) for response in responses(case) for event in response.events]
    seen = [{"id": item.id, "data": {"type": item.type, **item.fields}} for item in read]
    wanted = [{"id": item["id"], "data": item["data"]} for item in case.client if item["event"] == "message"]
    assert seen == wanted


def test_the_corpus_holds_every_event_that_is_compared() -> None:
    """A corpus that lost a case, or a new event, would leave the comparison with a hole."""
    declared = {field.name for field in event_pb2.Event.DESCRIPTOR.oneofs_by_name["payload"].fields}
    kinds = {item["data"]["type"] for case in PLAIN for item in case.client if item["event"] == "message"}
    assert kinds == declared


def test_an_unknown_payload_is_passed_over() -> None:
    """A newer core may say what this reader does not know: it keeps its place in the run's order."""
    assert received(event_pb2.Event(sequence=1), RUN_ID) == Received(f"{RUN_ID}.1.1", "", {})


@pytest.mark.parametrize(
    ("control", "kind", "fields"),
    [
        (
            stream_pb2.Control(caught_up=stream_pb2.CaughtUp(cursor=Cursor(sequence=3))),
            "caught_up",
            {"cursor": f"{RUN_ID}.1.3"},
        ),
        (
            stream_pb2.Control(
                resync=stream_pb2.Resync(
                    first=Cursor(epoch=1, sequence=9), last=Cursor(epoch=2, sequence=12), reason="trimmed"
                )
            ),
            "resync",
            {"first": f"{RUN_ID}.1.9", "last": f"{RUN_ID}.2.12", "reason": "trimmed"},
        ),
        (
            stream_pb2.Control(degraded=stream_pb2.Degraded(message="log away")),
            "degraded",
            {"message": "log away"},
        ),
        (stream_pb2.Control(draining=stream_pb2.Draining(retry_ms=5)), "draining", {"retryMs": 5}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_control_is_no_event(control: stream_pb2.Control, kind: str, fields: dict[str, Any]) -> None:
    """What is said between events has no id and ends nothing."""
    item = received_control(control, RUN_ID)
    assert item == Received("", kind, fields, is_control=True)
    assert not item.is_terminal


def test_an_unknown_control_is_passed_over() -> None:
    """A newer core may say what this reader does not know: it keeps its place in the run's order."""
    assert received_control(stream_pb2.Control(), RUN_ID) is None


def test_an_id_names_the_cursor_to_follow_from() -> None:
    """No id at all begins with the first event."""
    assert cursor_of(f"{RUN_ID}.2.17") == Cursor(epoch=2, sequence=17)
    assert cursor_of("") is None
