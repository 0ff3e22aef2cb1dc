"""A file of keys that can't be used is named with its variable."""

from pathlib import Path

import pytest

from tokenwire.authentication.api_keys import load_keys
from tokenwire.authentication.key_set import read_key_file
from tokenwire.settings import WrongSettingError


def test_api_keys_that_can_not_be_read_are_named_with_variable_and_path(tmp_path: Path) -> None:
    """A missing file, a wrong line in it, a wrong line in the variable, none at all."""
    file = tmp_path / "keys"
    with pytest.raises(WrongSettingError, match=f"^TOKENWIRE_API_KEYS_FILE={file}: No such file"):
        load_keys("", file)
    file.write_text("# ann\nann secret")
    with pytest.raises(WrongSettingError, match=f"^TOKENWIRE_API_KEYS_FILE={file}: line 2 is not `NAME"):
        load_keys("", file)
    with pytest.raises(WrongSettingError, match=r"^TOKENWIRE_API_KEYS: line 1 is not `NAME"):
        load_keys("ann secret", None)
    file.write_text("# none yet")
    with pytest.raises(WrongSettingError, match="there are no API keys in TOKENWIRE_API_KEYS or"):
        load_keys("", file)


def test_an_issuers_keys_that_can_not_be_read_are_named_with_variable_and_path(tmp_path: Path) -> None:
    """A missing file, an empty one, one that holds something else."""
    file = tmp_path / "keys"
    for content, why in (
        (None, "No such file"),
        ("", "the file is empty"),
        ("x", "it is not a JWKS document"),
    ):
        if content is not None:
            file.write_text(content)
        with pytest.raises(WrongSettingError, match=f"^TOKENWIRE_JWT_KEYS_FILE={file}: {why}"):
            read_key_file(file)
