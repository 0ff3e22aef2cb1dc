"""How to connect to a core: plaintext, TLS or mTLS, and as which principal."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass

import grpc

OPTIONS = (
    ("grpc.keepalive_time_ms", 20_000),  # a vanished core is detected within half a minute
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.min_reconnect_backoff_ms", 5_000),  # also how long one attempt to connect may take
    ("grpc.use_local_subchannel_pool", 1),  # a new channel is a new connection
)


@dataclass
class Security:
    """How to connect to a core, and as which principal."""

    authorities: bytes | None = None
    """PEM of the trusted authorities; None for plaintext."""
    certificate: bytes | None = None
    """PEM of our own, where the core wants one (mTLS)."""
    key: bytes | None = None
    """... and of its key."""
    principal: str = ""
    """The principal to call as; empty to call as ourselves."""
    principal_key: bytes = b""
    """The key that signs it: the core's TOKENWIRE_PRINCIPAL_KEY."""

    def channel(self, address: str) -> grpc.Channel:
        """Return a channel to HOST:PORT with a connection of its own."""
        if self.authorities is None:
            return grpc.insecure_channel(address, OPTIONS)
        credentials = grpc.ssl_channel_credentials(self.authorities, self.key, self.certificate)
        return grpc.secure_channel(address, credentials, OPTIONS)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the metadata of a call: the principal, freshly signed."""
        return (("tokenwire-principal", self.token(int(time.time()))),) if self.principal else ()

    def token(self, now: int) -> str:
        """Return a JWT (HS256), valid for a minute from `now` (Unix time in seconds)."""
        claims = {"sub": self.principal, "aud": "tokenwire-core", "iat": now, "exp": now + 60}
        parts = [encode(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
        signature = hmac.digest(self.principal_key, ".".join(parts).encode(), hashlib.sha256)
        return ".".join([*parts, encode(signature)])


def encode(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
