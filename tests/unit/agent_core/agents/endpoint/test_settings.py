"""Which model `assistant` calls."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import SecretStr, ValidationError

from agent_core.agents.assistant import Assistant
from agent_core.agents.embedded.assistant import EmbeddedAssistant
from agent_core.agents.endpoint.settings import EndpointSettings
from tests.support.processes import ROOT, clean_environment
from tokenwire.settings import explain

NAMES = ("TOKENWIRE_MODEL", "TOKENWIRE_MODEL_URL", "TOKENWIRE_MODEL_KEY", "OPENAI_API_KEY")


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_the_environment_names_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """By TOKENWIRE_MODEL and variables that begin with it."""
    monkeypatch.setenv("TOKENWIRE_MODEL_URL", "http://127.0.0.1:11434/v1")
    monkeypatch.setenv("TOKENWIRE_MODEL", "llama3")
    monkeypatch.setenv("TOKENWIRE_MODEL_TOOLS", "off")
    monkeypatch.setenv("TOKENWIRE_MODEL_MAX_TOOL_CALLS", "3")
    settings = EndpointSettings()
    assert (settings.url, settings.name, settings.tools) == ("http://127.0.0.1:11434/v1", "llama3", "")
    assert (settings.max_tool_calls, settings.key) == (3, None)


@pytest.mark.parametrize(
    ("given", "tools"),
    [
        (None, "calculator"),
        ("", "calculator"),
        ("on", "calculator"),
        ("TRUE", "calculator"),
        ("off", ""),
        ("false", ""),
        ("calculator shop=shop:tools", "calculator shop=shop:tools"),
    ],
)
def test_tools_are_named_or_switched_off(
    monkeypatch: pytest.MonkeyPatch, given: str | None, tools: str
) -> None:
    """The words of a switch still work."""
    if given is not None:
        monkeypatch.setenv("TOKENWIRE_MODEL_TOOLS", given)
    assert EndpointSettings().tools == tools


def test_an_unknown_tool_set_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator sees which one."""
    monkeypatch.setenv("TOKENWIRE_MODEL_TOOLS", "calculater")
    with pytest.raises(ValidationError, match=r"there is no tool set 'calculater'. Built in: calculator"):
        EndpointSettings()


def test_our_key_counts_before_openais(monkeypatch: pytest.MonkeyPatch) -> None:
    """And set to nothing it keeps OpenAI's from being sent elsewhere."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    assert EndpointSettings().key == SecretStr("sk-openai")
    monkeypatch.setenv("TOKENWIRE_MODEL_KEY", "sk-ours")
    assert EndpointSettings().key == SecretStr("sk-ours")
    monkeypatch.setenv("TOKENWIRE_MODEL_KEY", "")
    assert EndpointSettings().key is None


@pytest.mark.parametrize("key", ["sk-1\n", "\r\n sk-1\t", "\ufeffsk-1", "\u200bsk-1\u00a0", "sk-1\u2028"])
def test_what_stands_around_a_key_is_cut_off(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """A line break from a file, and what can't be seen from a web page: HTTP could not carry it."""
    monkeypatch.setenv("TOKENWIRE_MODEL_KEY", key)
    assert EndpointSettings().key == SecretStr("sk-1")
    assert EndpointSettings(key=SecretStr(key)).key == SecretStr("sk-1")


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("sk\n-1", "contains a control character (U+000A) (character 3 of 5)"),
        ("sk\u200b-1", "contains zero width space (U+200B) (character 3 of 5)"),
        ("sk -1", "contains space (U+0020) (character 3 of 5)"),
        ("sk-\u00e9", "contains latin small letter e with acute (U+00E9) (character 4 of 4)"),
    ],
)
@pytest.mark.parametrize("variable", ["TOKENWIRE_MODEL_KEY", "OPENAI_API_KEY"])
def test_a_key_that_http_can_not_carry_is_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str, key: str, said: str
) -> None:
    """With the variable, the character and its place, and without the key."""
    monkeypatch.setenv(variable, key)
    with pytest.raises(ValidationError) as caught:
        EndpointSettings()
    (line,) = explain(caught.value, EndpointSettings)
    assert variable in line
    assert said in line
    assert key not in str(caught.value)


@pytest.mark.parametrize("around", ["\n", " ", "\r\n", "\ufeff"])
def test_what_stands_around_a_url_or_a_name_is_cut_off(monkeypatch: pytest.MonkeyPatch, around: str) -> None:
    """As around a key; nothing but that is unset."""
    monkeypatch.setenv("TOKENWIRE_MODEL_URL", f"http://h/v1{around}")
    monkeypatch.setenv("TOKENWIRE_MODEL", f"{around}llama3")
    monkeypatch.setenv("TOKENWIRE_MODEL_KEY", around)
    settings = EndpointSettings()
    assert (settings.url, settings.name, settings.key) == ("http://h/v1", "llama3", None)


def test_empty_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """As compose files unset a variable."""
    for name in (*NAMES, "TOKENWIRE_MODEL_MAX_TOKENS"):
        monkeypatch.setenv(name, "")
    settings = EndpointSettings()
    assert (settings.url, settings.name, settings.key, settings.max_tokens) == (None, None, None, None)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "127.0.0.1:11434/v1",
            "ftp://host/v1",
            "http://",
            "https://[::1",
            "http://host:0/v1",
            "http://h:x/v1",
        ),
        *("http://h/v1?key=sk-secret-1", "http://h/v1#sk-secret-1", "http://u:sk-secret-1@h/v1"),
    ],
)
def test_a_url_that_is_none_is_refused_without_quoting_it(url: str) -> None:
    """It may hold a key: that belongs elsewhere."""
    with pytest.raises(ValidationError) as caught:
        EndpointSettings(url=url)
    assert "sk-secret-1" not in str(caught.value)


def test_a_key_is_hidden_in_what_is_logged() -> None:
    """Where a server quotes it."""
    settings = EndpointSettings(key=SecretStr("sk-1"))
    assert settings.hide("bad key sk-1") == "bad key ***"
    cut_off = EndpointSettings(key=SecretStr("sk-secret-1"))
    assert cut_off.hide("bad key sk-secr") == "bad key ***", "what the log has room for"
    assert cut_off.hide("bad key sk-secret-1, sk-s") == "bad key ***, ***"
    assert cut_off.hide("keys begin with sk-") == "keys begin with sk-"
    assert EndpointSettings().hide("fine") == "fine"
    assert "sk-1" not in repr(settings)


async def test_without_a_url_it_is_the_embedded_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the agent says which one."""
    monkeypatch.setenv("TOKENWIRE_MODEL_CACHE", "/dev/null/nowhere")
    async with Assistant() as assistant:
        assert isinstance(assistant._chosen, EmbeddedAssistant)
        assert assistant.model == "smollm2-135m-instruct"


@pytest.mark.parametrize(("url", "loaded"), [("", "False"), ("http://127.0.0.1:1/v1", "True")])
def test_pydantic_ai_is_loaded_only_when_it_is_needed(url: str, loaded: str) -> None:
    """It takes seconds and 80 MB."""
    code = (
        "import asyncio, sys\n"
        "from agent_core.agents.loading import AgentSource, load_agent\n"
        "agent = load_agent(AgentSource('a', 'agent_core.agents.assistant', 'assistant'))\n"
        "async def main():\n"
        "    async with agent: pass\n"
        "asyncio.run(main())\n"
        "print('pydantic_ai' in sys.modules, 'openai' in sys.modules, 'stamina' in sys.modules)\n"
    )
    environment = {"TOKENWIRE_MODEL_URL": url, "TOKENWIRE_MODEL_CACHE": "/dev/null/nowhere"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=clean_environment(environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == [loaded] * 3
