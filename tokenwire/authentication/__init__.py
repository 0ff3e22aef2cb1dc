"""Bearers, checked the same way at the edge and at the core: API keys, and JWTs of an issuer.

Nothing here knows HTTP or gRPC: each process tells its callers in its own way what `CredentialsError` and
`IssuerAwayError` say. Importing this package loads no HTTP client; only a JWKS address needs one.
"""

from tokenwire.authentication.api_keys import ApiKeys, load_keys
from tokenwire.authentication.bearer import AnyMethod
from tokenwire.authentication.contract import Bearers, CredentialsError, IssuerAwayError, authorization_of
from tokenwire.authentication.key_set import KeySet, KeySource, read_key_file
from tokenwire.authentication.settings import AuthenticationSettings
from tokenwire.authentication.tokens import JwtRules, JwtTokens

__all__ = [
    "AnyMethod",
    "ApiKeys",
    "AuthenticationSettings",
    "Bearers",
    "CredentialsError",
    "IssuerAwayError",
    "JwtRules",
    "JwtTokens",
    "KeySet",
    "KeySource",
    "authorization_of",
    "load_keys",
    "read_key_file",
]
