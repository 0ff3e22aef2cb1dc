"""The Go client's own form: its tests, its style, its generated code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import system
from tests.support.direct_clients import BUILD_S, GO_CLIENT, run_tool


@pytest.mark.needs("go")
@pytest.mark.timeout(BUILD_S)
def test_the_go_client_is_in_form_and_its_own_tests_pass() -> None:
    """Nothing for gofmt to change, nothing for go vet to say; a scripted core breaks its streams in vain."""
    go = Path(system.find("go") or "go")
    assert run_tool([go.resolve().parent / "gofmt", "-l", "."]) == ""
    run_tool([go, "vet", "./..."])
    run_tool([go, "test", "./..."])


@pytest.mark.needs("go")
@pytest.mark.timeout(BUILD_S)
def test_the_generated_go_code_is_current() -> None:
    """It is what the contract in proto/ gives today."""
    run_tool([GO_CLIENT / "generate.sh", "--check"])
