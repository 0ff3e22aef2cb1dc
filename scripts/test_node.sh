#!/usr/bin/env bash
# Builds the packages for npm and runs their tests under another Node than the one on this machine:
#
#     scripts/test_node.sh 24
#
# npm downloads that Node (190 MB) into its cache, once.
set -euo pipefail
version=${1:?which Node: 24}
cd "$(dirname "$0")/../web"
[ -d node_modules ] || npm ci

npm exec --yes --package "node@$version" -- bash -euo pipefail -c '
  node --version
  node -e "process.exit(process.versions.node.split(\".\")[0] === \"$1\" ? 0 : 1)" ||
    { echo "This is another Node than $1." >&2; exit 1; }
  npm run build --workspace @tokenwire/client --workspace @tokenwire/react
  node_modules/.bin/vitest run --project client --project react
  # What is published, as an importer gets it.
  node --input-type=module -e "
    import { createClient, THREE_TRIES } from \"@tokenwire/client\";
    import { createSession } from \"@tokenwire/client/session\";
    import { StreamingChat, useAgentStream } from \"@tokenwire/react\";
    createSession(createClient({ baseUrl: \"http://127.0.0.1:9/api\", retry: THREE_TRIES }), { sessionId: \"s\" }).close();
    if (typeof StreamingChat !== \"function\" || typeof useAgentStream !== \"function\") process.exit(1);
  "
' node "$version"
