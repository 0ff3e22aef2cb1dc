#!/usr/bin/env bash
# Makes a virtual environment with just the packages of requirements/dev.txt, hashes checked, and this
# checkout itself with its example agent: scripts/make_venv.sh .venv
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1

usable() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
  local candidate
  for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11 python; do
    if usable "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  echo "Python 3.11 or newer with its module venv is needed and was not found." >&2
  echo "On Debian: apt-get install python3 python3-venv. Elsewhere set PYTHON to such a Python." >&2
  return 1
}

if ! usable "$venv/bin/python"; then
  python=$(find_python)
  "$python" -m venv --clear "$venv"
fi
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
"$venv/bin/uv" pip sync --quiet --python "$venv/bin/python" --require-hashes requirements/dev.txt
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --no-deps --no-build-isolation \
  --editable . --editable examples/portfolio
