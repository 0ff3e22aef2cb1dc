"""The address of an issuer's keys."""

from __future__ import annotations

import pytest

from tokenwire.authentication.jwks import JwksEndpoint


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("http://issuer.example.com/jwks.json", 1),
        ("http://issuer.internal:8080/jwks.json", 1),
        ("https://issuer.example.com/jwks.json", 0),
        ("http://127.0.0.1:9/jwks.json", 0),
        ("http://localhost/jwks.json", 0),
    ],
)
def test_keys_over_plain_http_from_another_machine_are_warned_of_at_the_start(
    url: str, warned: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever changes the answer on the way makes tokens: the operator is told once, with the variable."""
    JwksEndpoint(url, refresh_s=300)
    lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(lines) == warned
    assert all("TOKENWIRE_JWT_JWKS_URL is plain HTTP" in line for line in lines)
