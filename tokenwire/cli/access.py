"""Which server `ask` asks, and what it shows it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tokenwire.addresses import first_far
from tokenwire.client import Client, ClientError, ExposedKeyWarning, RefusedError, UnreachableError
from tokenwire.client.retrying import OnRetry

AT_THE_CORE: Final = (
    "Set TOKENWIRE_API_KEY to your API key or JWT (the core must accept it: TOKENWIRE_AUTH), or "
    "TOKENWIRE_PRINCIPAL_KEY to that of the core."
)
"""What to do where the core wants to know who calls, and nothing was sent that could prove it."""

OTHER_KEY: Final = (
    "The call was signed with TOKENWIRE_PRINCIPAL_KEY, which must be that of the core. To call with "
    "TOKENWIRE_API_KEY instead, unset it."
)
"""What to do where the core takes no signed principal, though there is an API key: it was not sent."""

AT_THE_EDGE: Final = "Set TOKENWIRE_API_KEY to an API key or a JWT."
"""What to do where the edge wants to know who asks: it speaks of a header."""


@dataclass(frozen=True, slots=True)
class Access:
    """A server, and what authenticates the command line there."""

    cores: Sequence[str] = ()
    """The cores' addresses, from `tokenwire.addresses.read_targets`; none to ask an edge."""
    url: str = ""
    """The edge, where there are no cores."""
    api_key: str = field(default="", repr=False)
    """An API key or a JWT; empty for none. A core is sent it if there is no `principal_key`."""
    principal: str = "cli"
    """On whose behalf to call a core, as `principal_key` signs it."""
    principal_key: str = field(default="", repr=False)
    """The core's own; empty where that is not known."""
    tls_ca: Path | None = None
    """PEM file of the authorities that the core's certificate is checked against; None for no TLS."""
    tls_cert: Path | None = None
    """PEM file of the certificate to show to the core; None for none."""
    tls_key: Path | None = None
    """PEM file of its key."""

    def how_to_answer(self, run_id: str, input_id: str) -> str:
        """Return how a question of a run is answered without this command."""
        if self.cores:
            return f'call SendInput with {{"run_id": "{run_id}", "input_id": "{input_id}", "value_json": …}}'
        path = f"{self.url.rstrip('/')}/api/runs/{run_id}/inputs/{input_id}"
        return f"""POST {path} with {{"value": …}}"""

    def require_private(self) -> None:
        """Return if no other can read the API key on its way to any of these cores, or none is sent.

        Raises:
            ValueError: Others could.
        """
        if not self.api_key or self.principal_key or self.tls_ca is not None:
            return
        if (far := first_far(self.cores)) is not None:
            raise ValueError(
                f"the API key would be sent to {far} unencrypted: use TLS (--tls-ca), or a core on this "
                "machine; to call it without the key, unset TOKENWIRE_API_KEY"
            )

    def client(self, patience_s: float, on_retry: OnRetry) -> Client:
        """Return a client of the server.

        Args:
            patience_s: How long to try again without contact, in seconds.
            on_retry: See `Client`.

        Raises:
            ValueError: The URL is not one.
        """
        if not self.cores:
            with warnings.catch_warnings(
                action="ignore", category=ExposedKeyWarning
            ):  # the command has said it
                return Client(self.url, api_key=self.api_key, patience_s=patience_s, on_retry=on_retry)
        return Client(
            f"{'grpcs' if self.tls_ca else 'grpc'}://{','.join(self.cores)}",
            api_key=self.api_key,
            principal=self.principal,
            principal_key=self.principal_key,
            tls_ca=self.tls_ca,
            tls_cert=self.tls_cert,
            tls_key=self.tls_key,
            patience_s=patience_s,
            on_retry=on_retry,
        )

    def describe(self, error: ClientError) -> str:
        """Return what went wrong, and what to do about it at the command line."""
        if isinstance(error, UnreachableError):
            return f"{error.message.removesuffix('.')}: is it running? (`tokenwire up` starts one.)"
        if isinstance(error, RefusedError) and error.code == "UNAUTHENTICATED":
            message = f"{error.message} {self.how_to_prove()}".strip()
            return str(RefusedError(error.code, message, error.details))
        if error.reason == "NOT_AN_EDGE":
            return f"{error.message.removesuffix('.')}: --url (TOKENWIRE_URL)."
        return str(error)

    def how_to_prove(self) -> str:
        """Return what to do where a call is refused; empty where the server's words about the key say it."""
        if not self.cores:
            return AT_THE_EDGE
        if not self.api_key:
            return AT_THE_CORE
        return OTHER_KEY if self.principal_key else ""
