"""The page `/metrics`, read by Prometheus' own Python parsers."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tokenwire.telemetry.metrics import Exemplar, Home
from tokenwire.telemetry.metrics.exposition import (
    OPENMETRICS_CONTENT_TYPE,
    OPENMETRICS_TYPE,
    TEXT_CONTENT_TYPE,
    metrics_page,
)

STALL = Exemplar("ab" * 16, "cd" * 8, 117, 0.4, 1_700_000_000_123_000_000)
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
"""What Prometheus 2.42 asks for."""


@pytest.fixture
def filled() -> Home:
    """A home with one instrument of each kind."""
    home = Home()
    home.resource = {"service.name": "tokenwire-edge", "service.instance.id": "edge-1"}
    gaps = home.histogram("t.gap", "A gap.", bounds_s=(0.00001, 0.25, 1.0), labels={"stage": ()})
    gaps.observe(0.1, "link")
    gaps.observe(0.4, "link", exemplar=STALL)
    gaps.observe(5.0, "link")
    home.counter("t.stalls", "Stalls.", unit="{stall}", labels={"hop": ()}).add(2, "link", exemplar=STALL)
    home.gauge("t.open", "Open.", unit="{stream}").add(3)
    home.counter("t.never", "Nothing yet.", unit="{run}", labels={"hop": ()})
    return home


def samples(families: Any) -> dict[tuple[str, tuple[tuple[str, str], ...]], Any]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample
        for family in families
        for sample in family.samples
    }


@pytest.mark.parametrize("accept", ["", PROMETHEUS], ids=["text", "openmetrics"])
def test_all_numbers_are_on_the_page(filled: Home, accept: str) -> None:
    """In both formats alike: a bucket holds those below it."""
    page, _ = metrics_page(filled, accept)
    found = samples((parse_openmetrics if accept else parse_text)(page.decode()))
    link = ("stage", "link")
    buckets = {
        bound: found["t_gap_seconds_bucket", tuple(sorted([link, ("le", bound)]))].value
        for bound in ("1e-05", "0.25", "1.0", "+Inf")
    }
    assert buckets == {"1e-05": 0, "0.25": 1, "1.0": 2, "+Inf": 3}
    assert found["t_gap_seconds_count", (link,)].value == 3
    assert found["t_gap_seconds_sum", (link,)].value == 5.5
    assert found["t_stalls_total", (("hop", "link"),)].value == 2
    assert found["t_open", ()].value == 3
    target = (("service_instance_id", "edge-1"), ("service_name", "tokenwire-edge"))
    assert found["target_info", target].value == 1


def test_families_have_their_type_unit_and_text(filled: Home) -> None:
    """Prometheus keeps them as metadata, and Grafana shows them."""
    families = {each.name: each for each in parse_openmetrics(metrics_page(filled, PROMETHEUS)[0].decode())}
    gap, stalls = families["t_gap_seconds"], families["t_stalls"]
    assert (gap.type, gap.unit, gap.documentation) == ("histogram", "seconds", "A gap.")
    assert (stalls.type, stalls.unit) == ("counter", "")
    assert families["target"].type == "info"
    assert "t_never" not in families


def test_an_exemplar_names_the_trace_and_the_token(filled: Home) -> None:
    """On the counter of stalls, and on the bucket that the stall is in."""
    found = samples(parse_openmetrics(metrics_page(filled, PROMETHEUS)[0].decode()))
    for key in (
        ("t_stalls_total", (("hop", "link"),)),
        ("t_gap_seconds_bucket", (("le", "1.0"), ("stage", "link"))),
    ):
        exemplar = found[key].exemplar
        assert exemplar.labels == {"trace_id": "ab" * 16, "span_id": "cd" * 8, "sequence": "117"}
        assert (exemplar.value, float(exemplar.timestamp)) == (0.4, 1_700_000_000.123)
    assert found["t_gap_seconds_bucket", (("le", "+Inf"), ("stage", "link"))].exemplar is None


def test_text_has_no_exemplars(filled: Home) -> None:
    """Its readers take them for a syntax error."""
    page, content_type = metrics_page(filled)
    assert content_type == TEXT_CONTENT_TYPE
    assert b"trace_id" not in page
    assert b"# EOF" not in page


@pytest.mark.parametrize("value", ['a"b', "a\\b", "a\nb", "a\\nb", "ü {} , ="])
def test_any_text_can_be_a_label(value: str) -> None:
    """A model may be called anything."""
    home = Home()
    home.counter("t.calls", 'Calls of "any"\\\nmodel.', unit="{call}", labels={"gen_ai.model": ()}).add(
        1, value
    )
    for accept, parse in (("", parse_text), (PROMETHEUS, parse_openmetrics)):
        found = samples(parse(metrics_page(home, accept)[0].decode()))
        assert found["t_calls_total", (("gen_ai_model", value),)].value == 1


def test_an_empty_value_is_no_label() -> None:
    """As Prometheus has it: a call that met no error has no type of error."""
    home = Home()
    home.counter("t.calls", "Calls.", unit="{call}", labels={"error.type": ()}).add(1, "")
    assert b"\nt_calls_total 1\n" in metrics_page(home)[0]


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (PROMETHEUS, OPENMETRICS_CONTENT_TYPE),
        (OPENMETRICS_TYPE.upper(), OPENMETRICS_CONTENT_TYPE),
        (f"text/plain, {OPENMETRICS_TYPE}; version=1.0.0; q=0.5", OPENMETRICS_CONTENT_TYPE),
        (f"{OPENMETRICS_TYPE};q=0, text/plain", TEXT_CONTENT_TYPE),
        ("*/*", TEXT_CONTENT_TYPE),
        ("text/html,application/xml;q=0.9,*/*;q=0.8", TEXT_CONTENT_TYPE),
        ("", TEXT_CONTENT_TYPE),
        (";;,,=", TEXT_CONTENT_TYPE),
    ],
)
def test_a_reader_gets_what_it_asks_for(accept: str, content_type: str) -> None:
    """A browser and curl get plain text."""
    assert metrics_page(Home(), accept)[1] == content_type
