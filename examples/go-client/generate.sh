#!/bin/sh
# Generates tokenwire/v1 from the contract in proto/: ./generate.sh. With --check it only compares.
# Needs Go, and protoc or buf: BUF names a buf, else it is what the search path has, else the buf of this repository's .venv.
set -eu
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
package=tokenwire/v1
module=$(go list -m) # the protos' go_package begins with it

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
GOBIN=$scratch/bin GOFLAGS= go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.34.1
GOBIN=$scratch/bin GOFLAGS= go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.5.1
PATH=$scratch/bin:$PATH

if [ -z "${BUF:-}" ] && command -v protoc >/dev/null; then
  protoc -I "$root/proto" --go_out="$scratch" --go_opt="module=$module" \
    --go-grpc_out="$scratch" --go-grpc_opt="module=$module" "$root/proto/$package"/*.proto
else
  buf=${BUF:-$(command -v buf || echo "$root/.venv/bin/buf")}
  plugin() { printf '{"local": "%s", "out": "%s", "opt": "module=%s"}' "$1" "$scratch" "$module"; }
  "$buf" generate "$root/proto" \
    --template "{\"version\": \"v2\", \"plugins\": [$(plugin protoc-gen-go), $(plugin protoc-gen-go-grpc)]}"
fi
# The line with the compiler's version differs between machines.
sed -i.bak '/^\/\/ .*protoc  *\(v\|(\)/d' "$scratch/$package"/*.go
rm "$scratch/$package"/*.bak

if [ "${1:-}" = --check ]; then
  diff -r "$scratch/$package" $package && exit
  echo "examples/go-client/$package is not current: run examples/go-client/generate.sh" >&2
  exit 1
fi
rm -rf $package
mkdir -p $package
cp "$scratch/$package"/*.go $package
