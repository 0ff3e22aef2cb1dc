"""What `ask` says of a core that refuses it."""

from __future__ import annotations

import pytest

from tokenwire.cli.doors import Access
from tokenwire.cli.grpc_door import HOW_TO_PROVE, OTHER_KEY, how_to_prove


@pytest.mark.parametrize(
    ("api_key", "principal_key", "hint"),
    [
        ("", "", HOW_TO_PROVE),
        ("", "p" * 32, HOW_TO_PROVE),
        ("tw_key", "", ""),
        ("tw_key", "p" * 32, OTHER_KEY),
    ],
    ids=["nothing", "principal key", "API key", "both"],
)
def test_a_refused_call_is_told_what_it_was_made_with(api_key: str, principal_key: str, hint: str) -> None:
    """With both keys the API key is not sent: who has set it would look for the fault there."""
    assert how_to_prove(Access(api_key, "cli", principal_key)) == hint
