"""What the OpenAPI document says of who may call, for each way in which the edge can be set up."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis

from edge.app import API, OPENAI_API, create_app
from edge.settings import EdgeSettings
from tests.support.issuer import AUDIENCE, ISSUER, Signer

ENTRY = f"ann sha256:{'0' * 64}"
BEARERS = {"none": [], "keys": ["apiKey"], "jwt": ["jwt"], "keys,jwt": ["apiKey", "jwt"]}


@pytest.fixture(params=[*BEARERS])
def auth(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def document(auth: str, tmp_path: Any) -> dict[str, Any]:
    """The document of an edge with this TOKENWIRE_AUTH."""
    file = tmp_path / "issuer.pem"
    file.write_bytes(Signer().pem())
    settings = {
        "api_keys": ENTRY,
        "jwt_issuer": ISSUER,
        "jwt_audience": AUDIENCE,
        "jwt_keys_file": file,
        "principal_key": "p" * 32,
    }
    app = create_app(EdgeSettings(auth=auth, **settings))
    schema: dict[str, Any] = app.openapi_schema.to_schema()
    return schema


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each operation with its path."""
    for path, item in document["paths"].items():
        for operation in item.values():
            yield path, operation


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    """By the schema of OpenAPI 3.1 itself, as Schemathesis has it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schemathesis.openapi.from_dict(document).validate()


def test_only_what_is_set_up_is_told(document: dict[str, Any], auth: str) -> None:
    """Without authentication there are no schemes, not even tickets."""
    schemes = document["components"].get("securitySchemes", {})
    assert [*schemes] == [*BEARERS[auth], *(["ticket"] if BEARERS[auth] else [])]
    for name in BEARERS[auth]:
        assert (schemes[name]["type"], schemes[name]["scheme"]) == ("http", "bearer")
    if schemes:
        ticket = schemes["ticket"]
        assert (ticket["type"], ticket["in"], ticket["name"]) == ("apiKey", "query", "ticket")


def test_each_operation_says_what_it_takes(document: dict[str, Any], auth: str) -> None:
    """One bearer of those that are set up; a ticket for a run's events alone; health needs none."""
    bearers = [{name: []} for name in BEARERS[auth]]
    seen = 0
    for path, operation in operations(document):
        if not path.startswith(("/api/", "/v1/")):
            assert "security" not in operation, path
            continue
        seen += 1
        tickets = [{"ticket": []}] if bearers and path.endswith("/events") else []
        assert operation.get("security", []) == bearers + tickets, path
        assert "401" in operation["responses"], path
    assert seen == len(API) + len(OPENAI_API)
