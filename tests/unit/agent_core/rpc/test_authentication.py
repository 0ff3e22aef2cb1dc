"""Who calls the core."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agent_core.errors import (
    BearerNotAcceptedError,
    BearerRefusedError,
    IssuerUnavailableError,
    LinkNotAllowedError,
    RefusalError,
    UnauthenticatedError,
)
from agent_core.rpc.authentication import ANONYMOUS, Callers
from tests.support.issuer import AUDIENCE, ISSUER, Signer
from tokenwire.authentication import ApiKeys, JwtRules, JwtTokens
from tokenwire.authentication.api_keys import hash_of
from tokenwire.authentication.jwks import JwksEndpoint
from tokenwire.logs import Redactor
from tokenwire.principal import METADATA_KEY, sign_principal

KEY = "k" * 32
CERTIFICATE = {"x509_common_name": [b"billing"], "transport_security_type": [b"ssl"]}


def metadata(name: str = "alice", key: str = KEY) -> list[tuple[str, str | bytes]]:
    return [("user-agent", "x"), (METADATA_KEY, sign_principal(name, key))]


async def test_without_any_proof_asked_for_everybody_is_the_same() -> None:
    """On loopback, for development."""
    assert await Callers().principal_of([], {}) == ANONYMOUS


async def test_a_signed_principal_that_can_not_be_verified_is_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Passed over, it would make one owner of all users whom an edge with a key keeps apart."""
    with pytest.raises(UnauthenticatedError):
        await Callers().principal_of(metadata(), {})
    with pytest.raises(UnauthenticatedError):
        await Callers(certificates=True).principal_of(metadata(), CERTIFICATE)
    assert "TOKENWIRE_PRINCIPAL_KEY is not set here" in caplog.text


async def test_with_one_common_owner_signed_principals_are_passed_over() -> None:
    """As the operator has said. Certificates still count."""
    assert await Callers(shared_owner=True).principal_of(metadata(), {}) == ANONYMOUS
    shared = Callers(certificates=True, shared_owner=True)
    assert await shared.principal_of(metadata(), CERTIFICATE) == "billing"
    with pytest.raises(UnauthenticatedError):
        await shared.principal_of(metadata(), {})


async def test_a_signed_principal_counts() -> None:
    """As an edge sends it."""
    assert await Callers(KEY).principal_of(metadata(), {}) == "alice"


async def test_a_certificate_counts() -> None:
    """As a service shows it."""
    assert await Callers(certificates=True).principal_of([], CERTIFICATE) == "billing"


async def test_a_signed_principal_counts_before_the_certificate_that_brings_it() -> None:
    """An edge calls on behalf of others."""
    assert await Callers(KEY, certificates=True).principal_of(metadata(), CERTIFICATE) == "alice"
    assert await Callers(KEY, certificates=True).principal_of([], CERTIFICATE) == "billing"


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
async def test_what_proves_nothing_is_refused(callers: Callers, given: list[tuple[str, str | bytes]]) -> None:
    """There is no falling back to anonymous."""
    with pytest.raises(UnauthenticatedError):
        await callers.principal_of(given, {})


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (b" ", "is blank"),
        (b"billing\nWARNING all is well", "can't be printed"),
        (b"bill\xff", "codec can't decode"),
        ("\u202ebilling".encode(), "can't be printed"),
        (b"x" * 300, "longer than"),
        (b"jwt:alice", "the issuer's users"),
    ],
    ids=ascii,
)
async def test_a_certificate_whose_name_is_no_principals_is_refused(
    name: bytes, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The rule is that of all principals, and the log says why."""
    with pytest.raises(UnauthenticatedError):
        await Callers(certificates=True).principal_of([], {"x509_common_name": [name]})
    assert why in caplog.text


def test_the_key_is_in_no_representation() -> None:
    """It would end up in a log."""
    assert KEY not in repr(Callers(KEY))


async def test_however_often_a_stranger_calls_the_log_has_a_line(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever reaches the port could fill the disk otherwise."""
    callers = Callers(principal_key=KEY)
    for _ in range(20):
        with pytest.raises(UnauthenticatedError):
            await callers.principal_of(metadata(key="o" * 32), {})
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1


API_KEY = "tw_a-key"
KEYS = ApiKeys({hash_of(API_KEY): "bob"})


def bearing(*values: str | bytes) -> list[tuple[str, str | bytes]]:
    return [("authorization", value) for value in values]


async def test_an_api_key_counts() -> None:
    """As at the edge, and in any case of the scheme's name."""
    for value in (f"Bearer {API_KEY}", f"bearer {API_KEY}", f"Bearer {API_KEY}".encode()):
        assert await Callers(bearers=KEYS).principal_of(bearing(value), {}) == "bob"


async def test_the_proofs_have_an_order() -> None:
    """A signed principal, then a bearer, then the certificate, which edges and services show anyway."""
    callers = Callers(KEY, certificates=True, bearers=KEYS)
    key = bearing(f"Bearer {API_KEY}")
    assert await callers.principal_of([*metadata(), *key], CERTIFICATE) == "alice"
    assert await callers.principal_of(key, CERTIFICATE) == "bob"
    assert await callers.principal_of([], CERTIFICATE) == "billing"


async def test_beside_a_valid_signed_principal_a_bearer_is_not_looked_at() -> None:
    """A proxy between edge and core may add one of its own."""
    for callers in (Callers(KEY), Callers(KEY, bearers=KEYS)):
        assert await callers.principal_of([*metadata(), *bearing("Bearer a-proxys")], {}) == "alice"


async def test_a_bearer_makes_no_forged_principal_good() -> None:
    """Who claims to call for another does not become himself when that fails."""
    given = [*metadata(key="o" * 32), *bearing(f"Bearer {API_KEY}")]
    for callers in (Callers(KEY, bearers=KEYS), Callers(bearers=KEYS)):
        with pytest.raises(UnauthenticatedError):
            await callers.principal_of(given, {})


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (["Bearer tw_another"], "KEY_INVALID"),
        (["Bearer \u00e9"], "KEY_INVALID"),
        ([b"Bearer \xff"], "KEY_INVALID"),
        ([f"Bearer {API_KEY}", f"Bearer {API_KEY}"], "KEY_INVALID"),
        ([f"Bearer {API_KEY}", "Basic YTpi"], "KEY_INVALID"),
        (["Bearer"], "CREDENTIALS_MISSING"),
        (["Basic YTpi"], "CREDENTIALS_MISSING"),
        ([API_KEY], "CREDENTIALS_MISSING"),
    ],
    ids=["another", "no ASCII", "no UTF-8", "twice", "of two schemes", "nothing", "basic", "no scheme"],
)
async def test_a_bearer_that_proves_nobody_is_not_passed_over_for_a_certificate(
    values: list[str | bytes], reason: str
) -> None:
    """Whoever sends it means to be somebody, and must not become somebody else."""
    callers = Callers(KEY, certificates=True, bearers=KEYS)
    with pytest.raises(BearerRefusedError) as caught:
        await callers.principal_of(bearing(*values), CERTIFICATE)
    assert (caught.value.code, caught.value.reason) == ("UNAUTHENTICATED", reason)


async def test_with_bearers_accepted_nobody_is_anonymous() -> None:
    """Also without a principal key and without certificates; an empty entry bears nothing."""
    for given in ([], bearing(""), bearing("  ")):
        with pytest.raises(UnauthenticatedError) as caught:
            await Callers(bearers=KEYS).principal_of(given, {})
        assert caught.value.reason == "PRINCIPAL_MISSING"


@pytest.mark.parametrize("value", ["Bearer tw_a-key", "Basic YTpi", "x"])
async def test_a_core_that_accepts_no_bearers_says_so(value: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a certificate nor being alone on a machine makes another caller of who sends one."""
    for callers in (Callers(), Callers(KEY), Callers(certificates=True), Callers(shared_owner=True)):
        with pytest.raises(BearerNotAcceptedError) as caught:
            await callers.principal_of(bearing(value), CERTIFICATE)
        assert (caught.value.code, caught.value.reason) == ("UNAUTHENTICATED", "BEARER_NOT_ACCEPTED")
        assert value not in caught.value.message
    assert "credentials were refused: TOKENWIRE_AUTH is not set here" in caplog.text


async def test_an_issuer_that_is_away_is_not_the_callers_fault() -> None:
    """UNAVAILABLE, and when to come back."""
    away = JwtTokens(JwksEndpoint("http://127.0.0.1:9/jwks.json", refresh_s=300), JwtRules(ISSUER, AUDIENCE))
    with pytest.raises(IssuerUnavailableError) as caught:
        await Callers(bearers=away).principal_of(bearing(f"Bearer {Signer().token()}"), CERTIFICATE)
    assert (caught.value.code, caught.value.reason) == ("UNAVAILABLE", "ISSUER_AWAY")
    assert caught.value.retry_after_s is not None
    assert caught.value.retry_after_s >= 1


async def test_of_refused_bearers_the_log_says_why_and_shows_none(caplog: pytest.LogCaptureFixture) -> None:
    """A line a minute, however often a stranger calls."""
    callers = Callers(bearers=KEYS)
    for _ in range(20):
        with pytest.raises(RefusalError):
            await callers.principal_of(bearing("Bearer tw_a-secret"), {})
    (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
    line = "credentials were refused: KEY_INVALID: The API key is not valid."
    assert record.getMessage() == Redactor({})(line) == line
    assert API_KEY not in repr(callers)


@pytest.mark.parametrize(
    ("callers", "given", "shown", "name"),
    [
        (Callers(), list, {}, ANONYMOUS),
        (Callers(KEY), lambda: metadata("edge"), {}, "edge"),
        (Callers(certificates=True), list, CERTIFICATE, "billing"),
        (Callers(KEY, certificates=True), list, CERTIFICATE, "billing"),
        (Callers(KEY, bearers=KEYS), lambda: [*metadata("edge"), *bearing(f"Bearer {API_KEY}")], {}, "edge"),
        (Callers(certificates=True, shared_owner=True), lambda: metadata("edge"), CERTIFICATE, "billing"),
        (Callers(shared_owner=True), lambda: metadata("edge"), {}, ANONYMOUS),
    ],
    ids=[
        "anybody",
        "signed",
        "certificate",
        "certificate beside a key",
        "signed and bearer",
        "shared",
        "all",
    ],
)
def test_an_edge_opens_a_link(
    callers: Callers,
    given: Callable[[], list[tuple[str, str | bytes]]],
    shown: dict[str, list[bytes]],
    name: str,
) -> None:
    """By what lets its calls in, but for what it bears."""
    assert callers.edge_of(given(), shown) == name


@pytest.mark.parametrize(
    "callers",
    [Callers(), Callers(KEY), Callers(bearers=KEYS), Callers(certificates=True, shared_owner=True)],
    ids=["no proof", "key", "bearers", "shared"],
)
def test_who_bears_something_opens_no_link(callers: Callers) -> None:
    """A good API key, too: its owner could ask on behalf of nobody else, and needs no link."""
    with pytest.raises(LinkNotAllowedError):
        callers.edge_of(bearing(f"Bearer {API_KEY}"), CERTIFICATE)


@pytest.mark.parametrize("callers", [Callers(KEY), Callers(bearers=KEYS), Callers(certificates=True)])
def test_who_proves_nothing_opens_no_link_and_is_nobodys_caller(callers: Callers) -> None:
    """Neither the link nor a request on it falls back to anonymous."""
    with pytest.raises(UnauthenticatedError):
        callers.edge_of([], {})
    with pytest.raises(UnauthenticatedError):
        callers.caller_of(None, {})
