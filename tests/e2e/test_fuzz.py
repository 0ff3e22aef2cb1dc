"""Whatever is sent to the edge: a clear answer, no 500, no hang."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.processes import Stack

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,negative_data_rejection"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
ANSWER_S = 20.0
FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def answered(response: httpx.Response) -> None:
    """Assert that an answer is a stream, a JSON document or a problem that says nothing internal."""
    assert response.status_code < 500, response.text
    kind = response.headers.get("content-type", "")
    if response.status_code >= 400:
        assert kind == "application/problem+json"
        problem = response.json()
        assert problem["status"] == response.status_code
        assert "Traceback" not in response.text
        assert "/" not in problem["detail"] or "`" in problem["detail"]


def test_the_openapi_document_is_kept(stack: Stack, tmp_path: Path) -> None:
    """Schemathesis, from the document alone, finds no 500, and no answer that it does not tell."""
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{stack.url}/schema"),
            *("--checks", CHECKS, "--max-examples", "15", "--request-timeout", str(ANSWER_S), "--no-color"),
            *("--exclude-path-regex", "^/(assets|$)", "--generation-database", "none", "--seed", "1"),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]


@FUZZ
@given(body=st.binary(max_size=300) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_answered(stack: Stack, body: bytes) -> None:
    """Bytes that are no UTF-8, no JSON, or not the right JSON."""
    headers = {"content-type": "application/json"}
    with httpx.Client(base_url=stack.url, timeout=ANSWER_S, trust_env=False) as client:
        answered(client.post("/api/chat", content=body, headers=headers))


@FUZZ
@given(
    fields=st.fixed_dictionaries(
        {"message": JSON, "sessionId": JSON},
        optional={"userId": JSON, "agent": JSON, "onDisconnect": JSON, "extra": JSON},
    )
)
def test_any_fields_are_answered(stack: Stack, fields: dict[str, Any]) -> None:
    """Right names with wrong types, and right types with odd values."""
    with httpx.Client(base_url=stack.url, timeout=ANSWER_S, trust_env=False) as client:
        answered(client.post("/api/chat", json=fields))


@FUZZ
@given(
    run_id=st.text(alphabet=st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=60),
    last=st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=200),
    after=st.text(alphabet=st.characters(blacklist_categories=["Cs"]), max_size=60),
)
def test_any_id_is_answered(stack: Stack, run_id: str, last: str, after: str) -> None:
    """Run ids, cursors in the header and in the query."""
    with httpx.Client(base_url=stack.url, timeout=ANSWER_S, trust_env=False) as client:
        path = f"/api/runs/{quote(run_id, safe='')}"
        answered(
            client.get(f"{path}/events", headers={"last-event-id": last.strip()}, params={"after": after})
        )
        answered(client.post(f"{path}/cancel"))


@FUZZ
@given(
    name=st.sampled_from(
        ["accept", "traceparent", "tracestate", "authorization", "last-event-id", "host", "x-y"]
    ),
    value=st.binary(max_size=100).map(lambda raw: bytes(byte for byte in raw if byte >= 32 and byte != 127)),
)
def test_any_header_is_answered(stack: Stack, name: str, value: bytes) -> None:
    """Headers that are no ASCII, no trace context, or nothing at all."""
    with httpx.Client(base_url=stack.url, timeout=ANSWER_S, trust_env=False) as client:
        body = {"message": "a", "sessionId": "s", "agent": "echo"}
        headers = [(name.encode(), value.strip())]
        answered(client.post("/api/chat", json=body, headers=headers))


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"", 400, "body"),
        (b"{}", 400, "message"),
        (b'{"message":"","sessionId":"s"}', 400, "message"),
        (b'{"message":"hi"}', 400, "sessionId"),
        (b'{"message":"hi","sessionId":"a b"}', 400, "sessionId"),
        (b'{"message":7,"sessionId":"s"}', 400, "message"),
        (b'{"message":"hi","sessionId":"s","onDisconnect":"never"}', 400, "onDisconnect"),
        (b'{"message":"\xff","sessionId":"s"}', 400, "body"),
        (b"[" * 100_000, 400, "body"),
        (b'{"message":"' + b"x" * 200_000 + b'","sessionId":"s"}', 400, "message"),
        (b'{"message":"' + b"x" * 300_000 + b'","sessionId":"s"}', 413, None),
        (b'{"message":"hi","sessionId":"s","agent":"nobody"}', 404, None),
    ],
    ids=[
        "empty", "no fields", "empty message", "no session", "bad session", "wrong type", "wrong word",
        "no UTF-8", "deep", "long message", "huge", "no such agent",
    ],
)  # fmt: skip
def test_bad_input_is_named(stack: Stack, body: bytes, status: int, field: str | None) -> None:
    """The answer says what is wrong, and where."""
    headers = {"content-type": "application/json"}
    response = httpx.post(
        f"{stack.url}/api/chat", content=body, headers=headers, timeout=ANSWER_S, trust_env=False
    )
    answered(response)
    assert response.status_code == status
    assert response.json().get("details", {}).get("field") == field
