"""Real cgroups for a test: made at the root of a mounted hierarchy, and removed with it."""

import os
import secrets
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path("/sys/fs/cgroup")
V2 = next((path for path in (ROOT / "unified", ROOT) if (path / "cgroup.controllers").is_file()), None)
V1 = next((ROOT / name for name in ("devices", "memory", "cpu", "pids") if (ROOT / name / "tasks").is_file()), None)
_REMOVED_WITHIN_S = 5


class RealGroups:
    """Groups in one hierarchy and processes in them. Other runs may share the upper folders."""

    def __init__(self, mount: Path) -> None:
        self.mount = mount
        self.made: list[Path] = []
        self.children: list[subprocess.Popen[bytes]] = []
        self.id = secrets.token_hex(32)
        self.number = secrets.randbelow(10**8) + 10**9

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for child in self.children:
            child.kill()
            child.wait()
        for folder in reversed(self.made):
            self.remove(folder)

    def make(self, path: str) -> Path:
        """The folder of this path, with all above it."""
        folder = self.mount
        for name in path.strip("/").split("/"):
            folder /= name
            with suppress(FileExistsError):
                folder.mkdir()
                self.made.append(folder)
        return folder

    def remove(self, folder: Path) -> None:
        """A group with a process that is just ending is busy for a moment; another run's stays."""
        deadline = time.monotonic() + _REMOVED_WITHIN_S
        while folder.is_dir() and time.monotonic() < deadline:
            try:
                folder.rmdir()
            except OSError:
                if any(each.is_dir() for each in folder.iterdir()):
                    return  # somebody else's groups lie in it
                time.sleep(0.01)

    def run(self, path: str, *command: str) -> subprocess.Popen[bytes]:
        """A process that is in the group of this path when it is returned."""
        folder = self.make(path)
        child = subprocess.Popen(command or ("sleep", "600"), stdout=subprocess.PIPE)
        self.children.append(child)
        (folder / "cgroup.procs").write_text(str(child.pid))
        return child

    def end(self, child: subprocess.Popen[bytes], *, reap: bool) -> None:
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | (0 if reap else os.WNOWAIT))
