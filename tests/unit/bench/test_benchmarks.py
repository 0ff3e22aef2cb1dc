"""No benchmark rots: some test runs each."""

from __future__ import annotations

from tests.support.processes import ROOT

RUN_BY = {
    "bench.dialect_cost": "tests/unit/bench/test_dialect_cost.py",
    "bench.gc_pauses": "tests/unit/bench/test_gc_pauses.py",
    "bench.reconnects": "tests/e2e/test_reconnects.py",
    "bench.page_script": "tests/e2e/test_page_script.py",
    "bench.recorder_cost": "tests/unit/bench/test_recorder_cost.py",
    "bench.rolling_restart": "tests/e2e/test_rolling_restart.py",
    "bench.run_log": "tests/unit/bench/test_run_log.py",
    "bench.soak": "tests/e2e/test_soak.py",
    "bench.streams": "tests/e2e/test_streams_benchmark.py",
    "bench.telemetry_cost": "tests/e2e/test_telemetry_cost.py",
    "bench.vanish": "tests/e2e/test_vanishing_clients.py",
    "bench.wire_core": "tests/unit/bench/test_wire_core.py",
    # Started by the two that look for what is left.
    "bench.gauged": "bench/stand.py",
    # Started by those that measure with tracing on.
    "bench.trace_sink": "bench/telemetry_cost.py",
}
"""By module that can be run: the file that runs it, in a few seconds."""


def test_every_benchmark_is_run_by_a_test() -> None:
    """A new one fails here until some test runs it; a test that was taken away is missed here."""
    folder = ROOT / "bench"
    modules = [path for path in folder.glob("*.py") if "__main__" in path.read_text()]
    runnable = {f"bench.{path.stem}" for path in modules}
    runnable |= {f"bench.{path.parent.name}" for path in folder.glob("*/__main__.py")}
    assert runnable == RUN_BY.keys()
    for module, runner in RUN_BY.items():
        package, name = module.split(".")
        text = (ROOT / runner).read_text()
        assert module in text or f"from {package} import {name}" in text
