"""Fail when a pure module has a branch that its own test module does not take.

    python scripts/check_coverage.py            all
    python scripts/check_coverage.py frames     those whose path holds a word

Each module runs alone with just its own tests: a branch that only some other test happens to
take is one that nobody has thought of.
"""

import ast
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PURE = (
    "edge/sse/**/*.py",
    "tokenwire/backoff.py",
    "tokenwire/client/progress.py",
    "tokenwire/cursor.py",
    "tokenwire/events.py",
    "tokenwire/reasons.py",
    "tokenwire/translate.py",
    "agent_core/log/sqlite/packing.py",
    "agent_core/rpc/link/codec.py",
    "agent_core/agents/inputs.py",
    "agent_core/runs/answers.py",
    "agent_core/runs/inputs.py",
    "agent_core/runs/json_schema.py",
    "agent_core/runs/run_deadline.py",
    "agent_core/runs/state.py",
    "agent_core/runs/presence.py",
    "agent_core/runs/failures.py",
    "agent_core/runs/values.py",
    "agent_core/runs/start_request.py",
    "edge/upstream/retry_policy.py",
    "edge/upstream/placement.py",
    "edge/upstream/reader.py",
)
"""The modules that are held to it: the wire core and the state of runs."""


def modules() -> Iterator[Path]:
    """Yield the modules that have something to run, relative to the root."""
    for pattern in PURE:
        found = sorted(ROOT.glob(pattern))
        if not found:
            sys.exit(f"check_coverage: nothing at {pattern}")
        yield from (path.relative_to(ROOT) for path in found if not only_declares(path))


def only_declares(path: Path) -> bool:
    """Return whether nothing in a module runs: only imports, names, fields and Protocols."""
    return all(_declares(node) for node in ast.parse(path.read_text()).body)


def _declares(node: ast.stmt) -> bool:
    """Return whether a statement only says what there is."""
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Assign() | ast.AnnAssign():
            return True
        case ast.Expr():
            return isinstance(node.value, ast.Constant)
        case ast.ClassDef():
            bases = {ast.unparse(base) for base in node.bases}
            return "Protocol" in bases or ("NamedTuple" in bases and all(map(_declares, node.body)))
        case _:
            return False


def test_of(module: Path) -> Path:
    """Return the test module of a module."""
    return Path("tests/unit") / module.parent / f"test_{module.stem}.py"


def measure(module: Path) -> tuple[Path, str]:
    """Return a module and what is wrong with its coverage: nothing when all branches are taken."""
    test = test_of(module)
    if not (ROOT / test).is_file():
        return module, f"there is no {test}"
    dotted = ".".join(module.with_suffix("").parts)
    command = [
        *(sys.executable, "-m", "pytest", str(test), "-q", "-p", "no:cacheprovider"),
        *(f"--cov={dotted}", "--cov-branch", "--cov-fail-under=100", "--cov-report=term-missing"),
    ]
    with tempfile.TemporaryDirectory() as scratch:
        environment = {**os.environ, "COVERAGE_FILE": str(Path(scratch) / "data")}
        result = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
    return module, result.stdout + result.stderr if result.returncode else ""


def main() -> int:
    """Return 1 when a branch is not taken."""
    words = sys.argv[1:]
    chosen = [module for module in modules() if not words or any(word in str(module) for word in words)]
    failed = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for module, problem in pool.map(measure, chosen):
            print(f"{'not all branches' if problem else '100 %':>16}  {module}")
            if problem:
                failed = 1
                print(problem, file=sys.stderr)
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
