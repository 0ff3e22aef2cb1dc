#!/usr/bin/env bash
# Runs every suite, though one fails, and says at the end which failed and what was left out.
# Arguments go to pytest (`-n 0` for one test at a time). PYTHON names the virtual environment's Python.
set -uo pipefail
cd "$(dirname "$0")/.."
failed=()
left_out=()

suite() {
  local name=$1
  shift
  echo "== $name"
  "$@" || failed+=("$name")
}

# Of a test in a group pytest-xdist remembers `test@group`, a name that the second run does not know: it would
# leave the test out, or run all tests where it knows none of the names.
forget_groups() {
  "$PYTHON" - <<'PYTHON'
import json, re
from pathlib import Path

failed = Path(".pytest_cache/v/cache/lastfailed")
names = json.loads(failed.read_text())
failed.write_text(json.dumps({re.sub(r"@[^\]@]*$", "", name): True for name in names}))
PYTHON
}

# Half of a test's time is waiting: two workers a core. Tests of one `xdist_group` share what is dear to set up.
# What fails beside others is tried once more, alone: the machine may have been too busy for it. That is told
# in the end all the same: such a test is to be mended.
in_parallel() {
  local workers status=0
  workers=$(($("$PYTHON" -c 'import os; print(os.cpu_count() or 1)') * 2))
  "$PYTHON" -m pytest -n "$workers" --dist loadgroup "$@" || status=$?
  [ "$status" = 1 ] || return "$status"
  echo "== what failed, once more and alone"
  forget_groups || return 1
  "$PYTHON" -m pytest --last-failed --last-failed-no-failures none "$@" -n 0 || return 1
  twice=yes
}
# Compiled before, not within the time of the first test that needs it: from nothing that takes minutes.
if command -v go >/dev/null; then
  echo "== building the Go client"
  (cd examples/go-client && go build -o /dev/null .) || failed+=("go-client")
fi
twice=
suite pytest in_parallel "$@"
if scripts/require_node.sh; then
  suite web npm --prefix web test
  suite node-client npm --prefix examples/node-client test
else
  left_out+=("the suites of web/ and examples/node-client: no Node")
  [ "${CI:-}" != true ] || failed+=("web" "node-client")
fi

# pytest has said itself, in red, which of its tests it left out.
for what in ${left_out[@]+"${left_out[@]}"}; do echo "LEFT OUT: $what" >&2; done
[ -z "$twice" ] || echo "FAILED AT FIRST: some tests passed only when they were run alone, see above" >&2
if [ ${#failed[@]} -gt 0 ]; then
  echo "FAILED: ${failed[*]}" >&2
  exit 1
fi
