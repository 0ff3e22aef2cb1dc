"""The core's settings."""

import pytest
from pydantic import ValidationError

from agent_core.runs.limits import CoreLimits
from agent_core.runs.log.contract import LogBudget
from agent_core.runs.state import DEFAULT_LIMITS
from agent_core.server import _limits
from agent_core.settings import Settings


def test_the_defaults_bind_to_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is open to others unless somebody says so."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"TOKENWIRE_{name.upper()}", raising=False)
    settings = Settings()
    assert (settings.grpc_host, settings.grpc_port, settings.store, settings.agent) == (
        "127.0.0.1",
        50051,
        "memory",
        "",
    )
    assert (settings.disconnect_grace_s, settings.drain_s, settings.run_timeout_s) == (30.0, 10.0, 3600.0)
    assert settings.max_message_bytes == 128 * 1024
    assert (settings.max_run_bytes, settings.max_run_events, settings.max_run_tool_calls) == DEFAULT_LIMITS
    assert _limits(settings) == CoreLimits()
    assert LogBudget() == LogBudget(
        settings.log_run_bytes, settings.log_run_events, settings.log_total_bytes, settings.log_retention_s
    )


def test_each_setting_is_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """TOKENWIRE_ and the field's name."""
    monkeypatch.setenv("TOKENWIRE_GRPC_PORT", "0")
    monkeypatch.setenv("TOKENWIRE_LOG_LEVEL", "debug")
    assert (Settings().grpc_port, Settings().log_level) == (0, "debug")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GRPC_PORT", "-1"),
        ("DRAIN_S", "-1"),
        ("RUN_TIMEOUT_S", "0"),
        ("MAX_MESSAGE_BYTES", "0"),
        ("LOG_LEVEL", "loud"),
        ("LOG_RUN_EVENTS", "0"),
        ("LOG_TOTAL_BYTES", "1000"),
        ("LOG_RETENTION_S", "-1"),
        ("MAX_RUN_BYTES", "0"),
    ],
)
def test_values_out_of_range_are_refused(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start, not in the middle of a run."""
    monkeypatch.setenv(f"TOKENWIRE_{name}", value)
    with pytest.raises(ValidationError):
        Settings()
