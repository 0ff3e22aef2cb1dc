"""Answers to questions of another core's runs: sent to that core, which says what became of them."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Coroutine
from typing import Any, Final, Protocol

import msgspec

from agent_core.errors import (
    CoreLogAwayError,
    InputClosedError,
    InvalidRequestError,
    RefusalError,
    UnknownInputError,
    Violation,
)
from agent_core.log.contract import RunLog
from agent_core.log.errors import LogAwayError
from agent_core.log.peers import PeerMessage, Peers
from agent_core.log.records import RunInfo
from agent_core.runs.following import ended_elsewhere
from agent_core.runs.inputs import Answer
from tokenwire.reasons import Reason
from tokenwire.v1.event_pb2 import Event

REPLY_S: Final = 6.0
"""How long another core may take: longer than it waits for the log itself, shorter than an edge waits."""

LATEST_EVENTS: Final = 256
LATEST_BYTES: Final = 1024 * 1024
"""How much of the end of another core's run is read to find an open question: a run that waits has mostly
asked with its last event."""

logger = logging.getLogger(__name__)


class InputMessage(msgspec.Struct, omit_defaults=True):
    """An answer on its way to the core that writes the run: the text of a message `input`."""

    request: str
    """Names the request, in the reply."""
    input_id: str
    answer: Answer


class InputReply(msgspec.Struct, omit_defaults=True):
    """What became of it: the text of a message `input_reply`."""

    request: str
    outcome: str = ""
    """answered or declined; for INPUT_CLOSED how the question was closed before."""
    reason: str = ""
    """Why it was refused; empty where it was not."""
    problem: str = ""
    """For INVALID_REQUEST, what is wrong with the value."""


class TakesInput(Protocol):
    """The questions of a run of this core."""

    async def receive(self, input_id: str, answer: Answer) -> str:
        """Take an answer. Return the question's outcome."""


class RemoteInputs:
    """Sends answers to other cores, and takes those that they send.

    Args:
        log: The store.
        peers: The other cores.
    """

    def __init__(self, log: RunLog, peers: Peers) -> None:
        self._log = log
        self._peers = peers
        self._replies: dict[str, asyncio.Future[InputReply]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def send(self, info: RunInfo, input_id: str, answer: Answer) -> str:
        """Send an answer to the core that writes a run. Return the question's outcome.

        Args:
            info: The run, live.
            input_id: The question.
            answer: What was sent.

        Raises:
            RefusalError: That core refuses it, or the run has ended meanwhile.
            CoreLogAwayError: Whether it was taken is not known: that core does not answer.
            LogAwayError: It can't be sent.
        """
        request = secrets.token_hex(8)
        reply = self._replies[request] = asyncio.get_running_loop().create_future()
        try:
            await self._send("input", info, InputMessage(request, input_id, answer))
            await self._reply_or_end(info, reply)
        finally:
            del self._replies[request]
        if reply.done() and not reply.cancelled():
            return _outcome(reply.result())
        now = await self._log.info(info.record.run_id)
        if now is None or now.outcome is not None:
            raise InputClosedError("")
        raise CoreLogAwayError

    def on_input(self, message: PeerMessage, run: TakesInput | None) -> None:
        """Take an answer that another core has sent, and reply.

        Args:
            message: Of the kind `input`.
            run: The questions of the run; None where it is not live here.
        """
        try:
            sent = msgspec.json.decode(message.text, type=InputMessage)
        except msgspec.DecodeError:
            logger.warning("core %s sent an answer that can't be read: it may be newer", message.core)
            return
        self._spawn(self._take(message, sent, run))

    def on_reply(self, message: PeerMessage) -> None:
        """Take what another core replies."""
        try:
            reply = msgspec.json.decode(message.text, type=InputReply)
        except msgspec.DecodeError:
            logger.warning("core %s sent a reply that can't be read: it may be newer", message.core)
            return
        waiting = self._replies.get(reply.request)
        if waiting is not None and not waiting.done():
            waiting.set_result(reply)

    async def aclose(self) -> None:
        """Stop replying."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))

    async def _send(self, kind: Any, info: RunInfo, text: InputMessage) -> None:
        message = PeerMessage(
            kind, info.record.run_id, self._peers.name, text=msgspec.json.encode(text).decode()
        )
        # One whose lease has run out gets it too, should it come back. Else its run is closed as lost.
        await self._peers.send(info.record.core, message)

    async def _reply_or_end(self, info: RunInfo, reply: asyncio.Future[InputReply]) -> None:
        """Return when the reply is there, or the run has ended, or both took too long."""
        ended = asyncio.create_task(ended_elsewhere(self._log, info, REPLY_S))
        try:
            either: set[asyncio.Future[Any]] = {reply, ended}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not reply.done():
                # What ended the run may have been this answer: its reply is on its way.
                await asyncio.wait({reply}, timeout=0.5)
        finally:
            ended.cancel()
            await asyncio.wait({ended})

    async def _take(self, message: PeerMessage, sent: InputMessage, run: TakesInput | None) -> None:
        reply = await _taken(sent, run)
        text = msgspec.json.encode(reply).decode()
        answer = PeerMessage("input_reply", message.run_id, self._peers.name, text=text)
        try:
            await self._peers.send(message.core, answer)
        except LogAwayError as error:
            logger.warning(
                "can't reply to core %s on a question of run %s: %s", message.core, message.run_id, error
            )

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, name="answer of another core")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def is_waiting_elsewhere(log: RunLog, info: RunInfo) -> bool:
    """Return whether another core's run waits for a person: as far as its latest events say.

    Args:
        log: The store.
        info: The run, live.

    Raises:
        LogAwayError: The log can't be read.
        LogGoneError: The run was forgotten meanwhile.
    """
    run_id, last = info.record.run_id, info.last
    after = last._replace(sequence=max(info.first.sequence - 1, last.sequence - LATEST_EVENTS))
    open_ids: set[str] = set()
    left_bytes = LATEST_BYTES
    while after.sequence < last.sequence and left_bytes > 0:
        batch = await log.read(run_id, after, LATEST_EVENTS, LATEST_BYTES)
        if not batch.events:
            break
        for encoded in batch.events:
            _note(open_ids, Event.FromString(encoded))
        left_bytes -= sum(map(len, batch.events))
        after = batch.end
    return bool(open_ids)


def _note(open_ids: set[str], event: Event) -> None:
    """Take note of the questions that an event opens or closes."""
    match event.WhichOneof("payload"):
        case "input_requested":
            open_ids.add(event.input_requested.input_id)
        case "input_received":
            open_ids.discard(event.input_received.input_id)
        case "done" | "error":
            open_ids.clear()


async def _taken(sent: InputMessage, run: TakesInput | None) -> InputReply:
    """Return what becomes of an answer that another core has sent."""
    if run is None:
        return InputReply(sent.request, reason=Reason.INPUT_CLOSED)
    try:
        outcome = await run.receive(sent.input_id, sent.answer)
    except RefusalError as error:
        problem = error.violations[0].description if error.violations else ""
        return InputReply(sent.request, error.metadata.get("outcome", ""), error.reason, problem)
    return InputReply(sent.request, outcome)


def _outcome(reply: InputReply) -> str:
    """Return the outcome that a reply tells of.

    Raises:
        RefusalError: It tells of a refusal.
    """
    match reply.reason:
        case "":
            return reply.outcome
        case Reason.INPUT_CLOSED:
            raise InputClosedError(reply.outcome)
        case Reason.INPUT_UNKNOWN:
            raise UnknownInputError
        case Reason.INVALID_REQUEST:
            raise InvalidRequestError([Violation("value_json", reply.problem)])
        case _:
            raise CoreLogAwayError
