"""What the scripts are given: it must stand where they look for it."""

import re

import pytest

from agent_core.log.budget import LogBudget
from agent_core.log.position import Position
from agent_core.log.records import Exchange
from agent_core.log.redis.calls import Call, Calls, Ending, Reaping
from agent_core.log.redis.keys import Keys
from agent_core.log.redis.lua import SCRIPTS
from tests.support.stores import LOST, RUN, STOP, record

CALLS = Calls(Keys("p"), LogBudget(retention_s=2, session_retention_s=3, session_bytes=10))
RECORD = record(key="k", session="s", core="c")
CREATED = Ending(STOP, 5_000_000_000, Exchange("hi", "ho"))


@pytest.mark.parametrize(
    "call",
    [
        CALLS.create(RECORD, 1),
        CALLS.append(RECORD, 1, 1, [b"e"]),
        CALLS.refill(RUN, 1, 1, 1, [b"e"]),
        CALLS.restore(RECORD, 1, 1),
        CALLS.read(RUN, Position(1, 2), 3, 4),
        CALLS.delete(RECORD),
    ],
    ids=lambda call: call.script,
)
def test_a_script_uses_the_keys_that_it_is_given_and_no_more(call: Call) -> None:
    """Each is named in it."""
    used = {int(number) for number in re.findall(r"KEYS\[(\d+)\]", SCRIPTS[call.script])}
    assert max(used) == len(call.keys)
    assert all(key.startswith("p:") for key in call.keys)


def append(**more: object) -> list[object]:
    """Return the arguments of an append, counted from 1 as Lua does."""
    return [None, *CALLS.append(RECORD, 1, 4, [b"a", b"b"], **more).arguments]  # type: ignore[arg-type]


def test_the_events_begin_where_the_script_looks_for_them() -> None:
    """After all that is always there, whatever kind of append it is."""
    (begin,) = re.findall(r"local FIRST_EVENT = (\d+)", SCRIPTS["append"])
    reaping = Reaping(3, writer_must_be_gone=True)
    for arguments in (append(), append(ending=CREATED), append(ending=Ending(LOST, 1), reaping=reaping)):
        assert arguments[int(begin) :] == [b"a", b"b"]


def test_an_end_says_when_it_is_forgotten() -> None:
    """The run and what the session remembers, each in its own time."""
    arguments = append(ending=CREATED)
    assert arguments[11:16] == ["done", "stop", 5_000_000_000, 7_000_000_000, 2_000]
    assert arguments[17] == 4
    assert arguments[20:22] == [8_000_000_000, 3_000]
    assert append()[11] == append()[16] == ""


def test_an_exchange_that_is_too_long_is_not_remembered() -> None:
    """The run ends all the same."""
    arguments = append(ending=CREATED._replace(exchange=Exchange("too long", "to keep")))
    assert (arguments[11], arguments[16]) == ("done", "")


def test_a_reaper_writes_in_the_next_epoch_and_names_what_it_expects() -> None:
    """And whether the writer's lease must have run out."""
    arguments = append(ending=Ending(LOST, 1), reaping=Reaping(3, writer_must_be_gone=True))
    assert arguments[2] == 1
    assert arguments[22:25] == [2, 3, 1]
    assert append()[22:25] == [1, "", 0]


def test_a_runs_own_keys_share_a_hash_tag() -> None:
    """They lie together wherever keys are spread by it."""
    keys = Keys("p")
    assert {key[key.index("{") : key.index("}") + 1] for key in (keys.meta(RUN), keys.log(RUN))} == {
        "{" + RUN + "}"
    }


def test_what_one_owner_names_is_never_anothers() -> None:
    """An owner's name has no line break: no choice of a session's name leads into another's."""
    keys = Keys("p")
    assert keys.session_live("ann", "x:live") != keys.session_live("ann", "x")
    assert keys.session_runs("a", "b") != keys.session_runs("ab", "")
