#!/usr/bin/env bash
# Unpacks Debian's Prometheus with its page into a folder: scripts/fetch_prometheus.sh FOLDER
#
# Unpacked, not installed: the package's service would listen on port 9090 of all addresses.
set -euo pipefail
mkdir -p "$(dirname "$1")"
folder=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")

command -v apt-get >/dev/null && command -v dpkg >/dev/null || { echo "apt-get and dpkg are needed" >&2; exit 1; }

# The page is Debian's own: it takes its libraries from packages beside it, by links that stay inside the folder.
packages=(prometheus fonts-glyphicons-halflings libjs-bootstrap4 libjs-d3 libjs-eonasdan-bootstrap-datetimepicker
  libjs-jquery libjs-jquery-hotkeys libjs-moment libjs-moment-timezone libjs-mustache libjs-popper.js libjs-rickshaw)

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
fetch() { apt-get download -qq "${packages[@]}" 2>errors; }
# In a fresh container apt knows of no package. Only root may tell it.
fetch || { [ "$(id -u)" = 0 ] && apt-get update -qq && fetch; } || { cat errors >&2; exit 1; }
for package in *.deb; do dpkg -x "$package" unpacked; done
# 200 MB that the page does not use.
rm -rf unpacked/usr/share/javascript/moment-timezone/data unpacked/usr/share/doc
rm -rf "$folder"
mv unpacked "$folder"
