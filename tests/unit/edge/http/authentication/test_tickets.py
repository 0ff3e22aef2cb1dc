"""What a ticket opens, and to whom."""

from __future__ import annotations

import time
from collections.abc import Callable

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import UnauthenticatedError
from edge.http.authentication.tickets import AUDIENCE, LEEWAY_S, Tickets, ticket_key
from tokenwire.principal import PrincipalError, sign_principal, verify_principal

KEY = b"k" * 32
RUN, OTHER = "a" * 30, "b" * 30


def tickets(key: bytes = KEY, ago_s: float = 0, lifetime_s: float = 3600) -> Tickets:
    return Tickets(key, lifetime_s=lifetime_s, now_unix_s=lambda: time.time() - ago_s)


def refused(ticket: str, run_id: str = RUN) -> str:
    with pytest.raises(UnauthenticatedError) as caught:
        tickets().principal_of(ticket, run_id)
    assert caught.value.challenge == 'Bearer error="invalid_token"'
    return caught.value.details["reason"]


def test_a_ticket_is_its_principals_and_its_runs_for_as_long_as_it_says() -> None:
    """It can be used again and again until then: an EventSource reconnects with the URL that it has."""
    made = tickets().issue("jwt:Åsa", RUN)
    assert [tickets().principal_of(made.text, RUN) for _ in range(3)] == ["jwt:Åsa"] * 3
    assert 3000 <= made.expire_unix_s - time.time() <= 3600
    assert refused(made.text, OTHER) == "TICKET_INVALID"


def test_an_expired_ticket_is_told_to_be_expired() -> None:
    """The page asks for another one then."""
    assert refused(tickets(ago_s=3600 + LEEWAY_S + 5).issue("alice", RUN).text) == "TICKET_EXPIRED"
    assert refused(tickets(ago_s=-7200).issue("alice", RUN).text) == "TICKET_INVALID"


@pytest.mark.parametrize(
    "make",
    [
        lambda: tickets(b"o" * 32).issue("alice", RUN).text,
        lambda: sign_principal("alice", KEY.decode()),
        lambda: jwt.encode({"aud": AUDIENCE, "sub": "alice", "run": RUN, "iat": 0, "exp": 2e9}, None, "none"),
        lambda: jwt.encode({"aud": AUDIENCE, "sub": "alice", "run": RUN, "iat": 0}, KEY, "HS256"),
        lambda: jwt.encode({"aud": AUDIENCE, "sub": "alice", "iat": 0, "exp": 2e9}, KEY, "HS256"),
        lambda: jwt.encode({"aud": AUDIENCE, "sub": "a", "run": [RUN], "iat": 0, "exp": 2e9}, KEY, "HS256"),
        lambda: jwt.encode({"aud": "x", "sub": "a", "run": RUN, "iat": 0, "exp": 2e9}, KEY, "HS256"),
        lambda: jwt.encode({"aud": AUDIENCE, "sub": "a\n", "run": RUN, "iat": 0, "exp": 2e9}, KEY, "HS256"),
        lambda: "",
        lambda: "a.b.c",
        lambda: "x" * 5000,
    ],
    ids=[
        "another key", "a principal's proof", "unsigned", "endless", "of no run", "of a list",
        "another audience", "of no name", "empty", "no JWT", "huge",
    ],
)  # fmt: skip
def test_what_is_no_ticket_of_ours_opens_nothing(make: Callable[[], str]) -> None:
    """Every one is refused in the same words."""
    assert refused(make()) == "TICKET_INVALID"


@settings(deadline=None)
@given(place=st.floats(0, 0.999), letter=st.sampled_from("ABCabc012-_.é"))
def test_a_changed_ticket_opens_nothing(place: float, letter: str) -> None:
    """One letter is enough."""
    at = int(place * len(TICKET))
    changed = TICKET[:at] + letter + TICKET[at + 1 :]
    if changed != TICKET:
        assert refused(changed) == "TICKET_INVALID"


TICKET = tickets().issue("alice", RUN).text


def test_a_ticket_proves_nobody_to_the_core() -> None:
    """Even if somebody sets one key for both."""
    with pytest.raises(PrincipalError):
        verify_principal(TICKET, KEY.decode())


def test_edges_that_share_a_key_take_each_others_tickets() -> None:
    """The ticket key, else one that is derived from the principal key; and without both, nobody's."""
    principal_key = "p" * 32
    assert ticket_key("t" * 32, principal_key) == b"t" * 32
    derived = ticket_key("", principal_key)
    assert derived == ticket_key("", principal_key)
    assert len(derived) == 32
    assert derived != principal_key.encode()
    assert ticket_key("", "") != ticket_key("", "")
