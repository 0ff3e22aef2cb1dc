"""Two users, ann and bob, and the ways in which they prove who they are."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from tests.support.issuer import AUDIENCE, ISSUER, Signer
from tests.support.redis_server import shared_redis

PRINCIPAL_KEY: Final = "p" * 32
PRIVATE: Final = "my PIN is 4711"
"""What ann says, and bob must never see."""


@dataclass(frozen=True)
class Users:
    """What the edge is set up with, and what each user sends."""

    settings: dict[str, Any]
    ann: dict[str, str]
    bob: dict[str, str]


def users(auth: str, folder: Path) -> Users:
    """Return ann and bob.

    Args:
        auth: How the edge knows them: `keys` or `jwt`.
        folder: Where the issuer's key is put.
    """
    if auth == "keys":
        bearers = {name: f"tw_{name}-{uuid4().hex}" for name in ("ann", "bob")}
        entries = ",".join(f"{n} sha256:{hashlib.sha256(k.encode()).hexdigest()}" for n, k in bearers.items())
        settings: dict[str, Any] = {"api_keys": entries}
    else:
        issuer, file = Signer(), folder / "issuer.pem"
        file.write_bytes(issuer.pem())
        bearers = {name: issuer.token(sub=name) for name in ("ann", "bob")}
        settings = {"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "jwt_keys_file": file}
    ann, bob = ({"authorization": f"Bearer {bearer}"} for bearer in bearers.values())
    return Users({"auth": auth, "principal_key": PRINCIPAL_KEY, **settings}, ann, bob)


def store_settings(store: str, folder: Path) -> dict[str, Any]:
    """Return the settings of a core that tells users apart, on a store of its own.

    Args:
        store: `memory`, `sqlite` or `redis`.
        folder: Where a file is kept.
    """
    settings = {"principal_key": PRINCIPAL_KEY, "disconnect_grace_s": 60}
    if store == "sqlite":
        return settings | {"store": f"sqlite:{folder / 'runs.db'}"}
    if store == "redis":
        return settings | {"store": shared_redis().url, "redis_prefix": uuid4().hex}
    return settings


def unknown_beside(run_id: str) -> str:
    """Return the id of a run that there is not, as the same core could have made it."""
    return run_id[:-1] + ("a" if run_id[-1] != "a" else "b")
