"""API keys, as the command line makes them and the edge reads them."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from tokenwire.authentication.api_keys import ApiKeys, parse_keys
from tokenwire.cli import main
from tokenwire.cli.key import make_key


async def test_a_key_that_was_made_lets_its_owner_in() -> None:
    """The two lines are all that is needed: one for the client, one for the edge."""
    result = CliRunner().invoke(main, ["key", "alice"])
    assert result.exit_code == 0
    key, entry = result.output.split("\n")[:2]
    assert await ApiKeys(parse_keys([entry])).principal_of(f"Bearer {key}") == "alice"
    assert key not in entry


def test_no_two_keys_are_alike() -> None:
    """They are random, and long enough not to be guessed."""
    first, second = make_key("a")[0], make_key("a")[0]
    assert first != second
    assert len(first) > 40


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "a:b", "a\nb"])
def test_a_name_that_is_no_principals_is_refused(name: str) -> None:
    """The edge could not read its entry."""
    assert CliRunner().invoke(main, ["key", name]).exit_code == 2
