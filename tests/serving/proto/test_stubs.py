"""The committed gRPC stubs are what the .proto files give."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PROTO = ROOT / "serving" / "proto"


def test_stubs_are_fresh(tmp_path: Path) -> None:
    sources = sorted(path.relative_to(ROOT).as_posix() for path in PROTO.glob("*.proto"))
    bin_folder = Path(sys.executable).parent
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", "-I", ROOT),
            *(f"--python_out={tmp_path}", f"--grpc_python_out={tmp_path}"),
            *(f"--mypy_out=quiet:{tmp_path}", f"--mypy_grpc_out=quiet:{tmp_path}"),
            f"--plugin=protoc-gen-mypy={bin_folder / 'protoc-gen-mypy'}",
            f"--plugin=protoc-gen-mypy_grpc={bin_folder / 'protoc-gen-mypy_grpc'}",
            *sources,
        ],
        check=True,
        cwd=ROOT,
    )
    generated = {path.name: path.read_text() for path in (tmp_path / "serving" / "proto").iterdir()}
    committed = {path.name: path.read_text() for path in PROTO.glob("*_pb2*.py*")}
    assert generated == committed, "run `make proto`"
