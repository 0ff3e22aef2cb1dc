"""An address means the same wherever it is set."""

from __future__ import annotations

import errno
import socket

import httpx
import pytest

from tokenwire.addresses import (
    address_of,
    channel_options,
    is_exposed,
    is_loopback,
    read_grpc_host,
    read_host,
    read_target,
    read_targets,
    split_target,
    try_bind,
    unproxied,
)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("[::1]", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("LOCALHOST", True),
        ("localhost.", True),
        ("unix:/run/core.sock", True),
        ("0.0.0.0", False),
        ("::", False),
        ("::ffff:10.0.0.1", False),
        ("example.org", False),
        ("localhost.example.org", False),
        ("10.0.0.1", False),
    ],
)
def test_loopback_is_this_machine_alone(host: str, loopback: bool) -> None:
    """Anything else can be reached by others."""
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("127.0.0.1", "127.0.0.1"),
        (" 0.0.0.0 ", "0.0.0.0"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("::", "::"),
        ("[::]", "::"),
        ("localhost", "localhost"),
        ("core-1.example.org", "core-1.example.org"),
    ],
)
def test_a_host_stands_with_or_without_brackets(text: str, host: str) -> None:
    """The core wanted brackets, and the edge none."""
    assert read_host(text) == host
    assert read_grpc_host(text) == host


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("127.0.0.1:8000", "includes a port"),
        ("localhost:8000", "includes a port"),
        ("[::1]:8000", "includes a port"),
        ("[127.0.0.1]", "not an IPv6 address"),
        ("http://127.0.0.1", "neither an address nor a host name"),
        ("a b", "neither an address nor a host name"),
        ("::1::2", "neither an address nor a host name"),
    ],
)
def test_what_is_no_host_is_refused_with_the_reason(text: str, why: str) -> None:
    """At the start, not when the first connection fails."""
    with pytest.raises(ValueError, match=why):
        read_host(text)


@pytest.mark.parametrize(
    ("text", "target", "parts"),
    [
        ("127.0.0.1:50051", "127.0.0.1:50051", ("127.0.0.1", 50051)),
        (" core:50051", "core:50051", ("core", 50051)),
        ("[::1]:50051", "[::1]:50051", ("::1", 50051)),
        ("dns:///core:50051", "core:50051", ("core", 50051)),
        ("unix:/run/core.sock", "unix:/run/core.sock", ("/run/core.sock", None)),
        ("unix:///run/core.sock", "unix:/run/core.sock", ("/run/core.sock", None)),
        ("unix:core.sock", "unix:core.sock", ("core.sock", None)),
    ],
)
def test_a_core_is_found_at_an_address_in_one_form(
    text: str, target: str, parts: tuple[str, int | None]
) -> None:
    """Two ways to write one core must not look like two cores."""
    assert read_target(text) == target
    assert split_target(target) == parts
    assert address_of(parts[0] if parts[1] else f"unix:{parts[0]}", parts[1] or 0) == target


@pytest.mark.parametrize("text", ["::1:50051", "::1:8000", "2001:db8::1", "::1"])
def test_a_bare_ipv6_address_with_a_port_is_refused_with_the_way_to_write_it(text: str) -> None:
    """`::1:8000` is an IPv6 address by itself: nobody can tell the port."""
    with pytest.raises(ValueError, match=r"write an IPv6 address in brackets, as in \[::1\]:50051"):
        read_target(text)


@pytest.mark.parametrize(
    "text",
    ["", "core", "core:", ":50051", "core:0", "core:65536", "core:x", "http://core:1", "[::1]", "a b:1"],
)
def test_what_is_no_target_is_refused(text: str) -> None:
    """At the start, not by an edge that never gets ready."""
    with pytest.raises(ValueError, match="is not HOST:PORT"):
        read_target(text)


@pytest.mark.parametrize(
    "text", ["unix:", "unix:////core.sock", "unix://host/core.sock", f"unix:/{'x' * 107}"]
)
def test_what_is_no_unix_socket_is_refused(text: str) -> None:
    """An empty path would be a socket without a name, a long one would be cut."""
    with pytest.raises(ValueError, match=r"is not unix:PATH|at most 107 bytes"):
        read_grpc_host(text)


def test_a_core_is_not_named_twice() -> None:
    """However it is written."""
    assert read_targets("a:1, [::1]:1") == ("a:1", "[::1]:1")
    with pytest.raises(ValueError, match="twice"):
        read_targets("a:1,dns:///a:1")


def test_only_loopback_goes_past_proxies() -> None:
    """Where a proxy is needed, it is needed for other machines."""
    for target in ("127.0.0.1:1", "[::1]:1", "localhost:1", "unix:/run/core.sock"):
        assert channel_options(target) == (("grpc.enable_http_proxy", 0),)
    assert channel_options("core:1") == ()


def test_httpx_goes_to_loopback_past_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """And to all else through them."""
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for url in ("http://127.0.0.1:8000/x", "https://localhost/", "http://[::1]:8000"):
        client = httpx.Client(mounts=unproxied(url))
        assert client._transport_for_url(httpx.URL(url)) is client._transport
        assert client._transport_for_url(httpx.URL("http://example.org")) is not client._transport
    assert unproxied("http://example.org") == unproxied("http://[") == unproxied("nothing") == {}


@pytest.mark.parametrize(
    ("url", "exposed"),
    [
        ("http://example.org/keys", True),
        (" HTTP://10.0.0.7:8000", True),
        ("http://[2001:db8::1]/", True),
        ("http://user@example.org", True),
        ("http://127.0.0.1.example.org", True),
        ("https://example.org", False),
        ("http://localhost:8000", False),
        ("http://127.8.9.1", False),
        ("http://[::1]:1", False),
        ("http://[", False),
        ("http://", False),
        ("nothing", False),
    ],
)
def test_plain_http_to_another_machine_is_exposed(url: str, exposed: bool) -> None:
    """On this machine nobody else reads it; what is no URL is another's to refuse."""
    assert is_exposed(url) is exposed


def test_a_port_that_is_taken_is_found_out() -> None:
    """With the system's own reason."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(OSError, match="in use") as raised:
            try_bind("127.0.0.1", other.getsockname()[1])
        assert raised.value.errno == errno.EADDRINUSE
    assert try_bind("127.0.0.1", 0) > 0
