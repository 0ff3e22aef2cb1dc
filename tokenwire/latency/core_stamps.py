"""The stamps that a core took of an event, by the clock of who reads them."""

from __future__ import annotations

from typing import Final

from tokenwire.v1.event_pb2 import Event

_NANO: Final = 1_000_000_000


def core_stamps(event: Event, *, clock_tag: int, wall_offset_nano: int) -> tuple[int, int]:
    """Return when an event was yielded and when it was logged, in nanoseconds of our monotonic clock.

    Those of another machine are placed by its wall clock, which may differ from ours.

    Args:
        event: The event.
        clock_tag: Of our monotonic clock.
        wall_offset_nano: What has to be added to a time of that to get the Unix time.
    """
    timing = event.timing
    model, logged = timing.model_nano, timing.logged_nano
    if timing.clock_tag == clock_tag:
        return model, logged
    created = event.create_time.seconds * _NANO + event.create_time.nanos - wall_offset_nano
    return created, created + logged - model if logged else 0
