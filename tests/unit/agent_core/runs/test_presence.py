"""Who follows, and what their leaving means."""

import pytest

from agent_core.runs.presence import RETURN_S, Presence, Verdict
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
