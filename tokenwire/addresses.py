"""Addresses, read the same way wherever one is set: at the core, the edge and the command line.

A host is a name, an IPv4 address, or an IPv6 address with or without brackets. A core may also listen on, and
be found at, `unix:PATH`.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

UNIX: Final = "unix:"
"""What the address of a Unix socket begins with."""

MAX_UNIX_BYTES: Final = 107
"""The longest path of a Unix socket. Source: https://man7.org/linux/man-pages/man7/unix.7.html"""

MAX_PORT: Final = 65_535

ANY_IPV4: Final = "0.0.0.0"  # noqa: S104 - compared, not bound
"""All IPv4 addresses of this machine, and no IPv6 one."""

ANY: Final = "::"
"""All addresses of this machine, of both kinds."""

_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")


def read_host(text: str) -> str:
    """Return an address to listen on, without brackets.

    Args:
        text: As it was set.

    Raises:
        ValueError: It is none. The text says why, for an operator.
    """
    host = text.strip()
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if not _is_ipv6(host):
            raise ValueError(f"{text!r} is not an IPv6 address")
    if _is_ipv6(host) or _NAME.fullmatch(host):
        return host
    if not host:
        raise ValueError("is empty; 0.0.0.0 means all IPv4 addresses, :: all addresses")
    if re.search(r"[^:]:\d+$", host):
        raise ValueError(f"{text!r} includes a port, which has its own setting")
    raise ValueError(f"{text!r} is neither an address nor a host name")


def read_grpc_host(text: str) -> str:
    """Return an address for a core to listen on: a host without brackets, or `unix:PATH`.

    Raises:
        ValueError: It is none. The text says why, for an operator.
    """
    return _read_unix(text) if text.strip().startswith(UNIX) else read_host(text)


def read_target(text: str) -> str:
    """Return a core's address as gRPC takes it: HOST:PORT, [IPV6]:PORT or `unix:PATH`.

    Args:
        text: As it was set; `dns:` before it, which is what gRPC assumes, is dropped.

    Raises:
        ValueError: It is none. The text says why, for an operator.
    """
    target = re.sub(r"^dns:(///)?", "", text.strip())
    if target.startswith(UNIX):
        return _read_unix(target)
    host, _, port = target.rpartition(":")
    if _is_ipv6(host) or _is_ipv6(target):
        raise ValueError(f"{text!r} is not HOST:PORT: write an IPv6 address in brackets, as in [::1]:50051")
    if not (host and port.isascii() and port.isdigit() and 0 < int(port) <= MAX_PORT):
        raise ValueError(f"{text!r} is not HOST:PORT")
    try:
        return address_of(read_host(host), int(port))
    except ValueError:
        raise ValueError(f"{text!r} is not HOST:PORT") from None


def read_targets(text: str) -> tuple[str, ...]:
    """Return the addresses of cores, from a text with commas between them.

    Raises:
        ValueError: One is none, or two are the same.
    """
    targets = tuple(read_target(each) for each in text.split(","))
    if len(set(targets)) < len(targets):
        raise ValueError("lists a core twice")
    return targets


def split_target(target: str) -> tuple[str, int | None]:
    """Return the host, without brackets, and the port of a core; the path and None for a Unix socket.

    Args:
        target: From `read_target`.
    """
    if target.startswith(UNIX):
        return target.removeprefix(UNIX), None
    host, _, port = target.rpartition(":")
    return host.strip("[]"), int(port)


def address_of(host: str, port: int) -> str:
    """Return HOST:PORT, with an IPv6 address in brackets. A Unix socket has no port."""
    if host.startswith(UNIX):
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches what listens on `host`.

    Args:
        host: From `read_host` or `read_grpc_host`, or with brackets.
    """
    if host.startswith(UNIX):
        return True
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return host.lower().removesuffix(".") == "localhost"
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def is_near(target: str) -> bool:
    """Return whether a core is on this machine, so that no other reads what is sent to it.

    Args:
        target: From `read_target`.
    """
    return target.startswith(UNIX) or is_loopback(split_target(target)[0])


def is_exposed(url: str) -> bool:
    """Return whether others can read and change what is sent to a URL: plain HTTP to another machine.

    Args:
        url: Of http or https. What is none is not exposed: who uses it says so.
    """
    try:
        parts = urlsplit(url.strip())
        host = parts.hostname or ""
    except ValueError:
        return False
    return parts.scheme == "http" and host != "" and not is_loopback(host)


def first_far(targets: Iterable[str]) -> str | None:
    """Return the first of these cores that is not on this machine; None when all are.

    Args:
        targets: From `read_targets`.
    """
    return next((target for target in targets if not is_near(target)), None)


def channel_options(target: str) -> tuple[tuple[str, int], ...]:
    """Return the options of a gRPC channel to a core: on this machine, none goes through a proxy.

    gRPC takes `grpc_proxy`, `https_proxy` or `http_proxy` for all hosts that neither `no_grpc_proxy` nor
    `no_proxy` names, also for loopback.

    Args:
        target: From `read_target`.

    Source: https://github.com/grpc/grpc/blob/master/doc/environment_variables.md
    """
    return (("grpc.enable_http_proxy", 0),) if is_near(target) else ()


def unproxied(url: str) -> dict[str, None]:
    """Return the `mounts` of an httpx client for this URL: on this machine, none goes through a proxy.

    Args:
        url: Of http or https. What is none has no mounts: the client says so itself.
    """
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return {}
    return {f"all://{f'[{host}]' if ':' in host else host}": None} if is_loopback(host) else {}


def resolve(host: str) -> str:
    """Return the address to listen on at a host: of a name, the first that the system gives.

    gRPC has a resolver of its own, which gives others.

    Args:
        host: From `read_host`.

    Raises:
        OSError: It has none.
    """
    infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return str(infos[0][4][0])


def try_bind(host: str, port: int) -> int:
    """Return the port that a server can have at this host: it is bound, and let go.

    Args:
        host: From `read_host`.
        port: 0 for any free one.

    Raises:
        OSError: The address can't be had, and why.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        # As servers do: a connection that lingers in TIME_WAIT takes no port away.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        bound: int = probe.getsockname()[1]
        return bound


def _is_ipv6(text: str) -> bool:
    try:
        return isinstance(ipaddress.ip_address(text), ipaddress.IPv6Address)
    except ValueError:
        return False


def _read_unix(text: str) -> str:
    """Return `unix:PATH`; `unix:///PATH`, which gRPC takes for the same, too."""
    path = text.strip().removeprefix(UNIX)
    if path.startswith("///"):
        path = path[2:]
    if not path or path.startswith("//"):
        raise ValueError(f"{text!r} is not unix:PATH")
    if len(path.encode()) > MAX_UNIX_BYTES:
        raise ValueError(f"the path of a Unix socket has at most {MAX_UNIX_BYTES} bytes")
    return f"{UNIX}{path}"
