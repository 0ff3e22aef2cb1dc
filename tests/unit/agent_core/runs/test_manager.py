"""The manager where the store misbehaves: what no real client can bring about."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from opentelemetry.context import Context

from agent_core.agents import RunRequest
from agent_core.agents.catalogue import NamedAgent
from agent_core.errors import CoreFullError, CoreLogAwayError, LimitReachedError, UnknownRunError
from agent_core.log.append import Append, Appended, AppendStatus, OnAnswer
from agent_core.log.batch import Batch
from agent_core.log.contract import Tail
from agent_core.log.errors import LogAwayError, LogFullError, LogGoneError
from agent_core.log.memory.log import MemoryLog
from agent_core.log.position import START
from agent_core.log.records import Outcome, RunRecord
from agent_core.runs import presence, reaper
from agent_core.runs.follower import FollowRequest
from agent_core.runs.limits import CoreLimits, Limiter, RunLimits
from agent_core.runs.manager import RunManager
from agent_core.runs.run import StopCause
from agent_core.runs.start_request import fingerprint
from agent_core.runs.writer import LogRefusedError
from tokenwire.v1.event_pb2 import Event
from tokenwire.v1.run_pb2 import ON_DISCONNECT_CANCEL, ON_DISCONNECT_CONTINUE, OnDisconnect, RunSpec

OWNER = "alice"


class Plain:
    """An iterator that is no generator: it can neither be thrown into nor closed."""

    def __init__(self, request: RunRequest) -> None:
        self._words = iter(request.message.split())

    def __aiter__(self) -> "Plain":
        return self

    async def __anext__(self) -> str:
        try:
            return next(self._words)
        except StopIteration:
            raise StopAsyncIteration from None


async def words(request: RunRequest) -> AsyncIterator[str]:
    for word in request.message.split():
        yield word


async def start(
    manager: RunManager,
    agent: object = words,
    message: str = "a b",
    on_disconnect: OnDisconnect.ValueType = ON_DISCONNECT_CONTINUE,
) -> str:
    named = NamedAgent("words", agent)
    spec = RunSpec(message=message)
    return await manager.start(spec, named, owner=OWNER, on_disconnect=on_disconnect, parent=Context())


class ForgetfulLog(MemoryLog):
    """Forgets a run between two questions."""

    async def tail(self, *_: object) -> Tail:
        raise LogGoneError


async def endless(request: RunRequest) -> AsyncIterator[str]:
    yield request.message
    await asyncio.get_running_loop().create_future()


async def test_a_follow_that_fails_is_neither_a_follower_nor_one_that_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The run is not cancelled as by one that left; nor does it wait for ever for one that never came."""
    monkeypatch.setattr(presence, "RETURN_S", 0.2)
    manager = RunManager(ForgetfulLog(), RunLimits(disconnect_grace_s=0))
    run_id = await start(manager, endless, on_disconnect=ON_DISCONNECT_CANCEL)
    run = manager.live(run_id)
    assert run is not None
    with pytest.raises(UnknownRunError):
        await manager.follow(FollowRequest(run_id, OWNER, START, relay=False, say_caught_up=True))
    assert not run.stopping
    async with asyncio.timeout(30):
        await run.ended.wait()
    assert run.stopping


class BrokenLog(MemoryLog):
    """Fails in a way that no store may."""

    def submit(self, append: Append, on_answer: OnAnswer) -> None:
        if append.end is not None:
            on_answer(RuntimeError("broken"))
        else:
            super().submit(append, on_answer)


async def test_a_broken_store_does_not_keep_the_run_alive(caplog: pytest.LogCaptureFixture) -> None:
    """The core can still go down, and says whose fault it is."""
    manager = RunManager(BrokenLog(), RunLimits())
    run_id = await start(manager)
    await manager.drain(5, asyncio.Event())
    assert manager.live(run_id) is None
    assert "this is a bug of the core" in caplog.text


class FullLog(MemoryLog):
    """Has no room for a run's end, and for its reaping only the second time."""

    full = 2

    def submit(self, append: Append, on_answer: OnAnswer) -> None:
        if append.end is not None:
            on_answer(LogRefusedError(OWNER, "it is away"))
        else:
            super().submit(append, on_answer)

    async def reap(self, run_id: str, epoch: int, payload: bytes, outcome: Outcome) -> Appended:
        self.full -= 1
        if self.full:
            raise LogAwayError
        return await super().reap(run_id, epoch, payload, outcome)


async def test_a_run_whose_end_could_not_be_written_gets_one_when_it_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its followers wait for one; and the core does not wait for it when it goes down."""
    monkeypatch.setattr(reaper, "RETRY_S", 0.001)
    manager = RunManager(FullLog(), RunLimits())
    run_id = await start(manager)
    follower = await manager.follow(FollowRequest(run_id, OWNER, START, relay=False, say_caught_up=False))
    events: list[Event] = []
    async with asyncio.timeout(20):
        while (given := await follower.next()) is not None:
            assert isinstance(given, Batch)
            events += [Event.FromString(event) for event in given.events]
    assert [event.text_delta.content for event in events[1:-1]] == ["a", "b"]
    assert (events[-1].epoch, events[-1].error.details["reason"]) == (2, "PRODUCER_LOST")
    await follower.aclose()
    await manager.drain(0, asyncio.Event())


class UncreativeLog(MemoryLog):
    """Can't create a run."""

    async def create(self, *_: object) -> object:
        raise OSError("disk full")


async def test_a_run_that_can_not_be_created_fails_its_start_and_nothing_else() -> None:
    """No run is left behind."""
    manager = RunManager(UncreativeLog(), RunLimits())
    with pytest.raises(OSError, match="disk full"):
        await start(manager)
    await asyncio.sleep(0)
    assert len(manager.registry) == 0


async def test_any_async_iterator_is_an_agent() -> None:
    """One that can't be closed ends all the same, and when it is cancelled too."""
    log = MemoryLog()
    manager = RunManager(log, RunLimits())
    for message, reason in (("a b c", "stop"), ("a " * 5000, "cancelled")):
        run_id = await start(manager, Plain, message)
        run = manager.live(run_id)
        assert run is not None
        if reason == "cancelled":
            run.stop(StopCause.CANCELLED)
        await run.ended.wait()
        info = await log.info(run_id)
        assert info is not None
        assert info.outcome == Outcome("done", reason)


async def test_a_run_that_came_to_its_end_is_not_stopped_any_more() -> None:
    """Whoever stops it in the same moment gets the whole answer."""
    log = MemoryLog()
    manager = RunManager(log, RunLimits())
    run_id = await start(manager)
    run = manager.live(run_id)
    assert run is not None
    while run._agent_task is None or not run._agent_task.done():
        await asyncio.sleep(0)
    run.stop(StopCause.SHUTDOWN)
    await run.ended.wait()
    info = await log.info(run_id)
    assert info is not None
    assert info.outcome == Outcome("done", "stop")


def test_a_fingerprint_tells_what_was_asked_for() -> None:
    """The order in which labels were set does not matter; everything else does."""
    spec = RunSpec(message="m", attributes={"a": "1", "b": "2"})
    same = RunSpec(attributes={"b": "2", "a": "1"}, message="m")
    other = RunSpec(message="m", attributes={"a": "1", "b": "3"})
    assert fingerprint(spec) == fingerprint(same) != fingerprint(other)


class SlowlyFullLog(MemoryLog):
    """Has no room, and takes a moment to say so."""

    async def create(self, record: RunRecord) -> RunRecord:
        del record
        await asyncio.sleep(0.01)
        raise LogFullError


async def test_a_request_that_is_repeated_at_a_limit_while_it_fails_is_refused_as_such() -> None:
    """The run that it might have stood for is forgotten while it waits for it."""
    manager = RunManager(SlowlyFullLog(), RunLimits(), limiter=Limiter(CoreLimits(max_runs=2)))
    spec = RunSpec(message="a", request_id="r")
    named = NamedAgent("words", words)

    async def ask(spec: RunSpec) -> str:
        return await manager.start(
            spec, named, owner=OWNER, on_disconnect=ON_DISCONNECT_CONTINUE, parent=Context()
        )

    specs = [spec, RunSpec(message="b"), spec]
    failed = await asyncio.gather(*map(ask, specs), return_exceptions=True)
    assert [type(error) for error in failed] == [CoreFullError, CoreFullError, LimitReachedError]


class RefusingLog(MemoryLog):
    """Takes a run, and none of its events."""

    def submit(self, append: Append, on_answer: OnAnswer) -> None:
        del append
        on_answer(Appended(AppendStatus.GONE))


async def test_a_run_whose_beginning_the_log_does_not_take_is_refused_for_now() -> None:
    """It is the log that is away: no bug, and worth another try."""
    with pytest.raises(CoreLogAwayError):
        await start(RunManager(RefusingLog(), RunLimits()))


async def test_no_two_principals_share_a_request_id() -> None:
    """Also where a name holds what separates it from the id."""
    manager = RunManager(MemoryLog(), RunLimits())
    named = NamedAgent("words", words)

    async def ask(owner: str, request_id: str) -> str:
        spec = RunSpec(message="a", request_id=request_id)
        return await manager.start(
            spec, named, owner=owner, on_disconnect=ON_DISCONNECT_CONTINUE, parent=Context()
        )

    run_ids = {await ask("a", "b\nc"), await ask("a\nb", "c"), await ask("a\0nb", "c")}
    assert len(run_ids) == 3
    assert await ask("a", "b\nc") in run_ids
    await manager.drain(5, asyncio.Event())
