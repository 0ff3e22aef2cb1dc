"""Fail when a lock in `requirements/` does not fit `pyproject.toml`. Asks no registry."""

import re
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PIN = re.compile(
    r"^([A-Za-z0-9._-]+)==([^\s;\\]+)([^\n]*\\\n(?:\s+--hash=sha256:[0-9a-f]{64}[^\n]*\n)+)?", re.MULTILINE
)

APART = frozenset({"observe.txt"})
"""Locks of an environment of their own: Phoenix needs other versions than we do."""

BESIDE = frozenset({"frameworks.txt"})
"""Locks of an environment that has ours behind it: what both have, they have in one version."""


def pins(name: str) -> dict[str, str]:
    """Return the versions that a lock pins.

    Raises:
        SystemExit: A pin has no hash.
    """
    text = (ROOT / "requirements" / name).read_text()
    unhashed = [match[1] for match in PIN.finditer(text) if not match[3]]
    if unhashed:
        sys.exit(f"requirements/{name}: no hash for {', '.join(unhashed)}")
    return {canonicalize_name(match[1]): match[2] for match in PIN.finditer(text)}


def problems() -> list[str]:
    """Return what does not fit."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runtime = project["project"]["dependencies"] + project["project"]["optional-dependencies"]["embedded"]
    wanted = {
        "dev.txt": [*runtime, *project["dependency-groups"]["dev"]],
        "runtime.txt": runtime,
        "uv.txt": ["uv"],
        "observe.txt": ["arize-phoenix>=20.26.1"],
        "frameworks.txt": ["langchain-core>=1.0", "langgraph>=1.0", "openai-agents>=0.20"],
    }
    locked = {name: pins(name) for name in wanted}
    found = []
    for name, requirements in wanted.items():
        for requirement in map(Requirement, requirements):
            version = locked[name].get(canonicalize_name(requirement.name))
            if version is None or not requirement.specifier.contains(version, prereleases=True):
                found.append(f"requirements/{name} has {version or 'nothing'} for {requirement}")
        for package, version in locked[name].items() if name not in APART else ():
            if locked["dev.txt"].get(package, version if name in BESIDE else None) != version:
                found.append(f"requirements/{name} and dev.txt have different versions of {package}")
    return found


def main() -> int:
    """Return 1 when a lock is not current, having said why."""
    found = problems()
    for problem in found:
        print(f"{problem} (run: make lock)", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
