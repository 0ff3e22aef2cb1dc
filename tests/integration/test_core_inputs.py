"""A run that asks a person, at a core."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from agent_core.errors import InvalidRequestError
from agent_core.rpc.validation import require_valid_input
from agent_core.runs.agent_thread import AgentThread
from agent_core.runs.inputs import MAX_OPEN
from tests.support.core import Core, Refusal, events_of, refusal_of, running_core
from tests.support.link_client import opened
from tests.support.owners import store_settings
from tests.support.redis_server import shared_redis
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1 import event_pb2
from tokenwire.v1.run_pb2 import RUN_STATE_ENDED, RUN_STATE_WAITING, RunSpec

ASKING = ("asks", "asks_together", "asks_in_thread", "asks_in_own_loop", "gives_up")
AGENTS = " ".join(f"{name}=tests.support.asking_agents:{name}" for name in ASKING)


TWO = '[{"prompt": "Delete 3 rows?"}, {"prompt": "Really?"}]'


class Asking:
    """A run that is followed from its start."""

    def __init__(self, core: Core, call: Any) -> None:
        self.core, self.call = core, call
        self.run_id = ""
        self.events: list[event_pb2.Event] = []
        self._waiting: list[event_pb2.Event] = []

    async def next(self, payload: str) -> Any:
        """Return the next payload of a kind."""
        while True:
            while self._waiting:
                event = self._waiting.pop(0)
                self.events.append(event)
                if event.WhichOneof("payload") == payload:
                    return getattr(event, payload)
            response = await self.call.read()
            assert response is not grpc.aio.EOF, f"no {payload}: {self.events}"
            self.run_id = response.run_id
            self._waiting += response.events

    async def send(self, input_id: str, **answer: Any) -> pb.SendInputResponse:
        """Answer a question."""
        request = pb.SendInputRequest(run_id=self.run_id, input_id=input_id, **answer)
        response: pb.SendInputResponse = await self.core.stub.SendInput(request)
        return response

    async def refused(self, input_id: str, **answer: Any) -> Refusal:
        """Return the refusal of an answer."""
        request = pb.SendInputRequest(run_id=self.run_id, input_id=input_id, **answer)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.core.stub.SendInput(request)
        return refusal_of(caught.value)


@asynccontextmanager
async def asking(core: Core, agent: str, message: str, **spec: object) -> AsyncIterator[Asking]:
    """Start a run, and follow it."""
    call = core.stub.StreamRun(pb.StreamRunRequest(run=RunSpec(agent=agent, message=message, **spec)))
    try:
        yield Asking(core, call)
    finally:
        call.cancel()


@asynccontextmanager
async def following(core: Core, run_id: str) -> AsyncIterator[Asking]:
    """Follow a run from its first event."""
    call = core.stub.FollowRun(pb.FollowRunRequest(run_id=run_id))
    try:
        yield Asking(core, call)
    finally:
        call.cancel()


@pytest.mark.parametrize("agent", ["asks", "asks_in_thread", "asks_in_own_loop"])
async def test_an_agent_gets_what_a_person_answers(agent: str) -> None:
    """Once, whoever asks twice; and its run waits meanwhile."""
    async with running_core(agent=AGENTS) as core, asking(core, agent, TWO) as run:
        asked = await run.next("input_requested")
        assert (asked.input_id, asked.kind, asked.prompt) == (
            "1",
            event_pb2.INPUT_KIND_APPROVAL,
            "Delete 3 rows?",
        )
        assert (await core.run(run.run_id)).state == RUN_STATE_WAITING
        wrong = await run.refused("1", value_json='"yes"')
        assert wrong.code == "INVALID_ARGUMENT"
        assert (await run.refused("2", value_json="true")).info.reason == "INPUT_UNKNOWN"
        answer = await run.send("1", value_json="true")
        assert answer == pb.SendInputResponse(input_id="1", outcome=event_pb2.INPUT_OUTCOME_ANSWERED)
        again = await run.refused("1", decline=True)
        assert (again.code, again.info.reason) == ("FAILED_PRECONDITION", "INPUT_CLOSED")
        assert again.info.metadata["outcome"] == "answered"
        assert (await run.next("input_received")).outcome == event_pb2.INPUT_OUTCOME_ANSWERED
        assert (await run.next("input_requested")).input_id == "2"
        await run.send("2", value_json="false")
        assert "true" in (await run.next("done")).final_message
        assert (await core.run(run.run_id)).state == RUN_STATE_ENDED
        assert (await run.refused("1", value_json="true")).info.reason == "INPUT_CLOSED"


@pytest.mark.parametrize(
    "store", ["memory", "sqlite", pytest.param("redis", marks=pytest.mark.needs("redis"))]
)
async def test_a_question_waits_for_those_who_come_later(store: str, tmp_path: Path) -> None:
    """Over every store: after a reload they read it, answer it, and read what became of it."""
    settings = store_settings(store, tmp_path) | {"principal_key": ""}
    async with running_core(agent=AGENTS, **settings) as core:
        run_id = await core.start("asks", "Delete 3 rows?", session_id="s")
        async with following(core, run_id) as first:
            await first.next("input_requested")
        listed = await core.stub.ListRuns(pb.ListRunsRequest(session_id="s"))
        assert [run.state for run in listed.runs] == [RUN_STATE_WAITING]
        said = await core.stub.GetTranscript(pb.GetTranscriptRequest(session_id="s"))
        assert [turn.run.state for turn in said.turns] == [RUN_STATE_WAITING]
        async with following(core, run_id) as again:
            assert (await again.next("input_requested")).prompt == "Delete 3 rows?"
            assert (await again.send("1", decline=True)).outcome == event_pb2.INPUT_OUTCOME_DECLINED
            assert (await again.next("input_received")).outcome == event_pb2.INPUT_OUTCOME_DECLINED
            assert "null" in (await again.next("done")).final_message
        numbers = [event.sequence for event in events_of(await core.follow(run_id))]
        assert numbers == list(range(1, len(numbers) + 1))


async def test_of_two_who_answer_at_once_one_decides() -> None:
    """The other is refused, and the agent gets what the first has sent."""
    async with running_core(agent=AGENTS) as core, asking(core, "asks", TWO) as run:
        await run.next("input_requested")
        sent = await asyncio.gather(
            *(run.send("1", value_json=value) for value in ("true", "false", "true")), return_exceptions=True
        )
        answered = [
            index for index, response in enumerate(sent) if isinstance(response, pb.SendInputResponse)
        ]
        assert len(answered) == 1
        refused = [refusal_of(error) for error in sent if isinstance(error, grpc.aio.AioRpcError)]
        assert [refusal.info.reason for refusal in refused] == ["INPUT_CLOSED"] * 2
        await run.next("input_requested")
        await run.send("2", decline=True)
        value = ("true", "false", "true")[answered[0]]
        assert f"{value} null" in (await run.next("done")).final_message


async def test_an_answer_that_is_repeated_is_answered_the_same() -> None:
    """By its request id; another one is refused."""
    async with running_core(agent=AGENTS) as core, asking(core, "asks", TWO) as run:
        await run.next("input_requested")
        first = await run.send("1", value_json="true", request_id="a")
        assert await run.send("1", value_json="true", request_id="a") == first
        assert (await run.refused("1", value_json="true", request_id="b")).info.reason == "INPUT_CLOSED"
        assert (await run.refused("1", value_json="true")).info.reason == "INPUT_CLOSED"


async def test_an_answer_that_comes_as_its_question_expires_is_taken_or_refused() -> None:
    """Never both: what its sender is told, the events and the agent agree."""
    script = json.dumps([{"prompt": "Now?", "timeout_s": 0.1 + 0.004 * each} for each in range(12)])
    async with running_core(agent=AGENTS) as core, asking(core, "asks_together", script) as run:
        for _ in range(12):
            await run.next("input_requested")
        await asyncio.sleep(0.08)
        told: dict[str, int] = {}
        for number in range(1, 13):
            try:
                told[str(number)] = (await run.send(str(number), value_json="true")).outcome
            except grpc.aio.AioRpcError as error:
                refusal = refusal_of(error)
                assert (refusal.info.reason, refusal.info.metadata["outcome"]) == ("INPUT_CLOSED", "expired")
                told[str(number)] = event_pb2.INPUT_OUTCOME_EXPIRED
        text = (await run.next("done")).final_message
        received = [event.input_received for event in run.events if event.HasField("input_received")]
        assert {each.input_id: each.outcome for each in received} == told
        answered = sum(outcome == event_pb2.INPUT_OUTCOME_ANSWERED for outcome in told.values())
        assert (text.count("true"), text.count("expired")) == (answered, 12 - answered)


async def test_a_question_that_nobody_answers_ends_the_run() -> None:
    """With a reason of its own, after the event that closes the question."""
    script = json.dumps({"prompt": "Now?", "timeout_s": 0.05})
    async with running_core(agent=AGENTS) as core, asking(core, "asks", script) as run:
        assert (await run.next("input_received")).outcome == event_pb2.INPUT_OUTCOME_EXPIRED
        error = await run.next("error")
        assert (error.code, error.details["reason"]) == ("DEADLINE_EXCEEDED", "INPUT_EXPIRED")


async def test_the_core_limits_how_long_a_question_waits() -> None:
    """By its setting, whatever the agent asks for."""
    async with (
        running_core(agent=AGENTS, max_input_wait_s=0.05) as core,
        asking(core, "asks", "Now?") as run,
    ):
        asked = await run.next("input_requested")
        made = run.events[-1].create_time.ToNanoseconds()
        assert asked.expire_time.ToNanoseconds() - made == pytest.approx(0.05e9, abs=1e6)
        assert (await run.next("error")).details["reason"] == "INPUT_EXPIRED"


@pytest.mark.parametrize("agent", ["asks", "asks_in_thread", "asks_in_own_loop", "asks_together"])
async def test_stop_ends_a_run_that_waits(agent: str) -> None:
    """At once; nobody can answer it any more, and no event closes its question."""
    async with running_core(agent=AGENTS, stop_grace_s=30.0) as core, asking(core, agent, "Now?") as run:
        await run.next("input_requested")
        async with asyncio.timeout(10):
            await core.stub.CancelRun(pb.CancelRunRequest(run_id=run.run_id))
            assert (await run.next("done")).finish_reason == event_pb2.FINISH_REASON_CANCELLED
        assert not [event for event in run.events if event.HasField("input_received")]
        assert (await run.refused("1", value_json="true")).info.reason == "INPUT_CLOSED"
        assert await AgentThread.busy(10.0) == 0


async def test_a_core_that_goes_down_ends_a_run_that_waits() -> None:
    """As any other, when its time is over."""
    async with running_core(agent=AGENTS, drain_s=0.1) as core:
        async with asking(core, "asks", "Now?") as run:
            await run.next("input_requested")
            stopping = asyncio.create_task(core.server.stop())
            assert (await run.next("error")).details["reason"] == "CORE_SHUTDOWN"
        await stopping


async def test_a_run_that_waits_need_not_be_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its grace time stands still."""
    monkeypatch.setattr("agent_core.runs.presence.RETURN_S", 0.05)
    async with running_core(agent=AGENTS, disconnect_grace_s=0.05) as core:
        run_id = await core.start("asks", "Now?")
        await asyncio.sleep(0.3)
        assert (await core.run(run_id)).state == RUN_STATE_WAITING
        await core.stub.SendInput(pb.SendInputRequest(run_id=run_id, input_id="1", value_json="true"))
        events = events_of(await core.follow(run_id))
        assert events[-1].done.finish_reason == event_pb2.FINISH_REASON_STOP


async def test_the_time_that_a_run_waits_does_not_count_against_its_limit() -> None:
    """Only what comes after does."""
    limit = Duration(nanos=300_000_000)
    async with running_core(agent=AGENTS) as core, asking(core, "asks", "Now?", timeout=limit) as run:
        await run.next("input_requested")
        await asyncio.sleep(0.5)
        await run.send("1", value_json="true")
        left_s = float((await run.next("done")).final_message.rpartition("left ")[2])
        assert 0 < left_s <= 0.3


async def test_the_deadline_of_the_call_counts_while_its_run_waits() -> None:
    """Its caller waits no longer, whatever the run does."""
    async with running_core(agent=AGENTS) as core:
        call = core.stub.StreamRun(
            pb.StreamRunRequest(run=RunSpec(agent="asks", message="Now?")), timeout=0.4
        )
        run = Asking(core, call)
        await run.next("input_requested")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await run.next("done")
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert events_of(await core.follow(run.run_id))[-1].error.details["reason"] == "RUN_TIMEOUT"


async def test_a_question_that_the_agent_gives_up_is_closed() -> None:
    """For those who read it; the run goes on."""
    async with running_core(agent=AGENTS) as core, asking(core, "gives_up", "Now?") as run:
        assert (await run.next("input_received")).outcome == event_pb2.INPUT_OUTCOME_EXPIRED
        assert (await run.next("done")).final_message == "gave up"


async def test_a_run_asks_no_more_at_once_than_a_person_can_keep_apart() -> None:
    """The agent is told so, as by a bug of its own."""
    script = json.dumps([{"prompt": "Now?"}] * (MAX_OPEN + 1))
    async with running_core(agent=AGENTS) as core, asking(core, "asks_together", script) as run:
        assert (await run.next("error")).details["reason"] == "AGENT_FAILED"


async def test_a_run_over_a_link_asks_as_any_other() -> None:
    """The question and how it was closed come as its events."""
    async with running_core(agent=AGENTS) as core, opened(core.stub.Link()) as link:
        await link.hello()
        await link.start(1, "asks", "Now?")
        await link.until(lambda: any(event.HasField("input_requested") for event in link.events(1)))
        request = pb.SendInputRequest(run_id=link.run_id(1), input_id="1", value_json="true")
        assert (await core.stub.SendInput(request)).outcome == event_pb2.INPUT_OUTCOME_ANSWERED
        await link.ended(1)
        kinds = [event.WhichOneof("payload") for event in link.events(1)]
        assert kinds[2:4] == ["input_requested", "input_received"]
        assert kinds[-1] == "done"


@pytest.mark.parametrize(
    ("wrong", "fields"),
    [
        ({"run_id": "x"}, ["run_id"]),
        ({"input_id": "a b", "value_json": "1"}, ["input_id"]),
        ({}, ["answer"]),
        ({"decline": False}, ["decline"]),
        ({"value_json": "1", "request_id": "\n"}, ["request_id"]),
    ],
)
def test_an_answer_must_say_what_it_answers(wrong: dict[str, Any], fields: list[str]) -> None:
    """Each wrong field is named."""
    request = pb.SendInputRequest(**{"run_id": "a" * 30, "input_id": "1", **wrong})
    with pytest.raises(InvalidRequestError) as caught:
        require_valid_input(request)
    assert [violation.field for violation in caught.value.violations] == fields


@pytest.mark.needs("redis")
async def test_any_core_takes_an_answer() -> None:
    """Of those that share a store: exactly one of several decides, and each is told which one it was."""
    settings = {"store": shared_redis().url, "redis_prefix": uuid4().hex, "agent": AGENTS}
    async with (
        running_core(**settings) as one,
        running_core(**settings) as other,
        asking(one, "asks", TWO) as run,
        following(other, "") as there,
    ):
        await run.next("input_requested")
        there.run_id = run.run_id
        assert (await other.run(run.run_id)).state == RUN_STATE_WAITING
        assert (await there.refused("1", value_json='"yes"')).bad_request.field_violations
        assert (await there.refused("3", value_json="true")).info.reason == "INPUT_UNKNOWN"
        values = ("true", "false", "true", "false")
        sent = await asyncio.gather(
            *(
                at.send("1", value_json=value, request_id=f"r{number}")
                for number, (at, value) in enumerate(zip((run, there, run, there), values, strict=True))
            ),
            return_exceptions=True,
        )
        answered = [
            number for number, response in enumerate(sent) if isinstance(response, pb.SendInputResponse)
        ]
        assert len(answered) == 1, sent
        refused = [refusal_of(error) for error in sent if isinstance(error, grpc.aio.AioRpcError)]
        assert [refusal.info.metadata["outcome"] for refusal in refused] == ["answered"] * 3
        winner, value = f"r{answered[0]}", values[answered[0]]
        assert await there.send("1", value_json=value, request_id=winner) == sent[answered[0]]
        await run.next("input_requested")
        assert (await there.send("2", decline=True)).outcome == event_pb2.INPUT_OUTCOME_DECLINED
        assert f"{value} null" in (await run.next("done")).final_message
        assert (await there.refused("2", decline=True)).info.reason == "INPUT_CLOSED"
        assert (await other.run(run.run_id)).state == RUN_STATE_ENDED
