"""Phoenix is scripted here: tests.support.scripted_phoenix says how."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.otlp_lines import MS, START_NS, Made, Plant, make_follow, make_stream
from tests.support.scripted_phoenix import ScriptedPhoenix, running_phoenix
from tokenwire.traces.errors import AmbiguousError, UnreachableError
from tokenwire.traces.phoenix import Phoenix
from tokenwire.traces.source import Found, choose
from tokenwire.traces.streams import assemble


@pytest.fixture(scope="module")
def run() -> Made:
    return make_stream(300, [Plant(200, "model", 900)], name="run")


@pytest.fixture(scope="module")
def follow(run: Made) -> Made:
    return make_follow(run, 150, 20, start_ns=run.stamps["write"][170] - 5 * MS)


@pytest.fixture
def server(run: Made, follow: Made) -> Iterator[ScriptedPhoenix]:
    with running_phoenix(ScriptedPhoenix(run, follow)) as phoenix:
        yield phoenix


def find(server: ScriptedPhoenix, wanted: str) -> Found:
    source = Phoenix(server.url)
    return source.trace(choose(wanted, source.candidates(wanted)))


def test_a_trace_is_found_and_has_each_rows_stamps(server: ScriptedPhoenix, run: Made) -> None:
    """By its id, whole or shortened, or by the run's; pages are put together."""
    server.page_limit = 4
    for wanted in (run.id, run.id[:9].upper(), run.run_id):
        trace = assemble(find(server, wanted))
        assert trace.trace_id == run.id
        (stream,) = trace.streams
        for stage in ("model", "write"):
            stamps = [row.stamps[stage] for row in stream.rows]  # type: ignore[index]
            assert all(abs(a - b) < 2_000 for a, b in zip(run.stamps[stage], stamps, strict=True))
        assert [(stall.sequence, stall.hop) for stall in stream.stalls] == [(200, "model")]


def test_the_other_streams_of_the_run_are_listed(server: ScriptedPhoenix, run: Made, follow: Made) -> None:
    """By the run id, since Phoenix keeps no links."""
    assert [head.trace_id for head in find(server, run.id).others] == [follow.id]
    assert [head.trace_id for head in find(server, follow.id).others] == [run.id]


def test_the_newest_streams_are_listed(server: ScriptedPhoenix, run: Made, follow: Made) -> None:
    """Roots that are streams, those first that began last."""
    assert [head.trace_id for head in Phoenix(server.url).newest(5)] == [follow.id, run.id]
    assert [head.trace_id for head in Phoenix(server.url).newest(1)] == [follow.id]


def test_an_ambiguous_id_asks_for_no_spans() -> None:
    """There may be thousands of traces that begin so."""
    streams = [make_stream(2, name=str(i), start_ns=START_NS) for i in range(40)]
    first = streams[0].id[0]
    with running_phoenix(ScriptedPhoenix(*streams)) as phoenix:
        with pytest.raises(AmbiguousError):
            find(phoenix, first)
        assert [target.split("?")[0].rsplit("/", 1)[1] for target in phoenix.asked] == ["spans", "traces"]


def test_a_run_id_that_looks_like_a_number_is_looked_for_as_text(server: ScriptedPhoenix) -> None:
    """Phoenix would compare 123 with numbers otherwise."""
    Phoenix(server.url).candidates("123")
    assert "attribute=tokenwire.run.id%3A%22123%22" in server.asked[0]


def test_the_key_is_sent_where_there_is_one(server: ScriptedPhoenix, run: Made) -> None:
    """As a bearer token."""
    Phoenix(server.url).candidates(run.id)
    Phoenix(server.url, api_key="secret").candidates(run.id)
    assert server.keys[0] is None
    assert server.keys[-1] == "Bearer secret"


@pytest.mark.parametrize(
    ("status", "body", "complaint"),
    [
        (404, b"", "no project 'default' there"),
        (401, b"", "401 Unauthorized"),
        (200, b"<html>", "not the answer of a Phoenix server"),
        (200, b"[]", "no list of spans"),
        (200, b'{"data":[{"name":"x"}]}', "a span that is not Phoenix'"),
    ],
)
def test_any_other_answer_is_told(server: ScriptedPhoenix, status: int, body: bytes, complaint: str) -> None:
    """One line that names the server."""
    server.answer = lambda: (status, body)
    with pytest.raises(UnreachableError, match=complaint) as caught:
        Phoenix(server.url).candidates("abc")
    assert server.url in str(caught.value)


def test_a_server_that_is_not_there_is_told() -> None:
    """Nothing listens at the port of one that has gone."""
    with running_phoenix(ScriptedPhoenix()) as gone:
        url = gone.url
    with pytest.raises(UnreachableError, match=url):
        Phoenix(url).newest(1)
