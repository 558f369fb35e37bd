"""The configurations that are shipped are good as they are, and so is every line that waits in a comment."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gputally.cli.main import main
from gputally.collector.config import CollectorConfig
from gputally.collector.loading import load_collector_config
from gputally.daemon.config import DaemonConfig
from gputally.daemon.loading import load_daemon_config
from gputally.model.settings import Key, keys_of
from gputally.plugins.signing_key import make_key_file, write_key_file
from gputally.plugins.toml_file import parse_toml

from ..certificates import make_authority

SYSTEMD = Path(__file__).resolve().parents[2] / "systemd"
EXAMPLES = {"daemon.toml": DaemonConfig, "collector.toml": CollectorConfig}


def uncommented(name: str) -> str:
    """The example with every commented line of TOML switched on; prose stays a comment."""
    text = (SYSTEMD / name).read_text()
    return re.sub(r"^#(?=\[\[|[a-z_]+ = )", "", text, flags=re.MULTILINE)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_good_as_it_is(name: str) -> None:
    done = CliRunner().invoke(main, ["config", "check", str(SYSTEMD / name)])
    assert (done.exit_code, done.stderr) == (0, "")


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_shows_every_key(name: str) -> None:
    told = parse_toml(uncommented(name).encode(), name)
    missing = [key.name for key in keys_of(EXAMPLES[name]) if not is_told(key, told)]
    assert missing == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_line_that_waits_in_a_comment_is_good(name: str, tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    for issued in ("host", "collector"):
        authority.issue(issued)
    text = uncommented(name)
    for file in ("tokens.toml", "leases.toml", "revoked"):
        (tmp_path / file).touch()
        text = text.replace(f"/etc/gputally/{file}", str(tmp_path / file))
    write_key_file(tmp_path / "signing.key", make_key_file(), replace=False)
    text = text.replace("/etc/gputally/signing.key", str(tmp_path / "signing.key"))
    path = tmp_path / name
    path.write_text(text)
    load = load_daemon_config if name == "daemon.toml" else load_collector_config
    assert load(path, {"CREDENTIALS_DIRECTORY": str(tmp_path)})


def is_told(key: Key, told: Mapping[str, Any]) -> bool:
    here: Any = told
    for part in key.name.split("."):
        if part not in here:
            return False
        here = here[part]
    return True
