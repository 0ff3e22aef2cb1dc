"""Which store TOKENWIRE_STORE names. Pure: nothing is opened here."""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple
from urllib.parse import parse_qsl, urlsplit

FORMS: Final = "memory, sqlite:PATH, redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///PATH?db=DB"

REDIS: Final = frozenset({"redis", "rediss", "unix"})

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
        ValueError: None. The text says why, for an operator, without a password.
    """
    if text == "memory":
        return Store("memory")
    kind, _, place = text.partition(":")
    if kind == "sqlite" and place:
        return Store("sqlite", _sqlite_path(place))
    if kind in REDIS and place.startswith("//"):
        return _redis(text)
    raise ValueError(f"{without_password(text)!r} is not one of {FORMS}")


def without_password(store: str) -> str:
    """Return where a store is, without what must not be in a log."""
    return re.sub(r"//.*@", "//…@", store)


def _sqlite_path(place: str) -> str:
    if place.startswith("//"):
        raise ValueError("write sqlite:PATH, as in sqlite:runs.db or sqlite:/var/lib/tokenwire/runs.db")
    if place == ":memory:" or place.startswith("file:"):
        raise ValueError(f"'sqlite:{place}' names no file; write sqlite:PATH, or `memory` for no file at all")
    return place


def _redis(text: str) -> Store:
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
    parameters = parse_qsl(url.query, keep_blank_values=True)
    allowed = {"db", *(TLS_PARAMETERS if url.scheme == "rediss" else ())}
    for name, value in parameters:
        if name not in allowed:
            raise ValueError(f"the parameter {name!r} is not taken, but {', '.join(sorted(allowed))}")
        if name == "db" and not _is_number(value):
            raise ValueError(f"the database {value!r} is not a number")
    return Store("redis", text, tuple((name, value) for name, value in parameters if name in TLS_FILES))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
