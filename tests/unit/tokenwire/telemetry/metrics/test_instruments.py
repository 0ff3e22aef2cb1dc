"""All instruments of the product, as they are declared."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from agent_core.runs.run import StopCause
from edge.http.event_stream import Outcome
from tokenwire.latency import HOPS
from tokenwire.telemetry.losses import REASONS
from tokenwire.telemetry.metrics import Home, home
from tokenwire.telemetry.metrics import instruments as declared
from tokenwire.telemetry.metrics.exposition import prometheus_name
from tokenwire.telemetry.metrics.home import AnyInstrument

ALL = [pytest.param(each, id=each.declaration.name) for each in home()]


@pytest.mark.parametrize("instrument", ALL)
def test_a_name_is_of_the_product_or_of_a_convention(instrument: AnyInstrument) -> None:
    """In lower case and with dots, as the conventions want it."""
    assert re.fullmatch(r"(tokenwire|gen_ai)(\.[a-z_]+)+", instrument.declaration.name)


@pytest.mark.parametrize("instrument", ALL)
def test_no_label_is_an_id(instrument: AnyInstrument) -> None:
    """Each value of a label is a series of its own that stays for as long as the process lives."""
    labels = set(instrument.declaration.labels)
    assert labels <= {
        "stage", "hop", "outcome", "cause", "by", "reason", "store", "operation", "dialect",
        "gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "error.type",
    }  # fmt: skip


@pytest.mark.parametrize("instrument", ALL)
def test_bounds_ascend(instrument: AnyInstrument) -> None:
    """Values are looked up by halving."""
    bounds = instrument.declaration.bounds_nano
    assert list(bounds) == sorted(set(bounds))
    assert bool(bounds) == (instrument.declaration.kind == "histogram")


@pytest.mark.parametrize("instrument", ALL)
def test_what_it_counts_is_said_in_a_sentence(instrument: AnyInstrument) -> None:
    """It is what Prometheus and Grafana show beside the name."""
    assert re.fullmatch(r"[A-Z][^\n]*\.", instrument.declaration.description)


def test_prometheus_names_are_those_of_otlp() -> None:
    """Dots as underscores; seconds are said."""
    names = {each.declaration.name: prometheus_name(each.declaration) for each in home()}
    assert names["tokenwire.stage.duration"] == "tokenwire_stage_duration_seconds"
    assert names["tokenwire.streams.active"] == "tokenwire_streams_active"
    assert names["gen_ai.client.inference.duration"] == "gen_ai_client_inference_duration_seconds"
    assert len({*names.values()}) == len(names)


def test_labels_have_the_values_that_the_code_has() -> None:
    """A new outcome, hop or cause fails here until it begins at zero, too."""
    assert declared.STREAMS_CLOSED.declaration.labels == {"outcome": get_args(Outcome)}
    assert declared.STALLS.declaration.labels == {"hop": HOPS}
    assert {cause.value for cause in StopCause} <= {*declared.CANCEL_CAUSES}


@pytest.mark.usefixtures("metrics")
def test_the_spans_that_are_lost_have_a_reason_each() -> None:
    """All that the exporters count is shown."""
    declared.TELEMETRY_DROPPED.read_from(lambda: {(why,): 0.0 for why in REASONS})
    assert {key[0] for key in declared.TELEMETRY_DROPPED.points()} >= {*REASONS}


def test_series_whose_labels_are_known_begin_at_zero() -> None:
    """The first stall is an increase that a rate can see, and not a series that was not there."""
    own = Home()
    known = own.counter("c", "", unit="{stall}", labels={"hop": ("a", "b")}, by="edge")
    unknown = own.counter("d", "", unit="{call}", labels={"model": ()})
    others = own.counter("e", "", unit="{run}", by="core")
    own.begin("edge")
    assert {key: point.value for key, point in known.points().items()} == {("a",): 0, ("b",): 0}
    assert not unknown.points()
    assert not others.points()


def test_a_name_is_declared_once() -> None:
    """Two instruments of one name would be one family with two meanings."""
    own = Home()
    own.gauge("g", "", unit="{stream}")
    with pytest.raises(ValueError, match="g is declared twice"):
        own.counter("g", "", unit="{stream}")
