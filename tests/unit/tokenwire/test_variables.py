"""The table of variables knows all that the sources read."""

import re
from pathlib import Path

import pytest
from pydantic import SecretStr
from pydantic_settings import BaseSettings

from agent_core.agents.embedded.settings import ModelSettings
from agent_core.agents.endpoint.settings import EndpointSettings
from agent_core.settings import Settings
from edge.settings import EdgeSettings
from tokenwire.variables import CORE, EDGE, VARIABLES, Reader, unknown_variables

ROOT = Path(__file__).parents[3]
NAME = re.compile(r"\bTOKENWIRE_[A-Z0-9_]*[A-Z0-9]\b")


@pytest.mark.parametrize(
    ("settings", "prefix", "reader"),
    [
        (Settings, "TOKENWIRE_", CORE),
        (EdgeSettings, "TOKENWIRE_", EDGE),
        (ModelSettings, "TOKENWIRE_MODEL_", CORE),
        (EndpointSettings, "TOKENWIRE_MODEL_", CORE),
    ],
)
def test_each_setting_is_in_the_table_with_its_reader_and_its_kind(
    settings: type[BaseSettings], prefix: str, reader: Reader
) -> None:
    """A process is given what it reads, and a value is hidden when its type says that it is a secret."""
    for name, field in settings.model_fields.items():
        variable = "TOKENWIRE_MODEL" if (settings, name) == (EndpointSettings, "name") else prefix + name
        known = VARIABLES[variable.upper()]
        assert reader in known.readers, name
        assert known.is_secret == (SecretStr.__name__ in str(field.annotation)), name
        assert known.is_path == ("Path" in str(field.annotation)), name


def test_each_variable_that_the_sources_name_is_in_the_table() -> None:
    """One that is read by its name, without a settings class, is not forgotten."""
    sources = [
        path for package in ("agent_core", "edge", "tokenwire") for path in (ROOT / package).rglob("*.py")
    ]
    named = {
        name
        for path in sources
        for line in path.read_text(encoding="utf-8").splitlines()
        # A prefix such as "TOKENWIRE_CORE_TLS_" names no variable.
        for name in NAME.findall(re.sub(r"TOKENWIRE_[A-Z0-9_]*_(?![A-Z0-9_])", "", line))
    }
    assert named - {*VARIABLES} == set()
    assert "TOKENWIRE_PRINCIPAL_KEY" in named


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("TOKENWIRE_STOER", "Did you mean TOKENWIRE_STORE?"),
        ("TOKENWIRE_GRPC_HOSTS", "Did you mean TOKENWIRE_GRPC_HOST?"),
        ("TOKENWIRE_GPRC_PORT", "Did you mean TOKENWIRE_GRPC_PORT?"),
        ("TOKEN_WIRE_STORE", "Did you mean TOKENWIRE_STORE?"),
        ("TOKENWRIE_STORE", "Did you mean TOKENWIRE_STORE?"),
        ("tokenwire_stoer", "Did you mean TOKENWIRE_STORE?"),
        ("tokenwire_store", "the name is TOKENWIRE_STORE, in capitals"),
        ("TOKENWIRE_XYZZY_PLUGH_QUUX", "is ignored"),
    ],
)
def test_a_variable_that_nothing_reads_is_told_with_what_was_meant(name: str, said: str) -> None:
    """A core that was meant for Redis ran on memory, and lost its runs at the next restart."""
    (line,) = unknown_variables({name: "x", "PATH": "x"})
    assert line.startswith(f"{name} is")
    assert line.endswith(said)


@pytest.mark.parametrize(
    "name",
    [
        "PATH",
        "TOKENIZERS_PARALLELISM",
        "TOKEN_STORE",
        "TOKENWIRE_TEST_REDIS",
        "TOKENWIRE_SERVICE_HOST",
        "TOKENWIRE_CORE_SERVICE_PORT_GRPC",
        "TOKENWIRE_CORE_PORT_50051_TCP_ADDR",
        *VARIABLES,
    ],
)
def test_other_variables_are_none_of_our_concern(name: str) -> None:
    """Other programs', the tests', what Kubernetes sets for a service called tokenwire, and all known."""
    assert unknown_variables({name: "x"}) == []


def test_the_port_that_kubernetes_sets_is_known_by_its_value() -> None:
    """Its name could be a misspelt one of ours."""
    assert unknown_variables({"TOKENWIRE_API_PORT": "tcp://10.0.0.1:8000"}) == []
    assert unknown_variables({"TOKENWIRE_API_PORT": "8000"}) != []
