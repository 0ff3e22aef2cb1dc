"""One run, read to its end: what is yielded, tried again, and closed.

One module, since all of it is read through one script of what the transport brings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.support.scripted_transport import (
    RUN_ID,
    ScriptedTransport,
    at,
    control,
    done,
    failed,
    own_error,
    started,
    text,
    use,
    view,
)
from tokenwire import events
from tokenwire.client import (
    Client,
    ClientError,
    ConnectionLostError,
    DeadlineExceededError,
    EventsMissingError,
    RefusedError,
    Run,
    RunFailedError,
    UnreachableError,
)
from tokenwire.client.transport import Received

Script = Callable[..., ScriptedTransport]
LOST = ConnectionLostError("broke off")
TRIMMED = events.Resync(first=f"{RUN_ID}.1.5", last=f"{RUN_ID}.1.9", reason="trimmed")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """Writes the streams down that the server gives."""

    def write(*streams: list[object]) -> ScriptedTransport:
        transport = ScriptedTransport(*streams)
        use(transport, monkeypatch)
        return transport

    return write


async def sequences(run: Run) -> list[int]:
    """Read a run to its end; return its events' numbers."""
    return [int(item.id.rpartition(".")[2]) async for item in run.items()]


async def test_events_come_once_and_in_order_whatever_breaks(script: Script) -> None:
    """A break, an end without terminal event, a duplicate and a gap: the run is followed again each time."""
    transport = script(
        [started(), text(2, "a"), LOST],
        [],
        [text(2, "a"), text(3, "b"), text(5, "d")],
        [UnreachableError("not yet")],
        [text(4, "c"), text(5, "d"), done(6)],
    )
    async with Client("x") as client:
        run = await client.start("hi")
        assert (run.id, run.last_id) == (RUN_ID, "")
        assert await sequences(run) == [1, 2, 3, 4, 5, 6]
        assert run.last_id == f"{RUN_ID}.1.6"
        assert isinstance(run.terminal, events.Done)
        assert transport.follows == ["1.2", "1.2", "1.3", "1.3"]
    assert (transport.open, transport.turns, transport.is_closed) == (0, 4, True)


async def test_another_runs_events_are_not_read(script: Script) -> None:
    """The run keeps its id and its place; the error says both."""
    other = RUN_ID[::-1]
    script([started(), at(2, events.TextDelta(timestamp=1, content="b"))._replace(run_id=other)])
    async with Client("x") as client:
        run = await client.start("hi")
        with pytest.raises(ClientError, match="another run") as caught:
            await sequences(run)
    assert (caught.value.run_id, caught.value.after) == (RUN_ID, f"{RUN_ID}.1.1")


async def test_iterating_yields_the_events_alone(script: Script) -> None:
    """Controls are handled: they are for those who ask for them."""
    degraded = control(events.Degraded(message="log away"))
    script([started(), degraded, text(2, "a"), control(events.CaughtUp(cursor="")), done(3)])
    async with Client("x") as client:
        kinds = [type(event) async for event in await client.start("hi")]
    assert kinds == [events.RunStarted, events.TextDelta, events.Done]


async def test_who_asks_for_controls_gets_them_in_their_place(script: Script) -> None:
    """They have no id."""
    script([started(), control(events.Degraded(message="log away")), control(events.Reconnect(5)), done(2)])
    async with Client("x") as client:
        run = await client.start("hi")
        items = [
            (item.id[-3:], type(item.event), item.is_terminal) async for item in run.items(controls=True)
        ]
    assert items == [
        ("1.1", events.RunStarted, False),
        ("", events.Degraded, False),
        ("", events.Reconnect, False),
        ("1.2", events.Done, True),
    ]


async def test_an_event_that_is_not_known_keeps_its_place(script: Script) -> None:
    """A newer core may say more: nothing is missing."""
    transport = script([started(), at(2, None), done(3)])
    async with Client("x") as client:
        assert await sequences(await client.start("hi")) == [1, 3]
    assert transport.follows == []


async def test_a_start_is_repeated_as_the_same_request(script: Script) -> None:
    """So that it starts no second run."""
    transport = script([LOST], [own_error("UNAVAILABLE", "No core.", retryable=True)], [started(), done(2)])
    async with Client("x") as client:
        await client.start("hi")
    assert len(transport.starts) == 3
    assert len(set(transport.starts)) == 1
    assert len(transport.starts[0].request_id) == 32


async def test_a_refused_start_raises_and_leaves_nothing(script: Script) -> None:
    """The code, the reason and the facts say why."""
    transport = script(
        [RefusedError("NOT_FOUND", "No such agent.", {"reason": "AGENT_UNKNOWN", "known": "a"})]
    )
    async with Client("x") as client:
        with pytest.raises(RefusedError, match=r"NOT_FOUND: No such agent\. \(known: a\)") as raised:
            await client.start("hi")
        assert (raised.value.code, raised.value.reason, raised.value.retryable) == (
            "NOT_FOUND",
            "AGENT_UNKNOWN",
            False,
        )
        assert (transport.open, client._runs) == (0, set())


async def test_a_server_that_was_never_there_is_not_waited_for(script: Script) -> None:
    """The address may be wrong."""
    transport = script([UnreachableError("Can't reach it.")])
    async with Client("x") as client:
        with pytest.raises(UnreachableError):
            await client.start("hi")
    assert len(transport.starts) == 1


async def test_giving_up_names_the_run_and_the_place_to_go_on(script: Script) -> None:
    """Another client can follow it later."""
    script([started(), text(2, "a"), LOST], *[[UnreachableError("gone")]] * 100_000)
    async with Client("x", patience_s=0.02) as client:
        run = await client.start("hi")
        with pytest.raises(UnreachableError) as raised:
            await sequences(run)
    assert (raised.value.run_id, raised.value.after, raised.value.retryable) == (
        RUN_ID,
        f"{RUN_ID}.1.2",
        True,
    )


async def test_a_refusal_that_passes_is_waited_for(script: Script) -> None:
    """The server said when to come back; a final one is raised at once."""
    script([RefusedError("UNAVAILABLE", "Going down.", retry_after_s=0.01)], [started(), LOST], [
        RefusedError("DATA_LOSS", "The log is lost.")
    ])  # fmt: skip
    async with Client("x") as client:
        run = await client.start("hi")
        with pytest.raises(RefusedError, match="DATA_LOSS"):
            await sequences(run)


async def test_each_try_is_told(script: Script) -> None:
    """With what failed, and how many tries failed since the last contact."""
    script([started(), LOST], [], [text(2, "a"), LOST], [done(3)])
    told: list[tuple[str, int]] = []
    async with Client("x", on_retry=lambda error, failures: told.append((error.message, failures))) as client:
        await sequences(await client.start("hi"))
    assert told == [("broke off", 1), ("the stream ended before the run", 2), ("broke off", 1)]


@pytest.mark.parametrize(
    "again",
    [
        [started(), text(2, "a")],
        [started(), text(9, "z")],
        [control(events.Resync(first=f"{RUN_ID}.1.1", last=f"{RUN_ID}.1.2", reason="trimmed"))],
        [control(events.Reconnect(1), retry_s=0.001)],
    ],
    ids=["known events", "a gap", "resync", "reconnect"],
)
async def test_a_server_that_never_goes_on_is_given_up(script: Script, again: list[object]) -> None:
    """What it repeats is no contact: it would be followed for ever. Later, the run may be followed again."""
    transport = script([started(), text(2, "a"), LOST], *[again] * 100_000)
    async with Client("x", patience_s=0.05) as client:
        run = await client.start("hi")
        async with asyncio.timeout(30):
            with pytest.raises(ConnectionLostError, match=r"before the run|are missing") as raised:
                await sequences(run)
    assert (raised.value.after, raised.value.retryable) == (f"{RUN_ID}.1.2", True)
    assert len(transport.follows) > 1


async def test_a_silent_run_is_followed_however_often_its_streams_end(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proxies end silent streams after a while: each was contact, though it brought nothing new."""
    monkeypatch.setattr("tokenwire.client.reading.STEADY_S", 0.0)
    silent = [control(events.CaughtUp(cursor=""))]
    script([started(), LOST], *[silent] * 10, [done(2)])
    async with Client("x", patience_s=0.0) as client:
        assert await sequences(await client.start("hi")) == [1, 2]


async def test_missing_text_is_raised_and_reading_goes_on_behind_it(script: Script) -> None:
    """A hole in the answer is never silent."""
    transport = script([started(), LOST], [control(TRIMMED), text(5, "e")], [text(5, "e"), done(6)])
    async with Client("x") as client:
        run = await client.start("hi")
        assert isinstance(await anext(run), events.RunStarted)
        with pytest.raises(EventsMissingError) as raised:
            await anext(run)
        assert raised.value.resync == TRIMMED
        assert await sequences(run) == [5, 6]
    assert transport.follows == ["1.1", "1.5"]


async def test_a_log_that_lost_its_end_misses_nothing(script: Script) -> None:
    """It is sent from its start; what was read is skipped."""
    ahead = events.Resync(first=f"{RUN_ID}.1.1", last=f"{RUN_ID}.2.3", reason="ahead")
    lost = failed(3)._replace(id=done(3, epoch=2).id)
    script([started(), text(2, "a"), text(3, "b"), LOST], [control(ahead), started(), text(2, "a"), lost])
    async with Client("x") as client:
        run = await client.start("hi")
        assert await sequences(run) == [1, 2, 3, 3]
        assert run.last_id == f"{RUN_ID}.2.3"


@pytest.mark.parametrize(("final_message", "omitted"), [("ab", False), ("", True)])
async def test_the_text_is_the_whole_answer(script: Script, final_message: str, *, omitted: bool) -> None:
    """Of the deltas, where the end does not repeat it."""
    end = done(4, final_message=final_message)
    assert isinstance(end.event, events.Done)
    end.event.final_message_omitted = omitted
    script([started(), text(2, "a"), text(3, "b"), end])
    async with Client("x") as client:
        assert await (await client.start("hi")).text() == "ab"


async def test_a_text_with_a_hole_is_no_answer(script: Script) -> None:
    """Unless the end repeats the whole of it."""
    end = done(6)
    assert isinstance(end.event, events.Done)
    end.event.final_message_omitted = True
    whole = done(6, final_message="whole")
    script([started(), control(TRIMMED), text(5, "e"), end], [control(TRIMMED), text(5, "e"), whole])
    async with Client("x") as client:
        with pytest.raises(EventsMissingError):
            await (await client.start("hi")).text()
        assert await client.follow(RUN_ID).text() == "whole"


async def test_the_text_of_a_failed_run_is_its_error(script: Script) -> None:
    """Iteration yields the event instead: it is the run's."""
    script([started(), failed(2, "INTERNAL", "Oh.")])
    async with Client("x") as client:
        with pytest.raises(RunFailedError, match=r"INTERNAL: Oh\.") as raised:
            await (await client.start("hi")).text()
    assert isinstance(raised.value.event, events.Error)
    assert raised.value.run_id == RUN_ID


async def test_a_run_that_is_left_can_be_taken_up_again(script: Script) -> None:
    """`break`, and a timeout in the middle of a read: nothing is lost, and no stream stays open."""
    transport = script([started(), text(2, "a"), text(3, "b"), ...], [text(4, "c"), done(5)])
    async with Client("x") as client:
        run = await client.start("hi")
        async for event in run:
            if isinstance(event, events.TextDelta):
                break
        assert run.last_id == f"{RUN_ID}.1.2"
        assert isinstance(await anext(run), events.TextDelta)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await anext(run)
        assert transport.open == 0
        assert await sequences(run) == [4, 5]
    assert transport.follows == ["1.3"]


async def test_who_has_the_terminal_event_already_gets_nothing_more(script: Script) -> None:
    """An empty stream is its end if the server confirms that, else it is followed again."""
    transport = script(*[[]] * 100_000)
    transport.view = view("ended", f"{RUN_ID}.1.9")
    async with Client("x", patience_s=0.01) as client:
        assert await sequences(client.follow(RUN_ID, after=f"{RUN_ID}.1.9")) == []
        with pytest.raises(ConnectionLostError):
            await sequences(client.follow(RUN_ID, after=f"{RUN_ID}.1.8"))


async def test_a_run_that_takes_too_long_is_cancelled(script: Script) -> None:
    """What it still says is yielded, then it is said that it took too long."""
    transport = script([started(), text(2, "a"), ...], [text(3, "b"), done(4, "cancelled")])
    seen: list[events.StreamEvent] = []
    async with Client("x") as client:
        run = await client.start("hi", timeout_s=0.01)
        with pytest.raises(DeadlineExceededError, match=r"longer than 0\.01 s"):
            seen.extend([event async for event in run])
        assert (run.last_id, transport.cancels) == (f"{RUN_ID}.1.4", 1)


async def test_a_run_that_does_not_even_say_its_end_is_given_up(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that hangs does not hold the client for ever."""
    monkeypatch.setattr("tokenwire.client.run.STOP_S", 0.01)
    transport = script([started(), ...], [...])
    transport.cancel_error = UnreachableError("down")
    async with Client("x") as client:
        run = await client.start("hi", timeout_s=0.01)
        with pytest.raises(DeadlineExceededError):
            await sequences(run)
    assert transport.open == 0


async def test_a_run_is_read_by_one_task_at_a_time(script: Script) -> None:
    """A second reader is told so, and takes nothing from the first."""
    transport = script([started(), ..., done(2)])
    async with Client("x") as client:
        run = await client.start("hi")
        reading = asyncio.create_task(sequences(run))
        await asyncio.sleep(0.01)
        with pytest.raises(RuntimeError, match="read by another task"):
            await anext(run)
        transport.cancelled.set()
        assert await reading == [1, 2]


async def test_closing_ends_a_read_in_another_task(script: Script) -> None:
    """It is told why; nothing stays open."""
    transport = script([started(), ...])
    async with Client("x") as client:
        run = await client.start("hi")
        reading = asyncio.create_task(sequences(run))
        await asyncio.sleep(0.01)
        assert transport.open == 1
    with pytest.raises(ClientError, match="CANCELLED: The run was closed"):
        await reading
    assert (transport.open, transport.is_closed) == (0, True)


@pytest.mark.parametrize(("on_disconnect", "left"), [("cancel", [RUN_ID]), ("grace", [])])
async def test_only_a_run_that_ends_with_its_reader_is_told_that_he_left(
    script: Script, on_disconnect: str, left: list[str]
) -> None:
    """Its breaks are none: it is followed as by a relay, and leaving is said."""
    transport = script([started(), LOST], [text(2, "a"), ...])
    async with Client("x") as client:
        run = await client.start("hi", on_disconnect=on_disconnect)  # type: ignore[arg-type]
        assert [await anext(run), await anext(run)]
        assert transport.left == []
    assert transport.left == left
    assert transport.relays == [on_disconnect == "cancel"]


async def test_a_run_that_has_ended_is_left_without_a_word(script: Script) -> None:
    """There is nothing to cancel."""
    transport = script([started(), done(2)])
    async with Client("x") as client:
        await sequences(await client.start("hi", on_disconnect="cancel"))
    assert transport.left == []


async def test_cancel_is_repeated_until_it_is_answered(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lost Stop would leave a model at work."""
    transport = script([started(), ...])
    answers = [LOST, UnreachableError("down"), view("cancelling", None)]

    async def cancel(_: str) -> object:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(transport, "cancel", cancel)
    async with Client("x") as client:
        run = await client.start("hi")
        assert (await run.cancel()).state == "cancelling"
    assert transport.turns == 2


async def test_what_the_server_asks_to_wait_is_waited(script: Script) -> None:
    """A draining server says when to come back."""
    transport = script([started(), control(events.Reconnect(60_000), retry_s=60.0)])
    async with Client("x", patience_s=1) as client:
        run = await client.start("hi")
        with pytest.raises(ConnectionLostError):
            await sequences(run)
    assert transport.turns == 0


def asked(sequence: int, input_id: str = "1", timestamp: float = 0.0) -> Received:
    """Return a question."""
    event = events.InputRequested(timestamp=timestamp, input_id=input_id, kind="approval", prompt="Delete?")
    return at(sequence, event)


def closed(sequence: int, input_id: str = "1", timestamp: float = 0.0) -> Received:
    """Return how a question was closed."""
    return at(sequence, events.InputReceived(timestamp=timestamp, input_id=input_id, outcome="answered"))


async def test_an_answer_is_sent_until_its_response_comes(script: Script) -> None:
    """Under one request id, so that a repetition changes nothing; a refusal is final."""
    transport = script([started(), asked(2), done(3)])
    transport.answer_errors = [LOST]
    async with Client("x") as client:
        run = await client.start("hi")
        assert await run.send_input("1", value={"a": 1}) == "answered"
        assert await client.send_input(RUN_ID, "1", decline=True) == "declined"
        transport.answer_errors = [RefusedError("FAILED_PRECONDITION", "Too late.")]
        with pytest.raises(RefusedError, match="Too late"):
            await run.send_input("1", value=True)
        with pytest.raises(ValueError, match="decline takes no value"):
            await run.send_input("1", value=True, decline=True)
        with pytest.raises(TypeError):
            await run.send_input("1", value=object())
    first, again, other, _ = transport.answers
    assert first == again
    assert (first.value_json, other.value_json) == ('{"a":1}', None)
    assert first.request_id != other.request_id


async def test_a_run_that_waits_for_a_person_does_not_exceed_its_time_limit(script: Script) -> None:
    """What it has waited is added to the limit; with two questions, until the last is closed."""
    script([started(), asked(2), asked(3, "2"), 0.1, closed(4), 0.1, closed(5, "2", 60_000), done(6)])
    async with Client("x") as client:
        run = await client.start("hi", timeout_s=0.02)
        assert await sequences(run) == [1, 2, 3, 4, 5, 6]


async def test_the_time_limit_counts_again_after_the_answer(script: Script) -> None:
    """As much of it as was left."""
    transport = script(
        [started(), asked(2), closed(3, timestamp=20.0), closed(4, "unknown"), ...], [done(5, "cancelled")]
    )
    async with Client("x") as client:
        run = await client.start("hi", timeout_s=0.02)
        with pytest.raises(DeadlineExceededError):
            await sequences(run)
    assert transport.cancels == 1
