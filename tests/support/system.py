"""The programs of the system that some tests need.

Under CI (CI=true) a missing one is a failure. Elsewhere those tests are skipped, and the end of
the run says loudly which were left out.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping

PROGRAMS: Mapping[str, tuple[str, ...]] = {
    "chromium": ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"),
    "redis": ("redis-server", "valkey-server"),
    "node": ("node",),
    "go": ("go",),
}
"""What a need `needs_NAME` asks for: any one of these programs."""


def find(need: str) -> str | None:
    """Return the path of a program that meets a need, or None.

    TOKENWIRE_TEST_CHROMIUM and its like name a program that is not on the search path.
    """
    named = os.environ.get(f"TOKENWIRE_TEST_{need.upper()}")
    if named:
        return named
    return next((path for path in map(shutil.which, PROGRAMS[need]) if path), None)


def is_ci() -> bool:
    """Return whether nothing may be left out."""
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}
