"""Agents and tool sets that installed packages offer: real metadata, in folders on the path."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent_core.agents.loading import TOOLS, AgentLoadError, AgentSource, load_agent, parse_source
from tests.support import agents

Install = Callable[..., None]
SHOP = "shop = tests.support.agents:echo"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a package of metadata alone, in a folder of its own."""

    def installed(name: str, *lines: str, group: str = "tokenwire.agents", folder: str = "") -> None:
        place = tmp_path / (folder or name)
        metadata = place / f"{name.replace('-', '_')}-1.5.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
        (metadata / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))
        monkeypatch.syspath_prepend(place)

    return installed


def test_an_installed_package_offers_an_agent_by_its_bare_name(install: Install) -> None:
    """Beside others, in any group; extras are ignored; and what it offers is loaded."""
    install("acme-others", "shop = acme:others", group="acme.agents")
    install("acme-agents", "more = acme:more", "shop=tests.support.agents:echo [fast]")
    source = parse_source("shop")
    assert source == AgentSource("shop", "tests.support.agents", "echo", "acme-agents 1.5")
    assert load_agent(source) is agents.echo


def test_agents_and_tool_sets_are_groups_of_their_own(install: Install) -> None:
    """An agent's name is no tool set's."""
    install("acme-tools", SHOP, group="tokenwire.tools")
    assert parse_source("shop", TOOLS).package == "acme-tools 1.5"
    with pytest.raises(AgentLoadError, match="there is no agent 'shop'"):
        parse_source("shop")


def test_nothing_is_imported_that_was_not_asked_for(install: Install) -> None:
    """Neither what a package offers beside it, nor the agent itself before it is loaded."""
    install("acme-agents", "shop = never_there.shop:agent", "other = never_there.other:agent")
    assert parse_source("shop").module == "never_there.shop"
    assert not any(name.startswith("never_there") for name in sys.modules)


def test_a_built_in_name_means_the_built_in_agent(install: Install) -> None:
    """Whatever an installed package offers: installing one must not change what a core answers."""
    install("acme-agents", "assistant = acme:agent", "pace = acme:agent")
    assert parse_source("assistant").module == "agent_core.agents.assistant"
    assert parse_source("pace").package == ""


def test_what_is_named_with_its_place_is_not_looked_up(install: Install) -> None:
    """It works whatever the installed packages offer."""
    install("acme-agents", "no entry at all")
    assert parse_source("shop=mine:agent") == AgentSource("shop", "mine", "agent")


def test_a_name_that_two_packages_offer_is_refused_with_both(install: Install) -> None:
    """None of them can be what the operator meant for sure."""
    install("acme-agents", SHOP)
    install("other-agents", SHOP)
    with pytest.raises(AgentLoadError) as refused:
        parse_source("shop")
    assert (
        "agent 'shop' is offered by several installed packages: acme-agents 1.5 and other-agents 1.5"
        in str(refused.value)
    )


def test_a_package_that_is_on_the_path_twice_counts_once(install: Install) -> None:
    """As imports count it: the first place wins."""
    install("acme-agents", "shop = old:agent", folder="later")
    install("acme-agents", SHOP, folder="first")
    assert parse_source("shop").module == "tests.support.agents"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("shop = tests.support.agents", "'tests.support.agents' does not name an attribute of a module"),
        ("shop = not a place", "'not a place' does not name an attribute of a module"),
        ("shop =", "'' does not name an attribute of a module"),
        ("shop", "the entry points of the package acme-agents 1.5 can't be read: "),
        ("shop = never_there:agent", "there is no module 'never_there'"),
        ("shop = tests.support.agents:nope", "the module has no 'nope'"),
        ("shop = tests.support.agents:SCRIPTED_TEXT", "a str can't be called"),
    ],
)
def test_a_broken_offer_is_one_line_that_names_the_package(install: Install, line: str, said: str) -> None:
    """Wherever it is broken: its metadata, its module, what that has."""
    install("acme-agents", line)
    with pytest.raises(AgentLoadError) as refused:
        load_agent(parse_source("shop"))
    assert said in str(refused.value)
    assert "package acme-agents 1.5" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_unknown_name_is_told_those_that_there_are(install: Install) -> None:
    """Built in and installed, each once."""
    install("acme-agents", SHOP, "bar = acme:bar")
    with pytest.raises(AgentLoadError) as refused:
        parse_source("shpo")
    assert "Built in: assistant, pace. Offered by installed packages: bar, " in str(refused.value)
    assert "shop. Name one of your own as name=package.module:attribute" in str(refused.value)


def test_where_portfolio_is_not_installed_there_is_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the wheel of Tokenwire alone: as an agent and as a tool set."""
    monkeypatch.setattr("importlib.metadata.distributions", lambda: ())
    for kind in ({}, {"kind": TOOLS}):
        with pytest.raises(
            AgentLoadError, match=r"'portfolio' is not installed: .*pip install ./examples/portfolio"
        ):
            parse_source("portfolio", **kind)  # type: ignore[arg-type]
