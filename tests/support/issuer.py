"""An issuer of JWTs: real keys, and a real HTTP server that publishes them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, TypeAlias

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ISSUER = "https://issuer.example"
AUDIENCE = "tokenwire-tests"
Kind: TypeAlias = Literal["RS256", "ES256", "EdDSA"]
KINDS: tuple[Kind, ...] = ("RS256", "ES256", "EdDSA")


@dataclass
class Signer:
    """A private key of an issuer."""

    kind: Kind = "ES256"
    kid: str | None = "k1"
    key: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.key is None:
            self.key = {
                "RS256": lambda: rsa.generate_private_key(65537, 2048),
                "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
                "EdDSA": ed25519.Ed25519PrivateKey.generate,
            }[self.kind]()

    def token(self, *, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """Return a token that is valid but for what is given; a claim given as None is left out."""
        said = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": time.time() + 300, **claims}
        kid = {"kid": self.kid} if self.kid is not None else {}
        return jwt.encode(
            {name: value for name, value in said.items() if value is not None},
            self.key,
            algorithm=self.kind,
            headers=kid | (headers or {}),
        )

    def jwk(self, **more: Any) -> dict[str, Any]:
        """Return the public key as an issuer publishes it."""
        algorithm = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}[self.kind]
        entry: dict[str, Any] = algorithm.to_jwk(self.key.public_key(), as_dict=True)
        kid = {"kid": self.kid} if self.kid is not None else {}
        return entry | kid | {"alg": self.kind, "use": "sig"} | more

    def pem(self) -> bytes:
        """Return the public key as a file."""
        pem: bytes = self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return pem


def jwks(*signers: Signer) -> bytes:
    """Return what an issuer publishes of its keys."""
    return json.dumps({"keys": [signer.jwk() for signer in signers]}).encode()


class Published:
    """What an issuer's server answers, and how often it was asked."""

    def __init__(self) -> None:
        self.body = jwks()
        self.status = 200
        self.asked = 0
        self.hold = threading.Event()
        """While it is cleared, answers wait."""
        self.hold.set()
        self.url = ""

    def publish(self, *signers: Signer) -> None:
        """Publish these keys from now on."""
        self.body, self.status = jwks(*signers), 200


@contextmanager
def publishing(*signers: Signer) -> Iterator[Published]:
    """Run an issuer's server on a port of its own."""
    published = Published()
    published.publish(*signers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            published.asked += 1
            published.hold.wait(20)
            self.send_response(published.status)
            self.send_header("content-length", str(len(published.body)))
            self.end_headers()
            try:
                self.wfile.write(published.body)
            except ConnectionError:
                self.close_connection = True  # who asked did not wait for the answer

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    published.url = f"http://127.0.0.1:{server.server_address[1]}/jwks.json"
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    serving.start()
    try:
        yield published
    finally:
        published.hold.set()
        server.shutdown()
        serving.join()
        server.server_close()
