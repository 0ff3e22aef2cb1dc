"""A wrong setting is one line that names it, and shows no value that may be a secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from agent_core.agents.embedded.settings import ModelSettings
from agent_core.agents.endpoint.settings import EndpointSettings
from agent_core.settings import Settings
from edge.settings import EdgeSettings
from tests.support.certificates import Authority, Certificate
from tokenwire.settings import (
    WrongSettingError,
    read_authorities,
    read_file,
    read_pair,
    read_settings,
    read_text,
)
from tokenwire.variables import VARIABLES

SHOWN = ("TOKENWIRE_AGENT", "TOKENWIRE_CORE", "TOKENWIRE_GRPC_HOST", "TOKENWIRE_HOST")
"""Their wrong values are shown: they are names and addresses, which hold no password."""

MARK = "this-may-be-a-secret"


class SampleSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="SAMPLE_", hide_input_in_errors=True)

    needed: str
    number: int = Field(default=1, ge=1)
    named: int = Field(default=1, validation_alias="NAME_OF_SAMPLE")
    key: SecretStr = SecretStr("")

    @field_validator("key")
    @classmethod
    def _long(cls, value: SecretStr) -> SecretStr:
        if len(value.get_secret_value()) < 40:
            raise ValueError("must be\nlonger")
        return value


def test_each_wrong_setting_is_a_line_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Missing, unreadable, out of range, refused by a validator, with a name of its own: all at once."""
    monkeypatch.setenv("SAMPLE_NUMBER", MARK)
    monkeypatch.setenv("SAMPLE_KEY", MARK)
    monkeypatch.setenv("NAME_OF_SAMPLE", MARK)
    with pytest.raises(SystemExit) as raised:
        read_settings("sample", SampleSettings)
    assert raised.value.code == 2
    said = capsys.readouterr().err
    assert said.splitlines() == [
        "sample: SAMPLE_NEEDED: must be set",
        "sample: SAMPLE_NUMBER: Input should be a valid integer, unable to parse string as an integer",
        "sample: NAME_OF_SAMPLE: Input should be a valid integer, unable to parse string as an integer",
        "sample: SAMPLE_KEY: must be longer",
    ]
    monkeypatch.setenv("SAMPLE_NEEDED", "x")
    monkeypatch.setenv("SAMPLE_NUMBER", "0")
    monkeypatch.setenv("SAMPLE_KEY", MARK * 2)
    monkeypatch.setenv("NAME_OF_SAMPLE", "2")
    with pytest.raises(SystemExit):
        read_settings("sample", SampleSettings)
    assert capsys.readouterr().err == "sample: SAMPLE_NUMBER: Input should be greater than or equal to 1\n"
    monkeypatch.setenv("SAMPLE_NUMBER", "3")
    assert read_settings("sample", SampleSettings).number == 3


def test_a_file_that_can_not_be_read_is_named_with_its_setting(tmp_path: Path) -> None:
    """Missing, a folder, empty, no text."""
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name, why in (("no", "No such file"), (".", "Is a directory"), ("empty", "the file is empty")):
        with pytest.raises(WrongSettingError, match=rf"^TOKENWIRE_X={tmp_path / name}: {why}"):
            read_file("TOKENWIRE_X", tmp_path / name)
    with pytest.raises(WrongSettingError, match=r"binary: not UTF-8 text"):
        read_text("TOKENWIRE_X", tmp_path / "binary")
    (tmp_path / "good").write_text("é")
    assert read_text("TOKENWIRE_X", tmp_path / "good") == "é"


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return Authority(tmp_path).issue("core")


def pair(cert: Path, key: Path) -> tuple[bytes, bytes]:
    return read_pair("THE_CERT", cert, "THE_KEY", key)


def test_a_certificate_and_its_key_are_read(certificate: Certificate, tmp_path: Path) -> None:
    """As gRPC takes them."""
    assert pair(certificate.cert, certificate.key) == (
        certificate.cert.read_bytes(),
        certificate.key.read_bytes(),
    )
    assert b"CERTIFICATE" in read_authorities("THE_CA", tmp_path / "test-authority.pem")


def test_a_key_that_does_not_fit_is_told_with_both_paths(certificate: Certificate, tmp_path: Path) -> None:
    """Of gRPC one learns only that it could not bind."""
    other = Authority(tmp_path, "another").issue("another-core")
    with pytest.raises(WrongSettingError, match="the key is not this certificate's") as raised:
        pair(certificate.cert, other.key)
    assert f"THE_CERT={certificate.cert} and THE_KEY={other.key}: " in str(raised.value)


def test_what_is_no_pem_is_told(certificate: Certificate, tmp_path: Path) -> None:
    """Of the certificate, of the key, of the authorities; the two exchanged; damaged ones."""
    text = tmp_path / "text"
    text.write_text("no PEM")
    with pytest.raises(WrongSettingError, match=f"THE_CERT={text}: no PEM certificate found"):
        pair(text, certificate.key)
    with pytest.raises(WrongSettingError, match=f"THE_KEY={text}: no PEM private key found"):
        pair(certificate.cert, text)
    with pytest.raises(WrongSettingError, match="no PEM certificate found"):
        pair(certificate.key, certificate.cert)
    for file in (text, certificate.key):
        with pytest.raises(WrongSettingError, match=f"THE_CA={file}: no PEM certificate found"):
            read_authorities("THE_CA", file)
    text.write_bytes(certificate.cert.read_bytes().replace(b"M", b"!"))
    with pytest.raises(WrongSettingError, match="not a certificate and a key in PEM"):
        pair(text, certificate.key)


def test_a_key_with_a_password_is_told_and_not_asked_for(certificate: Certificate) -> None:
    """OpenSSL would wait at the terminal."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - for this test alone

    key = serialization.load_pem_private_key(certificate.key.read_bytes(), None)
    certificate.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(MARK.encode()),
        )
    )
    with pytest.raises(WrongSettingError, match=f"THE_KEY={certificate.key}: the key needs a password"):
        pair(certificate.cert, certificate.key)


@pytest.mark.parametrize("settings", [Settings, EdgeSettings, EndpointSettings, ModelSettings])
def test_no_wrong_value_of_a_secret_is_shown(
    settings: type[BaseSettings], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that is too short, or that was put where a number or an address belongs."""
    mark = "s3cr3t! x"
    for name, variable in VARIABLES.items():
        if not variable.is_path:
            monkeypatch.setenv(name, mark)
    monkeypatch.setenv("TOKENWIRE_STORE", f"redis://user:{mark}/@redis")
    for name in SHOWN:
        monkeypatch.delenv(name)
    with pytest.raises(SystemExit):
        read_settings("sample", settings)
    said = capsys.readouterr().err
    assert mark not in said
    assert all(line.startswith("sample: TOKENWIRE_") for line in said.splitlines())
