"""Which key is whose."""

from __future__ import annotations

from hypothesis import assume, given

from agent_core.log.redis.keys import Keys
from tests.support.pairs import Pair, confusable
from tests.support.stores import record
from tokenwire.principal import owned_key

KEYS = Keys("tw")


def keys_of(owner: str, name: str) -> set[str]:
    """Return every key that is made of an owner and a name."""
    return {
        KEYS.session_live(owner, name),
        KEYS.session_runs(owner, name),
        KEYS.session_said(owner, name),
        KEYS.request(owned_key(owner, name)),
    }


@given(confusable())
def test_two_principals_never_share_a_key(pairs: tuple[Pair, Pair]) -> None:
    """Whatever they are called, and whatever they call their sessions and requests."""
    one, other = pairs
    assume(one != other)
    assert len(keys_of(*one)) == 4
    assert not keys_of(*one) & keys_of(*other)


def test_a_runs_keys_are_those_of_its_owner_and_session() -> None:
    """The names are kept: what an earlier version has stored is found again."""
    keys = KEYS.of_record(record(owner="alice", session="s1", key=owned_key("alice", "r1"), core="c1"))
    assert keys == (
        "tw:open",
        "tw:core:c1:runs",
        "tw:request:alice\nr1",
        "tw:session:alice\ns1:live",
        "tw:session:alice\ns1:runs",
    )
