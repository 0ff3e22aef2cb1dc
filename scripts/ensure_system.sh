#!/usr/bin/env bash
# Looks for the programs that some tests need. As root on Debian, installs the missing ones. What is then
# still missing is a failure under CI (CI=true); elsewhere it is named, and those tests are left out.
set -euo pipefail

# Debian puts servers here: not on the search path of those who are not root.
PATH=$PATH:/usr/sbin:/sbin

any_of() { local program; for program in "$@"; do command -v "$program" >/dev/null && return; done; return 1; }

# Unpacked, not installed: scripts/fetch_prometheus.sh says why.
prometheus=${XDG_CACHE_HOME:-$HOME/.cache}/tokenwire/prometheus
has_prometheus() {
  PATH=$PATH:$prometheus/usr/bin any_of "${TOKENWIRE_TEST_PROMETHEUS:-prometheus}" \
    && PATH=$PATH:$prometheus/usr/bin any_of "${TOKENWIRE_TEST_PROMTOOL:-promtool}"
}
is_debian() { [ -r /etc/os-release ] && (. /etc/os-release && [ "${ID:-}" = debian ]); }

packages=()
look() {
  packages=()
  [ -n "${TOKENWIRE_TEST_CHROMIUM:-}" ] || any_of chromium chromium-browser google-chrome google-chrome-stable chrome \
    || packages+=(chromium fonts-liberation)
  [ -n "${TOKENWIRE_TEST_REDIS:-}" ] || any_of redis-server valkey-server || packages+=(redis-server)
  [ -n "${TOKENWIRE_TEST_NGINX:-}" ] || any_of nginx || packages+=(nginx)
  [ -n "${TOKENWIRE_TEST_GO:-}" ] || any_of go || packages+=(golang-go)
  [ -n "${TOKENWIRE_TEST_JAVA:-}" ] || any_of java || packages+=(default-jdk-headless)
  [ -n "${TOKENWIRE_TEST_CURL:-}" ] || any_of curl || packages+=(curl)
  [ -n "${TOKENWIRE_TEST_NC:-}" ] || any_of nc.openbsd || packages+=(netcat-openbsd)
  [ -n "${TOKENWIRE_TEST_NAMESPACES:-}" ] || any_of unshare || packages+=(util-linux)
  [ -n "${TOKENWIRE_TEST_NETNS:-}" ] || any_of ip || packages+=(iproute2)
  has_prometheus || packages+=(prometheus)
}

# Tests start servers themselves, on ports of their own: what Debian's packages would start beside them (nginx on port
# 80, Redis on 6379) stays off while they are installed. Where something already decides about that, it goes on to.
# Source: https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt (101: action not allowed)
start_no_services() {
  local policy=/usr/sbin/policy-rc.d
  [ ! -e $policy ] || return 0
  trap "rm -f $policy" EXIT
  printf '#!/bin/sh\nexit 101\n' >$policy
  chmod +x $policy
}

look
if [ ${#packages[@]} -gt 0 ] && [ "$(id -u)" = 0 ] && is_debian; then
  echo "installing for the tests: ${packages[*]}"
  start_no_services
  apt-get update -qq
  has_prometheus || "$(dirname "$0")/fetch_prometheus.sh" "$prometheus"
  look
  [ ${#packages[@]} -eq 0 ] ||
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
  look
fi
[ ${#packages[@]} -eq 0 ] || echo "MISSING for some tests: ${packages[*]}" >&2
node_missing=0
"$(dirname "$0")/require_node.sh" || node_missing=1
if [ "${CI:-}" = true ] && { [ ${#packages[@]} -gt 0 ] || [ $node_missing = 1 ]; }; then
  echo "CI leaves nothing out: install what is missing." >&2
  exit 1
fi
