"""`python -m edge.workers PLAN`: the supervisor. `python -m edge` becomes it when the settings are right."""

from __future__ import annotations

import asyncio
import os
import sys

import msgspec

from edge.workers.plan import Plan
from edge.workers.supervisor import Supervisor
from tokenwire.descriptors import raise_limit
from tokenwire.logs import set_up_logging


async def _supervise(plan: Plan) -> int:
    return await Supervisor(plan, os.environ).run()


def main() -> int:
    """Return the exit status: 0 after a signal, 2 when the settings are wrong, 1 when it can't start."""
    plan = msgspec.json.decode(sys.argv[1], type=Plan)
    set_up_logging(plan.log_level, plan.log_format)
    raise_limit()
    return asyncio.run(_supervise(plan))


if __name__ == "__main__":
    raise SystemExit(main())
