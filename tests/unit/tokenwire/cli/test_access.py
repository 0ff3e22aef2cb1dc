"""What `ask` says of a server that refuses it, or that is not there."""

from __future__ import annotations

import pytest

from tokenwire.cli.access import AT_THE_CORE, AT_THE_EDGE, OTHER_KEY, Access
from tokenwire.client import ClientError, ConnectionLostError, RefusedError, UnreachableError

CORES = ("127.0.0.1:1",)


@pytest.mark.parametrize(
    ("access", "hint"),
    [
        (Access(CORES), AT_THE_CORE),
        (Access(CORES, principal_key="p" * 32), AT_THE_CORE),
        (Access(CORES, api_key="tw_key"), ""),
        (Access(CORES, api_key="tw_key", principal_key="p" * 32), OTHER_KEY),
        (Access(url="http://127.0.0.1:1", api_key="tw_key"), AT_THE_EDGE),
    ],
    ids=["nothing", "principal key", "API key", "both", "edge"],
)
def test_a_refused_call_is_told_what_it_was_made_with(access: Access, hint: str) -> None:
    """With both keys the API key is not sent: who has set it would look for the fault there."""
    assert access.how_to_prove() == hint


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            UnreachableError("Can't reach the core at x:1."),
            "Can't reach the core at x:1: is it running? (`tokenwire up` starts one.)",
        ),
        (
            RefusedError("UNAUTHENTICATED", "Authentication is required.", {"reason": "PRINCIPAL_MISSING"}),
            f"UNAUTHENTICATED: Authentication is required. {AT_THE_CORE}",
        ),
        (
            RefusedError("NOT_FOUND", "No such agent.", {"known": "a b"}),
            "NOT_FOUND: No such agent. (known: a b)",
        ),
        (
            RefusedError(
                "UNKNOWN", "the edge does not answer like an edge: check the URL.", {"reason": "NOT_AN_EDGE"}
            ),
            "the edge does not answer like an edge: check the URL: --url (TOKENWIRE_URL).",
        ),
        (ConnectionLostError("the connection was lost"), "the connection was lost"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_says_what_to_do_at_the_command_line(error: ClientError, text: str) -> None:
    """The client knows no options and no variables."""
    assert Access(CORES).describe(error) == text
