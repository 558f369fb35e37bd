"""Makes what ends in _pb2 from the .proto files; with --check, compares it with what is committed.

The generators are pinned in pyproject.toml: another version writes other bytes.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WIRE = Path("gputally/proto/v1")
MADE = (
    "usage_pb2.py",
    "usage_pb2.pyi",
    "uplink_pb2.py",
    "uplink_pb2.pyi",
    "uplink_pb2_grpc.py",
    "uplink_pb2_grpc.pyi",
    "decision_pb2.py",
    "decision_pb2.pyi",
    "health_pb2.py",
    "health_pb2.pyi",
    "health_pb2_grpc.py",
    "health_pb2_grpc.pyi",
    "reflection_pb2.py",
    "reflection_pb2.pyi",
    "reflection_pb2_grpc.py",
    "reflection_pb2_grpc.pyi",
)


def generate(into: Path) -> None:
    """Writes the generated files of every .proto file below ``into``."""
    tools = Path(sys.executable).parent
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I" + str(ROOT / "src")]
    command += [f"--plugin={tools / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
    command += [f"--{out}={into}" for out in ("python_out", "grpc_python_out", "mypy_out", "mypy_grpc_out")]
    command += sorted(str(path) for path in (ROOT / "src" / WIRE).glob("*.proto"))
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        stale = [name for name in MADE if _read(Path(folder) / WIRE / name) != _read(ROOT / "proto/v1" / name)]
        if "--check" in sys.argv:
            print(f"stale, run `make proto`: {', '.join(stale)}" if stale else "generated files are up to date")
            return 1 if stale else 0
        for name in stale:
            (ROOT / "proto/v1" / name).write_bytes(_read(Path(folder) / WIRE / name))
    return 0


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


if __name__ == "__main__":
    sys.exit(main())
