"""Addresses and credentials of the client."""

from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Any

import pytest

from tests.support.scripted_transport import RUN_ID
from tokenwire.client import Client, ExposedKeyWarning
from tokenwire.client.grpc_transport import GrpcTransport
from tokenwire.client.sse_transport import SseTransport


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("http://127.0.0.1:8000", SseTransport),
        ("https://tokenwire.example.com", SseTransport),
        ("HTTP://localhost", SseTransport),
        ("grpc://127.0.0.1:50051", GrpcTransport),
        ("grpc://[::1]:1,core.invalid:2", GrpcTransport),
        ("grpc://unix:/run/core.sock", GrpcTransport),
        ("grpcs://core.invalid:1", GrpcTransport),
    ],
)
async def test_the_scheme_names_the_way(url: str, kind: type) -> None:
    """Nothing is connected before it is needed."""
    async with Client(url) as client:
        assert type(client._transport) is kind


@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        ("", {}, "is not an address"),
        ("127.0.0.1:8000", {}, "is not an address"),
        ("ftp://x", {}, "is not an address"),
        ("grpc://127.0.0.1", {}, "is not HOST:PORT"),
        ("grpc://a:1,a:1", {}, "lists a core twice"),
        ("grpc://core.invalid:1", {"api_key": "tw_secret"}, "core.invalid:1 unencrypted"),
        ("http://127.0.0.1:1", {"api_key": "tw_secret\n"}, "api_key has characters"),
        ("grpc://127.0.0.1:1", {"api_key": "tw_secret\n"}, "api_key has characters"),
        ("http://127.0.0.1:1", {"api_key": "tw_secret\u2026"}, "api_key has characters"),
        ("grpc://127.0.0.1:1", {"tls_ca": __file__}, "grpcs://"),
        ("http://127.0.0.1:1", {"tls_ca": __file__}, "https://"),
        ("grpcs://a:1", {"tls_cert": __file__}, "must be given together"),
        ("grpc://127.0.0.1:1", {"principal_key": "k" * 32}, "principal"),
    ],
)
def test_what_can_not_work_is_said_at_once(url: str, options: dict[str, Any], words: str) -> None:
    """Before anything is sent, and without the key."""
    with pytest.raises(ValueError, match=words) as raised:
        Client(url, **options)
    assert "secret" not in str(raised.value)


def test_a_key_that_others_can_read_is_warned_of() -> None:
    """Plain HTTP to another machine: the warning names it and the caller's line, and not the key."""
    with pytest.warns(ExposedKeyWarning, match=r"edge\.invalid over plain HTTP") as warned:
        Client("http://edge.invalid:8000", api_key="tw_secret")
    assert [each.filename for each in warned] == [__file__]
    assert "secret" not in str(warned[0].message)


@pytest.mark.parametrize(
    ("url", "api_key"),
    [
        ("http://127.0.0.1:8000", "tw_secret"),
        ("http://localhost:8000", "tw_secret"),
        ("http://[::1]:8000", "tw_secret"),
        ("https://edge.invalid", "tw_secret"),
        ("http://edge.invalid:8000", ""),
    ],
)
def test_a_key_that_stays_private_is_not_warned_of(url: str, api_key: str) -> None:
    """On this machine, or with TLS; or there is none."""
    with warnings.catch_warnings(action="error"):
        Client(url, api_key=api_key)


@pytest.mark.parametrize(
    ("run_id", "after"), [("r", ""), (RUN_ID, "r.1.1"), (RUN_ID, f"{RUN_ID[::-1]}.1.1"), (RUN_ID, RUN_ID)]
)
async def test_only_an_event_of_the_run_is_followed_after(run_id: str, after: str) -> None:
    """A mistake would skip text, or be refused later."""
    async with Client("grpc://127.0.0.1:1") as client:
        with pytest.raises(ValueError, match=r"run|event"):
            client.follow(run_id, after=after)


def test_the_client_loads_only_what_it_needs() -> None:
    """Neither a process, nor the libraries of both ways."""
    code = (
        "import sys, tokenwire.client; "
        "sys.exit(bool({'edge', 'agent_core', 'grpc', 'httpx', 'litestar', 'jwt'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
