"""`python -m edge.workers.worker PLACE`: one worker. Started by the supervisor alone."""

from __future__ import annotations

import sys

import msgspec

from edge.process import read_all_settings, serve
from edge.workers.plan import Place


def main() -> int:
    """Return the exit status, as that of an edge of one process."""
    place = msgspec.json.decode(sys.argv[1], type=Place)
    return serve(*read_all_settings(), place)


if __name__ == "__main__":
    raise SystemExit(main())
