"""Who calls the core."""

from __future__ import annotations

import pytest

from agent_core.authentication import ANONYMOUS, Callers
from agent_core.errors import UnauthenticatedError
from tokenwire.principal import METADATA_KEY, sign_principal

KEY = "k" * 32
CERTIFICATE = {"x509_common_name": [b"billing"], "transport_security_type": [b"ssl"]}


def metadata(name: str = "alice", key: str = KEY) -> list[tuple[str, str | bytes]]:
    return [("user-agent", "x"), (METADATA_KEY, sign_principal(name, key))]


def test_without_any_proof_asked_for_everybody_is_the_same() -> None:
    """On loopback, for development."""
    assert Callers().principal_of([], {}) == ANONYMOUS


def test_a_signed_principal_that_can_not_be_verified_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    """Passed over, it would make one owner of all users whom an edge with a key keeps apart."""
    with pytest.raises(UnauthenticatedError):
        Callers().principal_of(metadata(), {})
    with pytest.raises(UnauthenticatedError):
        Callers(certificates=True).principal_of(metadata(), CERTIFICATE)
    assert "TOKENWIRE_PRINCIPAL_KEY is not set here" in caplog.text


def test_with_one_common_owner_signed_principals_are_passed_over() -> None:
    """As the operator has said. Certificates still count."""
    assert Callers(shared_owner=True).principal_of(metadata(), {}) == ANONYMOUS
    shared = Callers(certificates=True, shared_owner=True)
    assert shared.principal_of(metadata(), CERTIFICATE) == "billing"
    with pytest.raises(UnauthenticatedError):
        shared.principal_of(metadata(), {})


def test_a_signed_principal_counts() -> None:
    """As an edge sends it."""
    assert Callers(KEY).principal_of(metadata(), {}) == "alice"


def test_a_certificate_counts() -> None:
    """As a service shows it."""
    assert Callers(certificates=True).principal_of([], CERTIFICATE) == "billing"


def test_a_signed_principal_counts_before_the_certificate_that_brings_it() -> None:
    """An edge calls on behalf of others."""
    assert Callers(KEY, certificates=True).principal_of(metadata(), CERTIFICATE) == "alice"
    assert Callers(KEY, certificates=True).principal_of([], CERTIFICATE) == "billing"


@pytest.mark.parametrize(
    ("callers", "given"),
    [
        (Callers(KEY), []),
        (Callers(KEY), metadata(key="o" * 32)),
        (Callers(KEY), [(METADATA_KEY, b"\xff")]),
        (Callers(certificates=True), metadata()),
    ],
    ids=["nothing", "forged", "bytes", "no certificate"],
)
def test_what_proves_nothing_is_refused(callers: Callers, given: list[tuple[str, str | bytes]]) -> None:
    """There is no falling back to anonymous."""
    with pytest.raises(UnauthenticatedError):
        callers.principal_of(given, {})


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (b" ", "is blank"),
        (b"billing\nWARNING all is well", "can't be printed"),
        (b"bill\xff", "codec can't decode"),
        ("\u202ebilling".encode(), "can't be printed"),
        (b"x" * 300, "longer than"),
    ],
    ids=ascii,
)
def test_a_certificate_whose_name_is_no_principals_is_refused(
    name: bytes, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The rule is that of all principals, and the log says why."""
    with pytest.raises(UnauthenticatedError):
        Callers(certificates=True).principal_of([], {"x509_common_name": [name]})
    assert why in caplog.text


def test_the_key_is_in_no_representation() -> None:
    """It would end up in a log."""
    assert KEY not in repr(Callers(KEY))


def test_however_often_a_stranger_calls_the_log_has_a_line(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever reaches the port could fill the disk otherwise."""
    callers = Callers(principal_key=KEY)
    for _ in range(20):
        with pytest.raises(UnauthenticatedError):
            callers.principal_of(metadata(key="o" * 32), {})
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1
