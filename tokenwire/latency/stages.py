"""The stages of a token's way, and the hops between them."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

Stage: TypeAlias = Literal["model", "logged", "send", "recv", "write", "browser"]
"""Where a stamp is taken."""

Hop: TypeAlias = Literal["model", "log", "send", "link", "write", "browser"]
"""What ends at a stage."""

STAGES: Final[tuple[Stage, ...]] = ("model", "logged", "send", "recv", "write", "browser")
"""In the order in which a token meets them."""

HOPS: Final[tuple[Hop, ...]] = ("model", "log", "send", "link", "write", "browser")
"""The hop that ends at each stage."""

CORE_STAGES: Final = 3
"""How many stages a token meets in the core."""

EDGE_STAGES: Final = 5
"""How many stages a token has met when the edge has written it."""
