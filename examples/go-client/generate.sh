#!/bin/sh
# Generates tokenwire/v1 from the contract in proto/: ./generate.sh. With --check it only compares.
# The protos name no Go package; the M options below say where each file's code goes.
set -eu
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
python=${PYTHON:-$root/.venv/bin/python} # its grpcio-tools hold protoc
package=tokenwire/v1
module=$(go list -m)

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
GOBIN=$scratch/bin GOFLAGS= go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.34.1
GOBIN=$scratch/bin GOFLAGS= go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.5.1

mapping=
sources=$(cd "$root/proto" && echo $package/*.proto)
for source in $sources; do mapping="$mapping,M$source=$module/$package;tokenwirev1"; done
PATH=$scratch/bin:$PATH "$python" -m grpc_tools.protoc -I "$root/proto" \
  --go_out="$scratch" --go_opt="module=$module$mapping" \
  --go-grpc_out="$scratch" --go-grpc_opt="module=$module$mapping" $sources
# The line with protoc's version would change with the Python package that brings it.
sed -i.bak '/^\/\/ .*protoc  *v/d' "$scratch/$package"/*.go
rm "$scratch/$package"/*.bak

if [ "${1:-}" = --check ]; then
  diff -r "$scratch/$package" $package && exit
  echo "examples/go-client/$package is not current: run examples/go-client/generate.sh" >&2
  exit 1
fi
rm -rf $package
mkdir -p $package
cp "$scratch/$package"/*.go $package
