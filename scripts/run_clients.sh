#!/usr/bin/env bash
# Builds the clients of examples/ in each language whose tools are here, and has each read from real cores that die and
# over links that break: `make clients`. Languages that were left out are named at the end. Arguments go to pytest.
#
# Tools: Go; Node and npm; a JDK (17 or newer) and Maven; Cargo (Rust 1.88 or newer). Python is there. The first build
# fetches what the clients depend on, and takes some minutes. PYTHON names the virtual environment's Python.
set -uo pipefail
cd "$(dirname "$0")/.."
examples=$PWD/examples
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=()
left_out=()
others= # Go or Node is built: their tests look for them by themselves

# build NAME "TOOLS" COMMAND...: tells whether it is built.
build() {
  local name=$1 tools=$2 tool
  shift 2
  for tool in $tools; do
    command -v "$tool" >/dev/null || { left_out+=("$name: no $tool"); return 1; }
  done
  echo "== building the $name client"
  "$@" || { failed+=("$name: build"); return 1; }
}

build_go() (cd "$examples/go-client" && go vet ./... && go test ./...)
build_node() { npm --prefix "$examples/node-client" ci; }
build_java() { mvn --quiet --batch-mode --file "$examples/java-client/pom.xml" package; }
build_rust() (cd "$examples/rust-client" && cargo build --quiet && cargo test --quiet)

# As somebody who has nothing but the example, the contract and plain gRPC: an environment of its own.
build_python() {
  cp "$examples"/python-client/*.py "$scratch" &&
    "$PYTHON" -m venv "$scratch/venv" &&
    "$scratch/venv/bin/pip" install --quiet --requirement "$examples/python-client/requirements.txt" &&
    "$scratch/venv/bin/python" -m grpc_tools.protoc -I proto --python_out="$scratch" --grpc_python_out="$scratch" \
      proto/tokenwire/v1/*.proto
}

build Go go build_go && others=yes
build Node "node npm" build_node && others=yes
build Java "java javac mvn" build_java &&
  export TOKENWIRE_TEST_JAVA_CLIENT="java -jar $examples/java-client/target/java-client.jar"
build Rust "cargo rustc" build_rust &&
  export TOKENWIRE_TEST_RUST_CLIENT=$examples/rust-client/target/debug/rust-client
build Python "" build_python &&
  export TOKENWIRE_TEST_PYTHON_CLIENT="$scratch/venv/bin/python $scratch/main.py"

echo "== each at real cores"
"$PYTHON" -m pytest tests/e2e/test_plain_clients.py tests/e2e/test_scripted_streams.py "$@" ||
  failed+=("Java, Rust and Python at a core")
if [ -n "$others" ]; then
  "$PYTHON" -m pytest tests/e2e/test_clients_resume.py tests/e2e/test_direct_clients.py tests/e2e/test_direct_security.py \
    "$@" || failed+=("Go and Node at a core")
fi

for what in ${left_out[@]+"${left_out[@]}"}; do echo "LEFT OUT: $what" >&2; done
if [ ${#failed[@]} -gt 0 ]; then
  printf 'FAILED: %s\n' "${failed[@]}" >&2
  exit 1
fi
