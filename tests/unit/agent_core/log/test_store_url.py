"""Every documented form of TOKENWIRE_STORE, and what is close to one."""

from __future__ import annotations

import pytest

from agent_core.log.store_url import Store, read_sentinel, read_store, without_password


@pytest.mark.parametrize(
    ("text", "store"),
    [
        ("memory", Store("memory")),
        ("sqlite:runs.db", Store("sqlite", "runs.db")),
        ("sqlite:/var/lib/runs.db", Store("sqlite", "/var/lib/runs.db")),
        *(
            (url, Store("redis", url))
            for url in (
                "redis://127.0.0.1",
                "redis://127.0.0.1:6379/0",
                "redis://[::1]:6379/1",
                "redis://:secret@redis/",
                "redis://user:p%2Fw@redis:6379/0",
                "redis://redis:6379?db=3",
                "rediss://redis:6379/0",
                "unix:///run/redis.sock",
                "unix:///run/redis.sock?db=1",
                "unix://user:secret@/run/redis.sock",
                "redis+sentinel://one:26379,two:26379/mymaster/0",
                "redis+sentinel://user:secret@[::1]:26379,two/mymaster",
                "redis+sentinel://one/mymaster/1?sentinel_username=core&sentinel_password=x",
            )
        ),
        (
            "rediss://redis/0?ssl_ca_certs=/etc/ca.pem&ssl_check_hostname=false",
            Store(
                "redis",
                "rediss://redis/0?ssl_ca_certs=/etc/ca.pem&ssl_check_hostname=false",
                (("ssl_ca_certs", "/etc/ca.pem"),),
            ),
        ),
    ],
)
def test_documented_forms_are_read(text: str, store: Store) -> None:
    """As docs/operations.md lists them."""
    assert read_store(text) == store


def test_a_sentinel_url_says_whom_to_ask_for_what() -> None:
    """Each part has its default; names and passwords are unquoted."""
    assert read_sentinel("redis://redis/0") is None
    assert read_sentinel("redis+sentinel://one,[::1]:7/my%2Fname") == (
        (("one", 26379), ("::1", 7)),
        "my/name",
        {"db": 0, "username": None, "password": None},
        {"username": None, "password": None},
    )
    url = "rediss+sentinel://u:p%2F@one/m/2?sentinel_password=s&ssl_ca_certs=/ca.pem&ssl_check_hostname=false"
    tls = {"ssl": True, "ssl_ca_certs": "/ca.pem", "ssl_check_hostname": False}
    assert read_sentinel(url) == (
        (("one", 26379),),
        "m",
        {"db": 2, "username": "u", "password": "p/", **tls},
        {"username": None, "password": "s", **tls},
    )
    assert read_store(url).files == (("ssl_ca_certs", "/ca.pem"),)
    assert "sentinel_password=…&" in without_password(url)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not one of memory, sqlite:PATH"),
        ("nothing", "is not one of memory"),
        ("Memory", "is not one of memory"),
        ("sqlite:", "is not one of"),
        ("sqlite::memory:", "names no file"),
        ("sqlite:file:x?mode=ro", "names no file"),
        ("sqlite:///runs.db", "write sqlite:PATH"),
        ("redis:6379", "is not one of"),
        ("reddis://user:secret@redis", "'reddis://…@redis' is not one of"),
        ("redis://redis:port/0", "its host or its port"),
        ("redis://user:sec/ret@redis", "write / as %2F"),
        ("redis://user:sec#ret@redis", "its host or its port|holds a #"),
        ("redis://[::1/0", "its host or its port"),
        ("redis://redis/x", "the database 'x' is not a number"),
        ("redis://redis/0?db=x", "the database 'x' is not a number"),
        ("redis://redis/0?ssl_ca_certs=/x", "the parameter 'ssl_ca_certs' is not taken, but db"),
        ("rediss://redis/0?decode_responses=1", "the parameter 'decode_responses' is not taken"),
        ("unix://redis.sock", "the path of a Unix socket is absolute"),
        ("unix:///", "the path of a Unix socket is absolute"),
        ("unix:/run/redis.sock", "is not one of"),
        ("redis+sentinel://one:26379", "the name of the service is missing"),
        ("redis+sentinel://one:26379/0x/y", "the database 'y' is not a number"),
        ("redis+sentinel://one:x/mymaster/0", "the host or the port of a Sentinel"),
        ("redis+sentinel://,two/mymaster/0", "the host or the port of a Sentinel"),
        ("redis+sentinel://u:sec#ret@one/mymaster/0", "holds a #"),
        ("redis+sentinel://one/mymaster/0?ssl_ca_certs=/x", "the parameter 'ssl_ca_certs' is not taken"),
        ("redis+sentinel://one/mymaster/0?db=1", "the parameter 'db' is not taken"),
    ],
)
def test_other_forms_are_refused_with_the_reason(text: str, why: str) -> None:
    """And without the password."""
    with pytest.raises(ValueError, match=why) as raised:
        read_store(text)
    assert "sec" not in str(raised.value)


def test_a_password_is_left_out_wherever_it_ends() -> None:
    """One that holds a slash or an @ too."""
    assert without_password("redis://u:a/b@c@redis/0") == "redis://…@redis/0"
    assert without_password("sqlite:a@b") == "sqlite:a@b"
