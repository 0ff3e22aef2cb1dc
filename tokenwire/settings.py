"""What is wrong with a process's settings, said in one line each: the variable, and why.

Both processes say it alike, and end with the exit status 2: restarting does not help.
"""

from __future__ import annotations

import ssl
import sys
from pathlib import Path
from typing import Final, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

WRONG_SETTINGS: Final = 2
"""The exit status of a process whose settings can't work. 1 is for what may work later."""

_CERTIFICATE: Final = b"-----BEGIN CERTIFICATE-----"
_PRIVATE_KEY: Final = b"PRIVATE KEY-----"


Settings = TypeVar("Settings", bound=BaseModel)


class WrongSettingError(ValueError):
    """A setting can't work. The text names its variable, for an operator, and shows no secret."""


def read_settings(program: str, settings: type[Settings]) -> Settings:
    """Return the settings of this process's environment.

    Args:
        program: Whose they are: what each line begins with where they are wrong.
        settings: Their class.

    Raises:
        SystemExit: Some are wrong. A line for each is on standard error: there is no log yet.
    """
    try:
        return settings()
    except ValidationError as error:
        for line in explain(error, settings):
            print(f"{program}: {line}", file=sys.stderr)  # noqa: T201 # as it says
        raise SystemExit(WRONG_SETTINGS) from None


def explain(error: ValidationError, settings: type[BaseModel]) -> list[str]:
    """Return a line for each setting that is wrong, without its value.

    Args:
        error: What reading the settings raised.
        settings: Their class. A field is the variable of that name with the class's prefix, unless it has
            another.
    """
    prefix = str(settings.model_config.get("env_prefix", ""))
    lines = []
    for problem in error.errors(include_url=False, include_input=False):
        place = str(problem["loc"][0]) if problem["loc"] else ""
        name = f"{prefix}{place}".upper() if place in settings.model_fields else place
        said = "must be set" if problem["type"] == "missing" else problem["msg"].removeprefix("Value error, ")
        lines.append(": ".join(filter(None, (name, " ".join(said.split())))))
    return lines


def read_file(variable: str, path: Path) -> bytes:
    """Return what is in a file that a setting names.

    Args:
        variable: The setting's.
        path: The file.

    Raises:
        WrongSettingError: It can't be read, or is empty.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WrongSettingError(f"{variable}={path}: {error.strerror}") from error
    if not content.strip():
        raise WrongSettingError(f"{variable}={path}: the file is empty")
    return content


def read_text(variable: str, path: Path) -> str:
    """Return the text of a file that a setting names.

    Raises:
        WrongSettingError: It can't be read, is empty, or is no text.
    """
    try:
        return read_file(variable, path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise WrongSettingError(f"{variable}={path}: not UTF-8 text") from error


def read_authorities(variable: str, path: Path) -> bytes:
    """Return the certificates of authorities, in PEM.

    Raises:
        WrongSettingError: There are none.
    """
    content = read_file(variable, path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=content.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise WrongSettingError(f"{variable}={path}: no PEM certificate found") from error
    return content


def read_pair(cert_variable: str, cert: Path, key_variable: str, key: Path) -> tuple[bytes, bytes]:
    """Return a certificate chain and its key, in PEM.

    Args:
        cert_variable: The setting that names the certificate.
        cert: Its file.
        key_variable: The setting that names the key.
        key: Its file.

    Raises:
        WrongSettingError: One can't be read, is not PEM, or they do not fit.
    """
    chain, private = read_file(cert_variable, cert), read_file(key_variable, key)
    if _CERTIFICATE not in chain:
        raise WrongSettingError(f"{cert_variable}={cert}: no PEM certificate found")
    if _PRIVATE_KEY not in private:
        raise WrongSettingError(f"{key_variable}={key}: no PEM private key found")
    names = f"{cert_variable}={cert} and {key_variable}={key}"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=_no_password)
    except _EncryptedKeyError as error:
        raise WrongSettingError(
            f"{key_variable}={key}: the key needs a password; store it without"
        ) from error
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise WrongSettingError(f"{names}: the key is not this certificate's") from error
        raise WrongSettingError(f"{names}: not a certificate and a key in PEM ({error.reason})") from error
    return chain, private


class _EncryptedKeyError(Exception):
    pass


def _no_password() -> NoReturn:
    # Without this OpenSSL asks at the terminal.
    raise _EncryptedKeyError
