"""What pip's complaints mean to the user."""

from __future__ import annotations

import pytest

from agent_core.agents.embedded.download import explain


@pytest.mark.parametrize(
    ("said", "reason", "remedy"),
    [
        ("/usr/bin/python: No module named pip", "pip is missing", "ensurepip"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left", "disk", "300 MB"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "checksum", "mirror"),
        (
            "WARNING: Retrying (Retry(total=4)) after connection broken\nERROR: No matching",
            "index",
            "network",
        ),
        (
            "WARNING: x\nERROR: first\nERROR: No matching distribution\n",
            "fetched",
            "No matching distribution",
        ),
        ("Traceback\nBoom: it broke", "fetched", "Boom: it broke"),
        ("", "fetched", "no reason"),
    ],
)
def test_a_failure_says_what_is_wrong_and_what_to_do(said: str, reason: str, remedy: str) -> None:
    """Each known cause has its own words; of an unknown one pip's last error is shown."""
    error = explain(said)
    assert reason in error.reason
    assert remedy in error.remedy
    assert "python -m agent_core.agents.embedded" in error.remedy
