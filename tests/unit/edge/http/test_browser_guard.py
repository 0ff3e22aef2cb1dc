"""What tells a foreign page's request from others."""

from __future__ import annotations

import pytest
from litestar.exceptions import ClientException

from edge.http.browser_guard import check_content_type, is_same_host


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1:8000"),
        ("http://localhost", "localhost"),
        ("http://localhost", "localhost:80"),
        ("https://chat.example.com", "chat.example.com"),
        ("https://chat.example.com", "chat.example.com:443"),
        ("https://chat.example.com:443", "chat.example.com"),
        ("https://Chat.Example.com", "chat.example.COM."),
        ("http://[::1]:8000", "[::1]:8000"),
    ],
)
def test_a_page_of_this_server_is_known_by_name_and_port(origin: str, host: str) -> None:
    """The scheme may differ before and behind a proxy; a default port may be named or not."""
    assert is_same_host(origin, host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://evil.example", "127.0.0.1:8000"),
        ("http://127.0.0.1:3000", "127.0.0.1:8000"),
        ("http://127.0.0.1:3000", "127.0.0.1"),
        ("http://127.0.0.1", "127.0.0.1:8000"),
        ("http://localhost:8000", "127.0.0.1:8000"),
        ("https://chat.example.com.evil.example", "chat.example.com"),
        ("https://evil.example@chat.example.com:8000", "chat.example.com"),
        ("null", "127.0.0.1:8000"),
        ("null", ""),
        ("", ""),
        ("file://", ""),
        ("chrome-extension://127.0.0.1:8000", "127.0.0.1:8000"),
        ("http://[::1", "[::1"),
        ("http://127.0.0.1:x", "127.0.0.1:8000"),
        ("http://127.0.0.1:8000", "127.0.0.1:x"),
    ],
)
def test_another_page_is_foreign(origin: str, host: str) -> None:
    """Another name, another port, no name, and what is no web page at all."""
    assert not is_same_host(origin, host)


@pytest.mark.parametrize("types", [["application/json"], ["Application/JSON ; charset=utf-8"]])
def test_json_is_json_with_parameters_and_in_capitals(types: list[str]) -> None:
    """With a body and without one."""
    check_content_type(types, has_body=True)
    check_content_type(types, has_body=False)


def test_no_body_needs_no_type() -> None:
    """A cancel has none."""
    check_content_type([], has_body=False)


@pytest.mark.parametrize(
    "types",
    [
        [],
        [""],
        ["text/plain"],
        ["application/x-www-form-urlencoded"],
        ["multipart/form-data; boundary=application/json"],
        ["text/plain; application/json"],
        ["application/jsonp"],
        ["application/json", "text/plain"],
        ["text/plain, application/json"],
    ],
)
def test_a_body_must_say_that_it_is_json(types: list[str]) -> None:
    """What a form or a simple request can say is refused, and so is nothing at all."""
    with pytest.raises(ClientException) as refused:
        check_content_type(types, has_body=True)
    assert refused.value.status_code == 415
    assert refused.value.headers == {"accept-post": "application/json"}
