"""The settings by which bearers are checked: the same names and rules at the edge and at the core."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from tokenwire.authentication.api_keys import ApiKeys, load_keys
from tokenwire.authentication.bearer import AnyMethod
from tokenwire.authentication.contract import BearerMethod, Bearers
from tokenwire.authentication.key_set import KeySource, read_key_file
from tokenwire.authentication.tokens import JwtRules, JwtTokens
from tokenwire.settings import WrongSettingError

METHODS: Final = ("keys", "jwt")
"""The methods of authentication that TOKENWIRE_AUTH may name."""


class AuthenticationSettings(BaseSettings):
    """Which API keys and JWTs are accepted."""

    # A message about a wrong value does not show it: it may be a secret.
    model_config = SettingsConfigDict(env_prefix="TOKENWIRE_", frozen=True, hide_input_in_errors=True)

    auth: str = "none"
    """What callers may authenticate with in `Authorization: Bearer …`: `keys` (API keys), `jwt` (JWTs of the
    issuer), or both, separated by a comma. With `none` the edge admits all callers, and listens only on
    loopback; the core refuses calls with an `authorization`, and accepts signed principals and
    certificates."""
    api_keys: SecretStr = SecretStr("")
    """API keys as `NAME sha256:HEX`, separated by commas (`tokenwire key` makes them)."""
    api_keys_file: Path | None = None
    """File of API keys, one entry per line."""
    jwt_issuer: str = ""
    """Required `iss` of JWTs. Must be set if JWTs are accepted."""
    jwt_audience: str = ""
    """Required `aud` of JWTs, or one of several in it. Must be set if JWTs are accepted."""
    jwt_jwks_url: str = ""
    """URL at which the issuer publishes its keys (JWKS): https, or http in a trusted
    network (a warning is logged unless it is this machine)."""
    jwt_keys_file: Path | None = None
    """File of the issuer's keys instead: JWKS, or one public key in PEM."""
    jwt_refresh_s: float = Field(default=300, ge=1)
    """How often the keys are fetched, in seconds. A key that the issuer has withdrawn is accepted until the
    next fetch."""
    jwt_claim: str = Field(default="sub", min_length=1)
    """Claim that names the principal."""
    jwt_leeway_s: float = Field(default=30, ge=0, le=600)
    """Allowed difference between the issuer's clock and this one, in seconds."""

    @field_validator("auth")
    @classmethod
    def _methods(cls, value: str) -> str:
        """Return the methods in one order, without blanks."""
        given = [part.strip() for part in value.split(",")]
        if given == ["none"]:
            return "none"
        if len(set(given)) < len(given) or not set(given) <= set(METHODS):
            raise ValueError(
                f"must be none, or one or several of {', '.join(METHODS)} with commas between them"
            )
        return ",".join(method for method in METHODS if method in given)

    def bearers(self) -> Bearers | None:
        """Return what checks bearers; None when none are accepted.

        Raises:
            WrongSettingError: API keys or JWTs can't be checked with what is set.
        """
        # In the order in which they are asked whether they take a bearer: a key may have any form.
        make: dict[str, Callable[[], BearerMethod]] = {"jwt": self._jwt_tokens, "keys": self._api_keys}
        methods = [make[method]() for method in make if method in self.auth.split(",")]
        if len(methods) > 1:
            return AnyMethod(*methods)
        return methods[0] if methods else None

    def _api_keys(self) -> ApiKeys:
        return load_keys(self.api_keys.get_secret_value(), self.api_keys_file)

    def _jwt_tokens(self) -> JwtTokens:
        """Return what checks JWTs.

        Raises:
            WrongSettingError: What a token must say, or who signs them, is not set or can't be used.
        """
        for name, value in (("ISSUER", self.jwt_issuer), ("AUDIENCE", self.jwt_audience)):
            if not value:
                raise WrongSettingError(f"TOKENWIRE_AUTH={self.auth} needs TOKENWIRE_JWT_{name}")
        rules = JwtRules(self.jwt_issuer, self.jwt_audience, self.jwt_claim, self.jwt_leeway_s)
        return JwtTokens(self._issuer_keys(), rules)

    def _issuer_keys(self) -> KeySource:
        if bool(self.jwt_jwks_url) == (self.jwt_keys_file is not None):
            raise WrongSettingError(
                f"TOKENWIRE_AUTH={self.auth}: set one of TOKENWIRE_JWT_JWKS_URL and TOKENWIRE_JWT_KEYS_FILE"
            )
        if self.jwt_keys_file is not None:
            return read_key_file(self.jwt_keys_file)
        from tokenwire.authentication.jwks import JwksEndpoint  # noqa: PLC0415 # a fifth of an edge's start

        return JwksEndpoint(self.jwt_jwks_url, refresh_s=self.jwt_refresh_s)
