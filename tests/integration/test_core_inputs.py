"""A run that asks a person, at a core."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from tests.support.core import Core, Refusal, refusal_of, running_core
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

    async def send(self, input_id: str, value_json: str) -> pb.SendInputResponse:
        """Answer a question."""
        return await self.core.stub.SendInput(
            pb.SendInputRequest(run_id=self.run_id, input_id=input_id, value_json=value_json)
        )

    async def refused(self, input_id: str, **answer: object) -> Refusal:
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
        answer = await run.send("1", "true")
        assert answer == pb.SendInputResponse(input_id="1", outcome=event_pb2.INPUT_OUTCOME_ANSWERED)
        again = await run.refused("1", decline=True)
        assert (again.code, again.info.reason) == ("FAILED_PRECONDITION", "INPUT_CLOSED")
        assert again.info.metadata["outcome"] == "answered"
        assert (await run.next("input_received")).outcome == event_pb2.INPUT_OUTCOME_ANSWERED
        assert (await run.next("input_requested")).input_id == "2"
        await run.send("2", "false")
        assert "true" in (await run.next("done")).final_message
        assert (await core.run(run.run_id)).state == RUN_STATE_ENDED
        assert (await run.refused("1", value_json="true")).info.reason == "INPUT_CLOSED"
