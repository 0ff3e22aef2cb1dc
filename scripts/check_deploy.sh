#!/usr/bin/env bash
# Checks what is deployed, without Docker: the Dockerfile by hadolint, docker-compose.yml by the Compose
# specification's schema, and nginx's example by nginx where it is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${VENV:-.venv}/bin

"$bin/hadolint" --failure-threshold info deploy/docker/Dockerfile
"$bin/check-jsonschema" --builtin-schema vendor.compose-spec docker-compose.yml

if command -v nginx >/dev/null; then
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  printf 'pid %s/pid;\nevents {}\nhttp { include %s/deploy/proxies/nginx.conf; }\n' "$scratch" "$PWD" >"$scratch/nginx.conf"
  nginx -t -q -e "$scratch/error.log" -c "$scratch/nginx.conf"
fi
