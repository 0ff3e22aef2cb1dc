"""The core's settings."""

import pytest
from pydantic import BaseModel, ValidationError

from agent_core.log.budget import LogBudget
from agent_core.log.settings import LogSettings
from agent_core.runs.limits import CoreLimits, RunLimits
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


def test_settings_passed_whole_are_the_limits_and_the_budget() -> None:
    """With nothing set, each part has the defaults that it has alone; only owners have shares of the log."""
    settings = Settings()
    for part in (CoreLimits(), RunLimits(), LogSettings()):
        assert part.model_dump() == settings.model_dump(include=set(type(part).model_fields))
    assert LogBudget.of(settings, principals=False) == LogBudget()
    assert LogBudget.of(settings, principals=True) == LogBudget(principal_bytes=67_108_864)
    small = Settings(log_run_bytes=70_000, session_exchanges=3)
    assert LogBudget.of(small, principals=False) == LogBudget(run_bytes=70_000, session_exchanges=3)


@pytest.mark.parametrize("part", [CoreLimits, RunLimits, LogSettings])
def test_a_limit_that_does_not_exist_is_refused(part: type[BaseModel]) -> None:
    """A misspelt one would silently be the default."""
    with pytest.raises(ValidationError):
        part(max_bytes=1)


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


KEY = "k" * 32


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"max_runs": 100}, ("MAX_PRINCIPAL_RUNS (100)", "MAX_RUNS (100)")),
        ({"max_principal_follows": 30_000}, ("MAX_PRINCIPAL_FOLLOWS (30000)", "MAX_FOLLOWS (20000)")),
        (
            {"log_principal_bytes": 268_435_456},
            ("LOG_PRINCIPAL_BYTES (268435456)", "LOG_TOTAL_BYTES (268435456)"),
        ),
        ({"log_principal_bytes": 6_000_000}, ("LOG_PRINCIPAL_BYTES (6000000)", "MAX_PRINCIPAL_RUNS (100)")),
        ({"log_total_bytes": 8_000_000}, ("LOG_PRINCIPAL_BYTES (2000000)", "MAX_PRINCIPAL_RUNS (100)")),
    ],
)
def test_what_lets_one_principal_take_it_all_is_refused(
    given: dict[str, int], named: tuple[str, str]
) -> None:
    """In a line that names both variables and their values; where all are one it does not matter."""
    with pytest.raises(ValidationError) as caught:
        Settings(principal_key=KEY, **given)
    message = caught.value.errors()[0]["msg"]
    assert all(f"TOKENWIRE_{name}" in message for name in named), message
    Settings(**given)


@pytest.mark.parametrize(
    "given",
    [
        {"max_principal_runs": 0},
        {"max_principal_follows": 0},
        {"log_principal_bytes": 0},
        {"max_principal_runs": 300},
    ],
)
def test_a_principal_without_a_limit_is_warned_of(given: dict[str, int]) -> None:
    """The defaults pass silently, and so does what has no limit for all either."""
    (warning,) = Settings(principal_key=KEY, **given).share_warnings()
    assert warning.startswith("TOKENWIRE_")
    assert Settings(**given).share_warnings() == []
    assert Settings(principal_key=KEY).share_warnings() == []
    assert Settings(principal_key=KEY, max_runs=0, max_principal_runs=0).share_warnings() == []


def test_redis_has_a_limit_of_its_own() -> None:
    """There the total does not count, and a share may exceed it."""
    given = {"principal_key": KEY, "store": "redis://127.0.0.1/0", "log_principal_bytes": 2**30}
    assert Settings(**given).share_warnings() == []


@pytest.mark.parametrize("auth", ["keys", "jwt", "jwt, keys"])
def test_bearers_are_a_proof_to_listen_beyond_loopback_with(auth: str) -> None:
    """Without TLS others may read them: that is warned of, since a proxy or mesh may encrypt."""
    settings = Settings(auth=auth, grpc_host="0.0.0.0")
    assert settings.proves_callers
    assert settings.has_principals
    (warning,) = settings.bearer_warnings()
    assert "TOKENWIRE_AUTH=" in warning
    assert "0.0.0.0 without TOKENWIRE_GRPC_TLS_CERT" in warning
    tls = {"grpc_tls_cert": "core.pem", "grpc_tls_key": "core.key"}
    for quiet in ({"grpc_host": "0.0.0.0", **tls}, {"grpc_host": "::1"}, {"grpc_host": "unix:/run/core"}):
        assert Settings(auth=auth, **quiet).bearer_warnings() == []


def test_without_any_proof_only_loopback_is_listened_on() -> None:
    """The refusal names both ways to have one; a principal key alone needs no warning about bearers."""
    with pytest.raises(
        ValidationError, match=r"set TOKENWIRE_PRINCIPAL_KEY \(for edges\), or TOKENWIRE_AUTH"
    ):
        Settings(grpc_host="0.0.0.0")
    assert Settings(grpc_host="0.0.0.0", principal_key=KEY).bearer_warnings() == []


def test_bearers_do_not_lock_the_edges_of_one_common_owner_out() -> None:
    """With TOKENWIRE_SHARED_OWNER edges prove nothing but by a certificate: without those it is refused."""
    with pytest.raises(ValidationError, match="the core would refuse all edges"):
        Settings(auth="keys", shared_owner=True)
    tls = {"grpc_tls_cert": "core.pem", "grpc_tls_key": "core.key", "grpc_tls_client_ca": "ca.pem"}
    assert Settings(auth="keys", shared_owner=True, **tls).proves_callers
