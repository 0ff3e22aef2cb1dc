"""Tool calls, put together by what identifies them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_core.agents.endpoint.stream import tool_calls
from agent_core.agents.endpoint.stream.tool_calls import ToolCallAssembler
from agent_core.agents.model_failures import ModelCallError
from agent_core.agents.split_characters import CharacterJoiner

ARGUMENTS = st.dictionaries(
    st.text(st.sampled_from('a"\\{}[] é😀'), min_size=1, max_size=4),
    st.one_of(st.text(st.sampled_from('b"\\{}[],: ü😀\n'), max_size=8), st.integers(), st.lists(st.none())),
    min_size=1,
    max_size=3,
)
IDS = ((0, "a"), (1, "a"), (2, "a-2"), (3, "a"), (4, "a-4"))
CALLS = st.lists(st.tuples(st.sampled_from(["add", "look_up"]), ARGUMENTS), min_size=1, max_size=4)


@dataclass
class Put:
    """A call as Pydantic AI puts it together: by index."""

    ids: set[str | None] = field(default_factory=set)
    name: str = ""
    arguments: str = ""


def put_together(chunks: list[Any]) -> list[Put]:
    """Return the calls of chunks' `tool_calls`."""
    assembler, calls = ToolCallAssembler(), dict[int, Put]()
    for delta in [delta for chunk in chunks for delta in assembler.feed(chunk)] + assembler.flush():
        call = calls.setdefault(delta["index"], Put())
        call.ids.add(delta["id"])
        call.name += delta["function"]["name"] or ""
        call.arguments += delta["function"]["arguments"] or ""
    assert assembler.called is bool(calls)
    return list(calls.values())


def cut(text: str, data: st.DataObject) -> list[str]:
    """Return a text cut at some places, maybe with empty pieces."""
    cuts = [0, *sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5))), len(text)]
    return [text[a:b] for a, b in pairwise(cuts)]


@given(
    CALLS,
    st.sampled_from(["always", "first", "never"]),
    st.sampled_from(["own", "zero", "none"]),
    st.booleans(),
    st.booleans(),
    st.data(),
)
def test_calls_come_whole_whatever_identifies_them(
    given_calls: list[tuple[str, dict[str, Any]]],
    ids: str,
    indices: str,
    names_repeat: bool,
    interleaved: bool,
    data: st.DataObject,
) -> None:
    """With ids always, once or never; own indices, all 0, or none; names repeated or not; cut; in turns.

    In turns only where an id or an index in each delta tells which call it is.
    """
    if ids == "never" and indices != "own":
        # Nothing but what they say tells these apart: two equal calls are one that was repeated.
        given_calls = [call for at, call in enumerate(given_calls) if call not in given_calls[:at]]
    streams = []
    for at, (name, arguments) in enumerate(given_calls):
        deltas = []
        for number, piece in enumerate(cut(json.dumps(arguments, ensure_ascii=False), data)):
            delta: dict[str, Any] = {"function": {"arguments": piece}}
            if number == 0 or names_repeat:
                delta["function"]["name"] = name
            if ids == "always" or (ids == "first" and number == 0):
                delta["id"] = f"call_{at}"
            if indices != "none":
                delta["index"] = at if indices == "own" else 0
            deltas.append(delta)
        streams.append(deltas)
    chunks = [delta for stream in streams for delta in stream]
    if interleaved and (ids == "always" or indices == "own"):
        order = data.draw(st.permutations([at for at, stream in enumerate(streams) for _ in stream]))
        first = [streams[at].pop(0) for at in range(len(streams))]
        chunks = first + [streams[at].pop(0) for at in order if streams[at]]
        chunks += [delta for stream in streams for delta in stream]
    put = put_together([[chunk] for chunk in chunks])
    assert [(call.name, json.loads(call.arguments)) for call in put] == given_calls
    if ids != "never":
        assert [call.ids - {None} for call in put] == [{f"call_{at}"} for at in range(len(put))]


@given(CALLS)
def test_calls_may_come_in_one_chunk(given_calls: list[tuple[str, dict[str, Any]]]) -> None:
    """A whole list, with ids and without an index, arguments as objects: also equal calls are apart."""
    chunk = [
        {"id": f"c{at}", "function": {"name": name, "arguments": arguments}}
        for at, (name, arguments) in enumerate(given_calls)
    ]
    assert [(call.name, json.loads(call.arguments)) for call in put_together([chunk])] == given_calls


def test_ids_of_an_answer_are_never_equal() -> None:
    """Two calls under one id get two: the results could not be told apart."""
    deltas = [
        {"index": at, "id": "x", "function": {"name": "f", "arguments": f'{{"a":{at}}}'}} for at in (0, 1)
    ]
    assert [call.ids for call in put_together([[delta] for delta in deltas])] == [{"x"}, {"x-2"}]


def test_a_long_call_is_looked_at_once() -> None:
    """Each character, however often a delta repeats id and name: 100,000 deltas take a second or so."""
    assembler = ToolCallAssembler()
    delta = {"index": 0, "function": {"name": "f", "arguments": '{"'}}
    assembler.feed(delta)
    delta["function"] = {"name": "f", "arguments": "{x} "}
    for _ in range(100_000):
        assembler.feed(delta)
    (call,) = assembler._calls
    assert call.length == 400_002


def test_an_id_made_for_a_call_is_no_other_calls() -> None:
    """Not even where the endpoint tells just the id that was made."""
    functions = [{"name": f"call_{index}", "arguments": '{"a": 1}'} for index, _ in IDS]
    calls = [{"index": index, "id": name, "function": functions[index]} for index, name in IDS]
    ids = [call.ids for call in put_together([calls])]
    assert len(ids) == len(set().union(*ids)) == len(IDS)


@pytest.mark.parametrize("field", ["id", "name", "arguments"])
def test_calls_without_an_end_are_refused(monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    """Whatever of them has none; what is only repeated does not count."""
    monkeypatch.setattr(tool_calls, "MAX_CHARACTERS", 1000)
    again = ToolCallAssembler()
    for _ in range(100):
        again.feed([{"index": 0, "id": "i" * 100, "function": {"name": "n" * 100, "arguments": "{}"}}])
    assembler = ToolCallAssembler()
    given = {"id": "i", "name": "n", "arguments": '{"a": 1}'}

    def feed(index: int) -> None:
        values = {**given, field: f"{index:0100}"}
        assembler.feed([{"index": index, "id": values.pop("id"), "function": values}])

    for index in range(8):
        feed(index)
    with pytest.raises(ModelCallError):
        [feed(index) for index in range(8, 12)]


def test_a_flush_looks_only_at_calls_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some endpoints tell a finish reason in each chunk: all calls anew each time would be quadratic."""
    flushed: list[CharacterJoiner] = []
    flush = CharacterJoiner.flush

    def counted(joiner: CharacterJoiner) -> str:
        flushed.append(joiner)
        return flush(joiner)

    monkeypatch.setattr(CharacterJoiner, "flush", counted)
    assembler = ToolCallAssembler()
    for index in range(100):
        arguments = '{"a": "\ud83d' if index == 50 else "{}"
        assembler.feed(
            [{"index": index, "id": f"{index}", "function": {"name": "f", "arguments": arguments}}]
        )
        assembler.flush()
    assert len(flushed) == 1
