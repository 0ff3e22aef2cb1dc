"""The files that an operator's agents are made of: what `--reload` looks at."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Final

from agent_core.agents.loading import BUILT_INS, AgentSource

MOST_FILES: Final = 2_000
"""How many files of a folder are looked at where no import says which count: twice a second, 5 ms."""

_FOREIGN: Final = frozenset({"site-packages", "dist-packages", "node_modules", "__pycache__"})


def folders_of(sources: Iterable[AgentSource]) -> frozenset[Path]:
    """Return the folders that the operator's own agents are in: of a package, its own.

    Nothing is imported for it. An agent whose module is not to be found has none.
    """
    found = (_folder_of(source) for source in sources if source not in BUILT_INS)
    return frozenset(folder for folder in found if folder is not None)


def files_of(folders: Iterable[Path], *, loaded: bool) -> Iterator[Path]:
    """Yield the files of Python's in these folders: those that were imported, or all.

    Installed packages are left out, and folders whose name begins with a dot.

    Args:
        folders: From `folders_of`.
        loaded: Whether the agents are loaded: then only what was imported matters. Where an import failed,
            any file may be the one that will be mended.
    """
    for folder in folders:
        yield from _imported_from(folder) if loaded else _all_in(folder)


def _folder_of(source: AgentSource) -> Path | None:
    try:
        spec = importlib.util.find_spec(source.module.partition(".")[0])
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    places = [*(spec.submodule_search_locations or ()), *([spec.origin] if spec.has_location else [])]
    place = Path(str(places[0])) if places else None
    return place if place is None or place.is_dir() else place.parent


def _imported_from(folder: Path) -> Iterator[Path]:
    # A copy: imports go on in other threads.
    for module in list(sys.modules.values()):
        # Not `module.__file__`: some import when they are asked, and then fail in any way.
        name = vars(module).get("__file__") if isinstance(module, ModuleType) else None
        if not isinstance(name, str):
            continue
        path = Path(name)
        if path.is_relative_to(folder) and not _is_foreign(path.relative_to(folder)):
            yield path


def _all_in(folder: Path) -> Iterator[Path]:
    found = 0
    # Folders that go away meanwhile, as at a checkout, are no error here; `rglob` raises.
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not _is_foreign(Path(name))]
        for name in files:
            if name.endswith(".py") and not name.startswith("."):
                found += 1
                yield Path(place, name)
            if found >= MOST_FILES:
                return


def _is_foreign(path: Path) -> bool:
    """Return whether a path below an agent's folder is of what was installed there."""
    return any(part in _FOREIGN or part.startswith(".") for part in path.parts)
