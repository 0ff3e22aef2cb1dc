"""Who follows, and what their leaving means."""

import asyncio

import pytest

from agent_core.runs.presence import RETURN_S, Presence, RunFollowers, Verdict
from tokenwire.v1.run_pb2 import ON_DISCONNECT_CANCEL, ON_DISCONNECT_CONTINUE, ON_DISCONNECT_GRACE


@pytest.mark.parametrize(
    ("policy", "verdict"),
    [
        (ON_DISCONNECT_CANCEL, Verdict.CANCEL),
        (ON_DISCONNECT_GRACE, Verdict.GRACE),
        (ON_DISCONNECT_CONTINUE, Verdict.NOTHING),
    ],
)
def test_the_last_one_to_leave_by_itself_brings_the_policy(policy: int, verdict: Verdict) -> None:
    """Nothing happens before the last has left."""
    presence = Presence(policy)
    presence.join()
    presence.join()
    assert presence.leave(relay=False) is Verdict.NOTHING
    assert presence.leave(relay=False) is verdict


@pytest.mark.parametrize(
    ("policy", "verdict"),
    [
        (ON_DISCONNECT_CANCEL, Verdict.RETURN),
        (ON_DISCONNECT_GRACE, Verdict.RETURN),
        (ON_DISCONNECT_CONTINUE, Verdict.NOTHING),
    ],
)
def test_the_end_of_a_relays_call_alone_is_never_cancel(policy: int, verdict: Verdict) -> None:
    """A broken link, a draining edge and a run nobody ever followed count as grace at the worst."""
    presence = Presence(policy)
    assert presence.unfollowed() is verdict
    presence.join()
    assert presence.leave(relay=True) is verdict


@pytest.mark.parametrize("policy", [ON_DISCONNECT_CANCEL, ON_DISCONNECT_GRACE])
def test_one_who_could_not_be_served_has_not_left(policy: int) -> None:
    """Nor is the word of another one's leaving taken for its own."""
    presence = Presence(policy)
    presence.join()
    assert presence.withdraw() is Verdict.RETURN
    presence.join()
    presence.join()
    assert presence.withdraw() is Verdict.NOTHING
    assert presence.said_left() is Verdict.NOTHING
    left = Verdict.CANCEL if policy == ON_DISCONNECT_CANCEL else Verdict.GRACE
    assert presence.leave(relay=True) is left


def test_word_before_the_end_of_the_call() -> None:
    """The policy applies when the relay's call ends."""
    presence = Presence(ON_DISCONNECT_CANCEL)
    presence.join()
    assert presence.said_left() is Verdict.NOTHING
    assert presence.leave(relay=True) is Verdict.CANCEL


def test_word_after_the_end_of_the_call() -> None:
    """The policy applies when the word arrives."""
    presence = Presence(ON_DISCONNECT_CANCEL)
    presence.join()
    assert presence.leave(relay=True) is Verdict.RETURN
    assert presence.said_left() is Verdict.CANCEL


def test_word_of_a_run_that_nobody_followed() -> None:
    """One who started a run and left before following it has left."""
    assert Presence(ON_DISCONNECT_CANCEL).said_left() is Verdict.CANCEL


def test_a_new_follower_wipes_out_what_was_said_before() -> None:
    """The word was about somebody else."""
    presence = Presence(ON_DISCONNECT_CANCEL)
    assert presence.said_left() is Verdict.CANCEL
    presence.join()
    assert presence.leave(relay=True) is Verdict.RETURN


@pytest.mark.parametrize("word_first", [True, False])
def test_word_of_one_follower_is_not_taken_for_the_other(word_first: bool) -> None:
    """Two tabs: one was closed, then the link of the other broke. It may come back."""
    presence = Presence(ON_DISCONNECT_CANCEL)
    presence.join()
    presence.join()
    steps = [presence.said_left, lambda: presence.leave(relay=True)]
    for step in steps if word_first else reversed(steps):
        assert step() is Verdict.NOTHING
    assert presence.leave(relay=True) is Verdict.RETURN
    assert presence.following == 0


@pytest.mark.parametrize("grace_s", [0.0, RETURN_S / 2, RETURN_S * 2])
def test_one_who_has_not_left_is_waited_for_though_there_is_no_grace_time(grace_s: float) -> None:
    """As long as a connection takes to be made again; one who has left is waited for as long as is set."""
    assert Verdict.RETURN.wait_s(grace_s) == max(RETURN_S, grace_s)
    assert Verdict.GRACE.wait_s(grace_s) == grace_s


class Stops:
    """Counts how often a run was told to stop."""

    count = 0

    def __call__(self) -> None:
        self.count += 1


def followers(policy: int, grace_s: float = 0.0) -> tuple[RunFollowers, Stops]:
    stops = Stops()
    return RunFollowers(policy, grace_s, stops), stops  # type: ignore[arg-type]


async def test_a_run_whose_follower_can_not_be_served_goes_on_for_a_moment() -> None:
    """Whatever its policy: it may be followed again."""
    run, stops = followers(ON_DISCONNECT_CANCEL)
    run.join()
    run.withdraw()
    await asyncio.sleep(0.01)
    assert stops.count == 0
    run.join()
    run.leave(relay=False)
    assert stops.count == 1


async def test_a_run_whose_follower_leaves_is_stopped_at_once_or_after_its_grace_time() -> None:
    """As its policy says; with none at all it goes on."""
    for policy, at_once, later in (
        (ON_DISCONNECT_CANCEL, 1, 1),
        (ON_DISCONNECT_GRACE, 0, 1),
        (ON_DISCONNECT_CONTINUE, 0, 0),
    ):
        run, stops = followers(policy)
        run.join()
        run.leave(relay=False)
        assert stops.count == at_once
        await asyncio.sleep(0.01)
        assert stops.count == later


async def test_a_follower_who_comes_in_time_keeps_the_run() -> None:
    """The grace time of the one before is over then."""
    run, stops = followers(ON_DISCONNECT_GRACE)
    run.join()
    run.leave(relay=False)
    run.join()
    await asyncio.sleep(0.01)
    assert stops.count == 0


async def test_one_who_says_that_he_left_is_not_waited_for_as_one_whose_connection_broke(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whichever comes first, his word or the end of his relay's call."""
    monkeypatch.setattr("agent_core.runs.presence.RETURN_S", 60.0)
    for word_first in (True, False):
        run, stops = followers(ON_DISCONNECT_GRACE)
        run.begin()
        run.join()
        if word_first:
            run.left_by_itself()
        run.leave(relay=True)
        if not word_first:
            run.left_by_itself()
        await asyncio.sleep(0.01)
        assert stops.count == 1


async def test_a_stop_that_is_due_is_not_put_off() -> None:
    """By the word that he has left, which comes after his connection broke."""
    run, stops = followers(ON_DISCONNECT_GRACE, grace_s=60.0)
    run.join()
    run.leave(relay=True)
    due = run._grace
    run.left_by_itself()
    assert run._grace is due
    run.close()
    assert stops.count == 0


async def test_followers_at_other_cores_count_as_relayed_ones() -> None:
    """Their number is reported, not who comes and goes; of a lost core it is 0."""
    run, stops = followers(ON_DISCONNECT_CANCEL)
    run.set_elsewhere("two", 2)
    run.set_elsewhere("two", 1)
    run.set_elsewhere("three", 1)
    assert run.elsewhere == {"two": 1, "three": 1}
    for _ in range(3):
        assert stops.count == 0
        run.left_by_itself()
    run.set_elsewhere("two", 0)
    assert (run.elsewhere, stops.count) == ({"three": 1}, 0)
    run.set_elsewhere("three", 0)
    assert (run.elsewhere, stops.count) == ({}, 1)


async def test_a_run_that_has_ended_is_not_stopped_any_more() -> None:
    """Neither by the timer nor by those who leave then, and nothing holds the run."""
    run, stops = followers(ON_DISCONNECT_GRACE)
    run.join()
    run.leave(relay=False)
    run.join()
    run.leave(relay=False)
    run.close()
    run.left_by_itself()
    await asyncio.sleep(0.01)
    assert stops.count == 0


async def test_the_grace_time_stands_still_while_the_run_waits_for_a_person() -> None:
    """Whether it had begun before or begins meanwhile; then it goes on where it was."""
    for leaves_first in (True, False):
        run, stops = followers(ON_DISCONNECT_GRACE)
        run.join()
        if leaves_first:
            run.leave(relay=False)
        run.pause()
        if not leaves_first:
            run.leave(relay=False)
            run.left_by_itself()
        await asyncio.sleep(0.01)
        assert stops.count == 0
        run.resume()
        await asyncio.sleep(0.01)
        assert stops.count == 1


async def test_a_follower_who_comes_while_the_run_waits_keeps_it() -> None:
    """No grace time is left over."""
    run, stops = followers(ON_DISCONNECT_GRACE)
    run.join()
    run.leave(relay=False)
    run.pause()
    run.join()
    run.resume()
    await asyncio.sleep(0.01)
    assert stops.count == 0
