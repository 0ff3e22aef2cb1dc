"""Users, ann and bob above all, and the ways in which they prove who they are."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from tests.support.issuer import AUDIENCE, ISSUER, Signer
from tests.support.redis_server import shared_redis

PRINCIPAL_KEY: Final = "p" * 32
NAMES: Final = ("ann", "bob", "cleo", "dave")
PRIVATE: Final = "my PIN is 4711"
"""What ann says, and bob must never see."""


@dataclass(frozen=True)
class Users:
    """What an edge or a core is set up with, and what each user sends."""

    settings: dict[str, Any]
    bearers: dict[str, str]

    def of(self, name: str) -> dict[str, str]:
        """Return what a user sends."""
        return {"authorization": f"Bearer {self.bearers[name]}"}

    @property
    def ann(self) -> dict[str, str]:
        """What ann sends."""
        return self.of("ann")

    @property
    def bob(self) -> dict[str, str]:
        """What bob sends."""
        return self.of("bob")


def users(auth: str, folder: Path) -> Users:
    """Return all of them.

    Args:
        auth: How they are known: `keys` or `jwt`.
        folder: Where the issuer's key is put.
    """
    if auth == "keys":
        bearers = {name: f"tw_{name}-{uuid4().hex}" for name in NAMES}
        entries = ",".join(f"{n} sha256:{hashlib.sha256(k.encode()).hexdigest()}" for n, k in bearers.items())
        settings: dict[str, Any] = {"api_keys": entries}
    else:
        issuer, file = Signer(), folder / "issuer.pem"
        file.write_bytes(issuer.pem())
        bearers = {name: issuer.token(sub=name) for name in NAMES}
        settings = {"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "jwt_keys_file": file}
    return Users({"auth": auth, "principal_key": PRINCIPAL_KEY, **settings}, bearers)


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
