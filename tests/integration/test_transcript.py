"""A session's turns, as a core tells them: what was said, what was answered, page by page."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from itertools import chain
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from agent_core.agents.pace import pace_text
from tests.support.agents import SCRIPTED_TEXT
from tests.support.core import Core, refusal_of, running_core
from tests.support.owners import store_settings
from tests.support.stores import STORE_PARAMETERS
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.run_pb2 import RUN_STATE_ENDED, RUN_STATE_RUNNING

BOUNDED_S: Final = 30.0
KIB: Final = 1024
SCRIPTED: Final = ("scripted", "slow", "echo", "raises_after")
AGENTS: Final = " ".join([*(f"{name}=tests.support.agents:{name}" for name in SCRIPTED), "pace"])
NEWEST: Final = pb.TRANSCRIPT_ORDER_NEWEST_FIRST
LARGE: Final = {"log_run_bytes": 16 * KIB * KIB}


@pytest.fixture(params=STORE_PARAMETERS)
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """The settings of a core with each store."""
    return store_settings(request.param, tmp_path) | {"principal_key": "", "agent": AGENTS}


async def ask(core: Core, agent: str, message: str, session_id: str = "s") -> str:
    """Ask in a session, and return the run's id once it has ended."""
    run_id = await core.start(agent, message, session_id=session_id)
    await core.follow(run_id)
    return run_id


async def until_text(core: Core, run_id: str) -> str:
    """Follow a run until it has said something, and return that."""
    call = core.stub.FollowRun(pb.FollowRunRequest(run_id=run_id), timeout=BOUNDED_S)
    text = ""
    try:
        while not text:
            text = "".join(event.text_delta.content for event in (await call.read()).events)
    finally:
        call.cancel()
    return text


async def pages(core: Core, **query: Any) -> AsyncIterator[pb.GetTranscriptResponse]:
    """Yield the pages of a session's transcript."""
    request = pb.GetTranscriptRequest(**{"session_id": "s", **query})
    while True:
        page = await core.stub.GetTranscript(request, timeout=BOUNDED_S)
        yield page
        request.page_token = page.next_page_token
        if not request.page_token:
            return


async def turns(core: Core, **query: Any) -> list[pb.Turn]:
    """Return all turns of a session."""
    return list(chain.from_iterable([page.turns async for page in pages(core, **query)]))


def text_of(turn: pb.Turn) -> str | None:
    """Return a turn's text; None where it has none."""
    return turn.text if turn.HasField("text") else None


async def test_a_session_is_told_turn_by_turn(settings: dict[str, Any]) -> None:
    """What ended has its whole text, what failed or was cancelled the text so far, what goes on none."""
    async with running_core(**settings) as core:
        ids = [await ask(core, "scripted", "Fruit?"), await ask(core, "raises_after", "And now?")]
        ids.append(await core.start("slow", "Count.", session_id="s"))
        await until_text(core, ids[2])
        await core.stub.CancelRun(pb.CancelRunRequest(run_id=ids[2]))
        await core.follow(ids[2])
        ids.append(await core.start("slow", "Again.", session_id="s"))
        told = await turns(core)
        assert [turn.run.run_id for turn in told] == ids
        assert [turn.run.message for turn in told] == ["Fruit?", "And now?", "Count.", "Again."]
        assert [turn.run.state for turn in told] == [RUN_STATE_ENDED] * 3 + [RUN_STATE_RUNNING]
        assert [turn.run.outcome.reason for turn in told] == ["stop", "INTERNAL", "cancelled", ""]
        assert [text_of(turn) for turn in told[:2]] == [SCRIPTED_TEXT, "Well"]
        assert told[2].text.startswith("Slow")
        assert text_of(told[3]) is None
        for turn in told[:3]:
            state = await core.stub.GetRun(pb.GetRunRequest(run_id=turn.run.run_id, include_message=True))
            assert state.run == turn.run
        assert (await core.run(ids[0])).message == ""
        await core.stub.CancelRun(pb.CancelRunRequest(run_id=ids[3]))


async def test_turns_come_in_either_order_and_by_pages(settings: dict[str, Any]) -> None:
    """Each exactly once, whatever the page's size; a session that is not known has none."""
    async with running_core(**settings) as core:
        ids = [await ask(core, "echo", f"question {number}") for number in range(5)]
        for size in (1, 2, 5, 100):
            assert [turn.run.run_id for turn in await turns(core, page_size=size)] == ids
            newest = await turns(core, page_size=size, order=NEWEST)
            assert [turn.run.run_id for turn in newest] == ids[::-1]
        assert [len(page.turns) async for page in pages(core, page_size=2)] == [2, 2, 1]
        assert await core.stub.GetTranscript(pb.GetTranscriptRequest(session_id="other")) == (
            pb.GetTranscriptResponse()
        )


async def test_a_text_that_done_does_not_repeat_is_joined_from_its_deltas(settings: dict[str, Any]) -> None:
    """Beyond 256 KiB, up to 1 MiB; what is longer has to be followed."""
    orders = [
        {"tokens": 900, "size": 300},
        {"tokens": 16, "size": 64 * KIB},
        {"tokens": 17, "size": 64 * KIB},
    ]
    async with running_core(**settings | LARGE) as core:
        for order in orders:
            await ask(core, "pace", json.dumps(order))
        told = await turns(core)
        assert [turn.run.outcome.reason for turn in told] == ["stop"] * 3
        assert text_of(told[0]) == pace_text(900, 300)
        assert text_of(told[1]) == pace_text(16, 64 * KIB)
        assert text_of(told[2]) is None


async def test_a_text_whose_beginning_is_gone_is_told_only_by_done(settings: dict[str, Any]) -> None:
    """Never a part as if it were the whole."""
    async with running_core(**settings | {"log_run_bytes": 64 * KIB, "log_total_bytes": 256 * KIB}) as core:
        short, long = {"tokens": 200, "size": 1_000}, {"tokens": 300, "size": 1_000}
        for order in (short, long):
            await ask(core, "pace", json.dumps(order))
        told = await turns(core)
        assert all(turn.run.first.sequence > 1 for turn in told if turn.run.outcome.reason == "stop")
        assert text_of(told[-1]) is None
        if len(told) > 1:  # The log may have no room for both.
            assert text_of(told[0]) == pace_text(200, 1_000)


async def test_no_page_is_larger_than_any_client_takes(settings: dict[str, Any]) -> None:
    """The longest messages and texts: fewer turns a page than asked for, none left out, none twice."""
    message = json.dumps({"tokens": 16, "size": 64 * KIB})
    long = message + " " * (1_048_576 - len(message))
    limits = {"max_message_bytes": 1_048_576, "log_total_bytes": 256 * KIB * KIB}
    async with running_core(**settings | LARGE | limits) as core:
        ids = [await ask(core, "pace", said) for said in (long, message, message, message, long, message)]
        for order in (pb.TRANSCRIPT_ORDER_OLDEST_FIRST, NEWEST):
            got = [page async for page in pages(core, page_size=100, order=order)]
            assert all(page.ByteSize() <= 3 * KIB * KIB for page in got)
            assert all(page.turns for page in got)
            assert 3 <= len(got) <= 6
            told = [turn.run.run_id for page in got for turn in page.turns]
            assert told == (ids if order != NEWEST else ids[::-1])
            assert {text_of(turn) for page in got for turn in page.turns} == {pace_text(16, 64 * KIB)}


async def test_a_killed_core_forgets_nothing_that_was_said(tmp_path: Path) -> None:
    """On the file as kill -9 leaves it: the run that went on is closed, with the text that was in the log."""
    found = tmp_path / "found"
    found.mkdir()
    async with running_core(store=f"sqlite:{tmp_path / 'runs.db'}", agent=AGENTS) as core:
        await ask(core, "echo", "hello")
        run_id = await core.start("slow", "Count.", session_id="s")
        seen = await until_text(core, run_id)
        for name in ("runs.db", "runs.db-wal"):
            shutil.copy(tmp_path / name, found)
    async with running_core(store=f"sqlite:{found / 'runs.db'}", agent=AGENTS) as core:
        await core.follow(run_id)  # until it is closed
        told = await turns(core)
        assert [turn.run.message for turn in told] == ["hello", "Count."]
        assert [turn.run.outcome.reason for turn in told] == ["stop", "UNAVAILABLE"]
        assert text_of(told[0]) == "hello "
        assert told[1].text.startswith(seen)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.GetTranscriptRequest(), "session_id"),
        (pb.GetTranscriptRequest(session_id="no spaces"), "session_id"),
        (pb.GetTranscriptRequest(session_id="s", page_size=101), "page_size"),
        (pb.GetTranscriptRequest(session_id="s", page_token="x"), "page_token"),  # noqa: S106 # no password
        (pb.GetTranscriptRequest(session_id="s", page_token=f"{2**63}.{'a' * 30}"), "page_token"),
        (pb.GetTranscriptRequest(session_id="s", order=9), "order"),
    ],
)
async def test_a_wrong_question_is_refused(request_: pb.GetTranscriptRequest, field: str) -> None:
    """With the field's name."""
    async with running_core() as core:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await core.stub.GetTranscript(request_)
        refusal = refusal_of(caught.value)
        assert refusal.code == "INVALID_ARGUMENT"
        assert [violation.field for violation in refusal.bad_request.field_violations] == [field]


async def test_many_who_ask_at_once_are_all_answered(settings: dict[str, Any]) -> None:
    """Pages are made a few at a time."""
    async with running_core(**settings) as core:
        run_id = await ask(core, "echo", "hello")
        told = await asyncio.gather(*(turns(core) for _ in range(50)))
        assert all([turn.run.run_id for turn in one] == [run_id] for one in told)
