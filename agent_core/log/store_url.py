"""Which store TOKENWIRE_STORE names. Pure: nothing is opened here."""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

FORMS: Final = (
    "memory, sqlite:PATH, redis://HOST:PORT/DB, rediss://HOST:PORT/DB, unix:///PATH?db=DB "
    "or redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB"
)

REDIS: Final = frozenset({"redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel"})
SENTINEL: Final = frozenset({"redis+sentinel", "rediss+sentinel"})

SENTINEL_PORT: Final = 26379
"""Where a Sentinel listens that is given without a port."""

SENTINEL_LOGIN: Final = frozenset({"sentinel_username", "sentinel_password"})
"""What may follow a `redis+sentinel://` URL."""

TLS_FILES: Final = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
"""Parameters of a `rediss://` URL that name PEM files."""

TLS_PARAMETERS: Final = TLS_FILES | {"ssl_check_hostname"}
"""What may follow a `rediss://` URL. redis-py takes more, such as time limits, that the log relies on."""

ESCAPES: Final = "in a password, write / as %2F, # as %23, ? as %3F and @ as %40"


class Store(NamedTuple):
    """A store and where it is."""

    kind: Literal["memory", "sqlite", "redis"]
    place: str = ""
    """The file, or Redis's URL."""
    files: tuple[tuple[str, str], ...] = ()
    """The PEM files that the URL names, by parameter."""


def read_store(text: str) -> Store:
    """Return which store a text names.

    Raises:
        ValueError: It names no store. The text says why, for an operator, without a password.
    """
    if text == "memory":
        return Store("memory")
    kind, _, place = text.partition(":")
    if kind == "sqlite" and place:
        return Store("sqlite", _sqlite_path(place))
    if kind in REDIS and place.startswith("//"):
        return _redis(text)
    raise ValueError(f"{without_password(text)!r} is not one of {FORMS}")


class SentinelAddress(NamedTuple):
    """Where to ask for the address of a primary, and how to talk to both."""

    sentinels: tuple[tuple[str, int], ...]
    service: str
    """The name under which the Sentinels know the primary."""
    options: dict[str, Any]
    """For the connections to the primary, as redis-py names them."""
    sentinel_options: dict[str, Any]
    """For the connections to the Sentinels."""


def read_sentinel(text: str) -> SentinelAddress | None:
    """Return where the Sentinels are that a URL names; None for a URL of another kind.

    Raises:
        ValueError: A part of it is missing or wrong. The text says which, without a password.
    """
    kind, _, rest = text.partition("://")
    if kind not in SENTINEL:
        return None
    place, _, query = rest.partition("?")
    if "#" in rest:
        raise ValueError(f"it holds a #; {ESCAPES}")
    login, _, hosts_and_path = place.rpartition("@")
    hosts, _, path = hosts_and_path.partition("/")
    service, _, db = path.partition("/")
    if not service:
        raise ValueError(
            "the name of the service is missing: redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB"
        )
    if db and not _is_number(db):
        raise ValueError(f"the database {db!r} is not a number")
    parameters = _parameters(query, SENTINEL_LOGIN | (TLS_PARAMETERS if kind == "rediss+sentinel" else set()))
    username, _, password = login.partition(":")
    tls = {name: value for name, value in parameters.items() if name in TLS_PARAMETERS}
    if "ssl_check_hostname" in tls:
        tls["ssl_check_hostname"] = tls["ssl_check_hostname"].lower() not in {"false", "no", "0"}
    if kind == "rediss+sentinel":
        tls["ssl"] = True
    return SentinelAddress(
        tuple(_sentinel(host) for host in hosts.split(",")),
        unquote(service),
        {
            "db": int(db or 0),
            "username": unquote(username) or None,
            "password": unquote(password) or None,
            **tls,
        },
        {
            "username": parameters.get("sentinel_username"),
            "password": parameters.get("sentinel_password"),
            **tls,
        },
    )


def _sentinel(text: str) -> tuple[str, int]:
    """Return the host and the port of one Sentinel."""
    try:
        url = urlsplit(f"//{text}")
        host, port = url.hostname, url.port
    except ValueError:
        host, port = None, None
    if not host:
        raise ValueError(f"the host or the port of a Sentinel can't be read; {ESCAPES}")
    return host, port or SENTINEL_PORT


def without_password(store: str) -> str:
    """Return where a store is, without what must not be in a log."""
    return re.sub(r"(sentinel_password=)[^&]*", r"\1…", re.sub(r"//.*@", "//…@", store))


def _sqlite_path(place: str) -> str:
    if place.startswith("//"):
        raise ValueError("write sqlite:PATH, as in sqlite:runs.db or sqlite:/var/lib/tokenwire/runs.db")
    if place == ":memory:" or place.startswith("file:"):
        raise ValueError(f"'sqlite:{place}' names no file; write sqlite:PATH, or `memory` for no file at all")
    return place


def _redis(text: str) -> Store:
    sentinel = read_sentinel(text)
    if sentinel is not None:
        return Store(
            "redis",
            text,
            tuple((name, sentinel.options[name]) for name in TLS_FILES & sentinel.options.keys()),
        )
    try:
        url = urlsplit(text)
        _ = url.port
    except ValueError:
        # urllib's own words show the port, which is a part of the password where that holds a slash.
        raise ValueError(f"its host or its port can't be read; {ESCAPES}") from None
    if url.fragment:
        raise ValueError(f"it holds a #; {ESCAPES}")
    if url.scheme == "unix":
        if url.hostname or not url.path.strip("/"):
            raise ValueError("the path of a Unix socket is absolute: unix:///run/redis/redis.sock?db=0")
    elif not (url.path in {"", "/"} or _is_number(url.path[1:])):
        raise ValueError(f"the database {url.path[1:]!r} is not a number")
    parameters = _parameters(url.query, {"db", *(TLS_PARAMETERS if url.scheme == "rediss" else ())})
    if not _is_number(parameters.get("db", "0")):
        raise ValueError(f"the database {parameters['db']!r} is not a number")
    return Store("redis", text, tuple(item for item in parameters.items() if item[0] in TLS_FILES))


def _parameters(query: str, allowed: AbstractSet[str]) -> dict[str, Any]:
    """Return the parameters that stand behind a URL's question mark."""
    parameters = dict(parse_qsl(query, keep_blank_values=True))
    for name in parameters:
        if name not in allowed:
            raise ValueError(f"the parameter {name!r} is not taken, but {', '.join(sorted(allowed))}")
    return parameters


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
