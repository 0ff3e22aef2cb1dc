"""What the processes that the command line starts are given."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tokenwire.cli.environment import (
    core_environment_of,
    environment_of,
    made_principal_key,
    write_in_capitals,
)
from tokenwire.principal import MIN_KEY_BYTES
from tokenwire.variables import CORE, EDGE, VARIABLES, Reader

KEY = {"TOKENWIRE_PRINCIPAL_KEY": "p" * 32}
SECRETS = {
    "TOKENWIRE_MODEL_KEY": CORE,
    "OPENAI_API_KEY": CORE,
    "TOKENWIRE_STORE": CORE,
    "TOKENWIRE_PRINCIPAL_KEY": CORE | EDGE,
    "TOKENWIRE_API_KEYS": CORE | EDGE,
    "TOKENWIRE_TICKET_KEY": EDGE,
    "TOKENWIRE_API_KEY": Reader(0),
}
"""Each secret, and the processes that need it. A store's address holds the password of Redis; API keys are
hashes there, which let nobody in."""

BEARERS = {"TOKENWIRE_AUTH": "keys,jwt", "TOKENWIRE_API_KEYS": "x", "TOKENWIRE_JWT_ISSUER": "i"}


def test_every_secret_is_in_this_test() -> None:
    """A new one fails here until it was said which process needs it."""
    known = {name for name, variable in VARIABLES.items() if variable.is_secret}
    assert known | {"TOKENWIRE_STORE"} == {*SECRETS}


@pytest.mark.parametrize("reader", [CORE, EDGE])
def test_a_process_gets_the_secrets_that_it_needs(reader: Reader) -> None:
    """However the variable is written: the settings do not look at its case."""
    for name, needed_by in SECRETS.items():
        for written in (name, name.lower()):
            assert (written in environment_of(reader, {written: "secret"})) == (reader in needed_by), name


def test_our_variables_are_read_however_they_are_written() -> None:
    """Capitals stand; what is not known stays as it is, and the processes tell of it."""
    given = {"tokenwire_patience_s": "1", "Tokenwire_Via": "sse", "TOKENWIRE_URL": "http://x", "OTHER": "1"}
    given |= {"tokenwire_url": "http://y", "tokenwire_nonsense": "y", "openai_api_key": "z"}
    write_in_capitals(given)
    assert given == {
        "TOKENWIRE_PATIENCE_S": "1",
        "TOKENWIRE_VIA": "sse",
        "TOKENWIRE_URL": "http://x",
        "OTHER": "1",
        "tokenwire_nonsense": "y",
        "openai_api_key": "z",
    }


def test_what_is_not_ours_is_handed_on() -> None:
    """An agent of the operator's reads what it likes, and so does OpenTelemetry."""
    others = {"PATH": "/bin", "OTEL_SDK_DISABLED": "true", "TOKENWIRE_TEST_JOURNAL": "x", "MY_KEY": "y"}
    assert environment_of(CORE, others) == others
    assert environment_of(EDGE, others) == others


@pytest.mark.parametrize("auth", ["keys", "jwt", "keys,jwt", "keys, jwt", "rubbish"])
def test_where_users_prove_who_they_are_a_key_is_made(auth: str) -> None:
    """Another one each time, long enough, also where the variable is there and empty."""
    given = {"TOKENWIRE_AUTH": auth, "TOKENWIRE_PRINCIPAL_KEY": ""}
    keys = {made_principal_key(given)["TOKENWIRE_PRINCIPAL_KEY"] for _ in range(3)}
    assert len(keys) == 3
    assert all(len(key) >= MIN_KEY_BYTES for key in keys)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"TOKENWIRE_AUTH": "none"},
        {"TOKENWIRE_AUTH": "keys", **KEY},
        {"TOKENWIRE_AUTH": "keys", "TOKENWIRE_SHARED_OWNER": "True"},
        {"TOKENWIRE_AUTH": "keys", "TOKENWIRE_SHARED_OWNER": "1"},
    ],
    ids=str,
)
def test_elsewhere_no_key_is_made(given: dict[str, str]) -> None:
    """Without authentication `tokenwire ask` still calls the core; what the operator has set stands."""
    assert made_principal_key(given) == {}


def test_the_core_checks_the_bearers_that_the_edge_checks() -> None:
    """So that `tokenwire ask` may call either with one key."""
    assert core_environment_of(BEARERS) == environment_of(EDGE, BEARERS) == BEARERS


@pytest.mark.parametrize("written", [str.upper, str.lower])
def test_a_core_whose_edge_proves_nothing_checks_no_bearers(written: Callable[[str], str]) -> None:
    """Where all users are one owner: it would refuse the edge. It is given no hashes of keys either."""
    given = {written(name): value for name, value in BEARERS.items()}
    assert core_environment_of({**given, "TOKENWIRE_SHARED_OWNER": "true"}) == {
        "TOKENWIRE_SHARED_OWNER": "true"
    }
