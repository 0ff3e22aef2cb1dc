"""A browser's half in a process of its own: `python -m tests.support.sse_follower URL KEY AGENT`.

Asks an agent and prints what comes, as it comes.
"""

from __future__ import annotations

import sys

import httpx

SILENCE_S = 300.0
"""Longer than any test lets it be silent."""


def main(url: str, key: str, agent: str) -> None:
    """Read a stream to its end."""
    body = {"message": "hi", "sessionId": "s", "agent": agent}
    headers = {"authorization": f"Bearer {key}"}
    with httpx.stream(
        "POST", f"{url}/api/chat", json=body, headers=headers, timeout=SILENCE_S, trust_env=False
    ) as response:
        for text in response.iter_text():
            print(text, end="", flush=True)  # noqa: T201 # what it is for


if __name__ == "__main__":
    main(*sys.argv[1:])
