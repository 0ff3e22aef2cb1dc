"""The JSON contract's Structs."""

from __future__ import annotations

import typing

import msgspec

from tokenwire import events
from tokenwire.v1 import event_pb2


def test_every_payload_of_the_contract_has_a_struct() -> None:
    """A new member of the oneof fails here until browsers can be told of it."""
    declared = {field.name for field in event_pb2.Event.DESCRIPTOR.oneofs_by_name["payload"].fields}
    assert {struct.__struct_config__.tag for struct in typing.get_args(events.StreamEvent)} == declared


def test_an_event_is_read_back_by_its_type() -> None:
    """The tag alone tells a reader which event it is."""
    event = events.Done(timestamp=1.5, final_message="x", finish_reason="stop")
    decoded = msgspec.json.decode(msgspec.json.encode(event), type=events.StreamEvent)
    assert decoded == event


def test_keys_are_camel_case_and_type_comes_first() -> None:
    """The names are the browser's, and a person reading a frame sees the type at once."""
    event = events.ToolResult(
        timestamp=1.0, call_id="c", tool="t", result=msgspec.Raw(b"[1]"), is_error=False
    )
    assert (
        msgspec.json.encode(event)
        == b'{"type":"tool_result","timestamp":1.0,"callId":"c","tool":"t","result":[1],"isError":false}'
    )
