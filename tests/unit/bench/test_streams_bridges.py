"""Which bridges are compared, and what is left out where a tool is missing."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bench.streams.__main__ import chosen
from bench.streams.bridges import (
    BRIDGES,
    FULL_BRIDGES,
    GATEWAY,
    GO,
    NAIVE,
    NODE,
    PRODUCT,
    PRODUCT_CALLS,
    MissingToolError,
    buildable,
    tool,
)
from bench.streams.cases import body


def test_bridges_are_measured_in_the_order_of_the_tables() -> None:
    """Whatever the order of their names on the command line."""
    assert [bridge.name for bridge in chosen(f"{NAIVE}, {PRODUCT}", full=False)] == [PRODUCT, NAIVE]
    assert chosen(None, full=True) == [*BRIDGES, *FULL_BRIDGES]


def test_an_unknown_bridge_is_refused_with_the_known_ones() -> None:
    """One of `--full` is unknown without it."""
    with pytest.raises(SystemExit, match=f"unknown bridges: {GATEWAY}. There are: {PRODUCT}"):
        chosen(GATEWAY, full=False)


def test_a_bridge_whose_tools_are_missing_is_left_out_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The others are measured."""
    monkeypatch.setenv("PATH", "")
    usable, left_out = buildable(BRIDGES)
    assert left_out == {GO: "go was not found", NODE: "node was not found"}
    assert [bridge.name for bridge in usable][:3] == [PRODUCT, PRODUCT_CALLS, NAIVE]
    with pytest.raises(MissingToolError):
        tool("go")


def test_a_failed_build_is_told_with_its_output() -> None:
    """Only its end: a compiler may say much."""

    def fail() -> None:
        raise MissingToolError("`go build` failed: no such package")

    assert buildable([replace(BRIDGES[0], build=fail)]) == (
        [],
        {PRODUCT: "`go build` failed: no such package"},
    )


def test_every_bridge_is_asked_for_the_same_run() -> None:
    """grpc-gateway wants the request of the contract; a run ends with its stream by default there."""
    asked = json.loads(body({"tokens": 3, "rate": 50}))
    (gateway,) = chosen(GATEWAY, full=True)
    wanted = json.loads(gateway.request(json.dumps(asked)))
    assert asked.pop("onDisconnect") == "cancel"
    assert wanted == {"run": asked}
    assert json.loads(asked["message"]) == {"size": 5, "tokens": 3, "rate": 50}
