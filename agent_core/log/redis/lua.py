"""The Lua scripts by name, with what stands before them and how Redis names them."""

from __future__ import annotations

from hashlib import sha1
from importlib.resources import files
from typing import Final

COUNTING: Final = frozenset({"create", "append", "delete", "turn"})
"""The scripts that count what an owner holds."""

HINTING: Final = frozenset({"append", "turn"})
"""The scripts that tell other cores of an append."""

NAMES: Final = (
    "create",
    "append",
    "turn",
    "restore",
    "refill",
    "read",
    "delete",
    "renew",
    "tell",
    "leave",
    "forget",
)


def _read(name: str) -> str:
    return (files(__package__) / "scripts" / f"{name}.lua").read_text("utf-8")


def _script(name: str) -> str:
    """Return the text of a script, after the functions that it uses."""
    shares = _read("shares") if name in COUNTING else ""
    hints = _read("hints") if name in HINTING else ""
    return shares + hints + _read(name)


SCRIPTS: Final = {name: _script(name) for name in NAMES}

HASHES: Final = {
    name: sha1(script.encode(), usedforsecurity=False).hexdigest()  # it is how Redis names scripts
    for name, script in SCRIPTS.items()
}
