"""Generate the Python bindings of `proto/` into `tokenwire/v1/`.

python scripts/gen_proto.py           write them
python scripts/gen_proto.py --check   fail when the committed ones differ
"""

import argparse
import filecmp
import shutil
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
TARGET = ROOT / "tokenwire" / "v1"
GENERATED = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")


def generate(into: Path) -> None:
    """Write the bindings of every proto below `into`, at their package's path.

    Raises:
        SystemExit: protoc refused a file; it has said why.
    """
    sources = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    scripts = Path(sys.executable).parent
    status = protoc.main(
        [
            "protoc",
            f"-I{PROTO}",
            f"-I{Path(protoc.__file__).parent / '_proto'}",  # google/protobuf/*.proto
            f"--plugin=protoc-gen-mypy={scripts / 'protoc-gen-mypy'}",
            f"--plugin=protoc-gen-mypy_grpc={scripts / 'protoc-gen-mypy_grpc'}",
            f"--python_out={into}",
            f"--mypy_out=quiet:{into}",
            f"--grpc_python_out={into}",
            f"--mypy_grpc_out=quiet:{into}",
            *sources,
        ]
    )
    if status:
        raise SystemExit(status)
    for path in (into / "tokenwire" / "v1").glob("*_pb2_grpc.py*"):
        if "\nservice " not in proto_of(path).read_text():
            path.unlink()


def proto_of(binding: Path) -> Path:
    """Return the proto that a `*_pb2_grpc` binding was made of."""
    return PROTO / "tokenwire" / "v1" / f"{binding.name.split('_pb2_grpc')[0]}.proto"


def generated(folder: Path) -> set[str]:
    """Return the names of the generated files in a folder."""
    return {path.name for pattern in GENERATED for path in folder.glob(pattern)}


def main() -> int:
    """Return 0 when the committed bindings are current, or were written."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        fresh = Path(scratch) / "tokenwire" / "v1"
        names = generated(fresh)
        if check:
            _, differing, missing = filecmp.cmpfiles(fresh, TARGET, names, shallow=False)
            stale = sorted({*differing, *missing, *(generated(TARGET) - names)})
            for name in stale:
                print(f"not current: tokenwire/v1/{name} (run: make proto)", file=sys.stderr)
            return 1 if stale else 0
        for name in generated(TARGET):
            (TARGET / name).unlink()
        for name in names:
            shutil.copy(fresh / name, TARGET / name)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
