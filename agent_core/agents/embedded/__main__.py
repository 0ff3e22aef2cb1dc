"""Fetches the embedded model's weights ahead of time: `python -m agent_core.agents.embedded`."""

from __future__ import annotations

import asyncio
import logging
import sys

from agent_core.agents.embedded.errors import ModelUnavailableError
from agent_core.agents.embedded.settings import ModelSettings
from agent_core.agents.embedded.weights import SMOLLM2, ensure_weights


def main() -> int:
    """Fetch the weights unless they are there, print their path, and return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        path = asyncio.run(ensure_weights(ModelSettings().cache_folder()))
    except ModelUnavailableError as error:
        sys.stderr.write(f"The weights of {SMOLLM2.model} are not available: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
