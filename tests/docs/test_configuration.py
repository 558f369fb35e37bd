"""The reference of the configuration says what the code says."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def check(script: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)


def test_the_reference_is_what_the_code_says() -> None:
    done = check(ROOT / "docs" / "generate_configuration.py")
    assert done.returncode == 0, done.stderr


def test_a_reference_that_fell_behind_is_found(tmp_path: Path) -> None:
    for name in ("generate_configuration.py", "configuration.md"):
        text = (ROOT / "docs" / name).read_text()
        (tmp_path / name).write_text(text.replace("`60`", "`61`"))
    assert check(tmp_path / "generate_configuration.py").returncode == 1
