"""How many files a process may have open, and what it says when there are no more."""

from __future__ import annotations

import logging
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tokenwire import descriptors
from tokenwire.descriptors import DescriptorWatch


@contextmanager
def soft_limit(most: int) -> Iterator[int]:
    """Lower this process's limit within a test's body alone: pytest opens files. Gives the hard one."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
    try:
        yield before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_process_may_open_what_the_system_lets_it_open() -> None:
    """The soft limit becomes the hard one, or a million; a second time changes nothing."""
    with soft_limit(256) as hard:
        expected = descriptors.MOST if hard == resource.RLIM_INFINITY else min(hard, descriptors.MOST)
        assert descriptors.raise_limit() == expected
        assert descriptors.raise_limit() == descriptors.limit() == expected


def test_a_limit_below_what_a_setting_needs_is_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    """It names the setting, both numbers and where to change it."""
    with soft_limit(256):
        descriptors.warn_if_short(256, "TOKENWIRE_MAX_STREAMS=200")
        assert not caplog.records
        descriptors.warn_if_short(257, "TOKENWIRE_MAX_STREAMS=200")
    [line] = caplog.messages
    assert all(word in line for word in ("256", "257", "TOKENWIRE_MAX_STREAMS=200", "ulimit"))


def test_having_none_left_is_said_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """However often it is looked at."""
    now = [1000.0]
    watch = DescriptorWatch(lambda: now[0])
    watch.check()
    assert not caplog.records
    lowest_free = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest_free)
    with soft_limit(lowest_free):
        for _ in range(121):
            watch.check()
            now[0] += 1
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 3
    assert f"out of file descriptors (limit {lowest_free})" in caplog.messages[0]
