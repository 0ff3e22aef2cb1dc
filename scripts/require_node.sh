#!/usr/bin/env bash
# Succeeds when Node and npm are here and new enough for web/ (see "engines" in web/package.json).
set -euo pipefail
if command -v npm >/dev/null && node -e '
  const [major, minor] = process.versions.node.split(".").map(Number);
  process.exit((major === 20 && minor >= 19) || (major === 22 && minor >= 12) || major > 22 ? 0 : 1);
' 2>/dev/null; then
  exit 0
fi
echo "Node 20.19+ or 22.12+ with npm is needed; found: $(node --version 2>/dev/null || echo none)." >&2
exit 1
