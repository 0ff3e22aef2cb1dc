#!/usr/bin/env bash
# Checks what is deployed, without Docker: the Dockerfile by hadolint, docker-compose.yml by the Compose
# specification's schema, and what nginx, Prometheus and its alerts are told by these, where they are installed.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${VENV:-.venv}/bin

"$bin/hadolint" --failure-threshold info deploy/docker/Dockerfile examples/custom-agent/Dockerfile
"$bin/check-jsonschema" --builtin-schema vendor.compose-spec docker-compose.yml examples/custom-agent/compose.yaml

left_out() {
  if [ "${CI:-}" = true ]; then
    echo "$1 (run: make system)" >&2
    exit 1
  fi
  echo "LEFT OUT: $1" >&2
}

unpacked=${XDG_CACHE_HOME:-${HOME:-}/.cache}/tokenwire/prometheus/usr/bin
if promtool=$(PATH=$PATH:$unpacked command -v "${TOKENWIRE_TEST_PROMTOOL:-promtool}"); then
  "$promtool" check config deploy/prometheus/prometheus.yml >/dev/null
  "$promtool" test rules deploy/prometheus/alerts_test.yml >/dev/null
else
  left_out "deploy/prometheus was not checked: no promtool"
fi

# TOKENWIRE_TEST_NGINX names one that is elsewhere, as for the tests. The bare one is also where Debian puts servers.
if nginx=$(PATH=$PATH:/usr/sbin:/sbin command -v "${TOKENWIRE_TEST_NGINX:-nginx}"); then
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  # Without folders of its own it would make, or miss, those of the system's nginx.
  cat >"$scratch/nginx.conf" <<EOF
pid nginx.pid;
events {}
http {
  access_log off;
  client_body_temp_path client_body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  include $PWD/deploy/proxies/nginx.conf;
}
EOF
  "$nginx" -t -q -e "$scratch/error.log" -p "$scratch" -c "$scratch/nginx.conf"
else
  left_out "deploy/proxies/nginx.conf was not checked: no nginx"
fi
