"""How many files a process may have open, and what it says when there are no more."""

from __future__ import annotations

import logging
import os
import resource
from collections.abc import Iterator

import pytest

from tokenwire import descriptors
from tokenwire.descriptors import DescriptorWatch


@pytest.fixture
def hard() -> Iterator[int]:
    """The hard limit of this process, whose soft one may be changed meanwhile."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_process_may_open_what_the_system_lets_it_open(hard: int) -> None:
    """The soft limit becomes the hard one, or a million; a second time changes nothing."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    expected = descriptors.MOST if hard == resource.RLIM_INFINITY else min(hard, descriptors.MOST)
    assert descriptors.raise_limit() == expected
    assert descriptors.raise_limit() == descriptors.limit() == expected


def test_a_limit_below_what_a_setting_needs_is_one_warning(
    hard: int, caplog: pytest.LogCaptureFixture
) -> None:
    """It names the setting, both numbers and where to change it."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    descriptors.warn_if_short(256, "TOKENWIRE_MAX_STREAMS=200")
    assert not caplog.records
    descriptors.warn_if_short(257, "TOKENWIRE_MAX_STREAMS=200")
    [line] = caplog.messages
    assert all(word in line for word in ("256", "257", "TOKENWIRE_MAX_STREAMS=200", "ulimit"))


def test_having_none_left_is_said_once_a_minute(hard: int, caplog: pytest.LogCaptureFixture) -> None:
    """However often it is looked at."""
    now = [1000.0]
    watch = DescriptorWatch(lambda: now[0])
    watch.check()
    assert not caplog.records
    lowest_free = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    for _ in range(121):
        watch.check()
        now[0] += 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 3
    assert f"out of file descriptors (limit {lowest_free})" in caplog.messages[0]
