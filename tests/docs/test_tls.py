"""The page's five commands and two configurations, as they stand there, make a deployment that works."""

import re
import shlex
import time
from pathlib import Path

from click.testing import CliRunner

from gputally.cli.main import main

from ..scenarios.field import DOCKER, Field, a_field

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "tls.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def localised(text: str, folder: Path) -> str:
    """The page's names, as they are on this machine."""
    return text.replace("collector.example", "localhost").replace("/etc/gputally/tls", str(folder)).replace(
        "issue pki", f"issue {folder}"
    ).replace("init pki", f"init {folder}")  # fmt: skip


def make_files(folder: Path) -> None:
    for line in localised(blocks("sh")[0], folder).splitlines():
        done = CliRunner().invoke(main, shlex.split(line)[1:])
        assert done.exit_code == 0, done.output


def configure(field: Field, folder: Path) -> None:
    """The page's tables instead of plaintext; ports and folders stay the test's."""
    for path, block in zip((field.collector_toml, field.daemon_toml), blocks("toml"), strict=True):
        files = "".join(re.findall(r'^(?:ca|certificate|key) = ".*"\n', localised(block, folder), re.MULTILINE))
        assert files.count("\n") == 3
        path.write_text(path.read_text().replace("insecure_plaintext = true\n", files))
    told = field.daemon_toml.read_text().replace("127.0.0.1", "localhost")
    field.daemon_toml.write_text(told.replace('id = "sim-01"', 'id = "gpu-01"'))


def test_five_commands_make_a_deployment_in_which_both_sides_know_each_other(tmp_path: Path) -> None:
    with a_field(tmp_path, gpus=1) as field:
        make_files(tmp_path / "pki")
        configure(field, tmp_path / "pki")
        field.start_collector()
        field.start_daemon()
        field.rig.start("a", DOCKER.format("a"), 0)
        time.sleep(2)
        field.end_jobs()
        files = field.status()["uplink"]["credentials"]["files"]
        assert [(each["key"], each["state"]) for each in files] == [("ca", "valid"), ("certificate", "valid")]
        time.sleep(1)
        field.stop_daemon()
        field.assert_lawful()
        assert {tenant for tenant, _ in field.metered()} == {"a"}


def test_the_commands_that_are_named_are_five() -> None:
    assert sum(block.count("gputally ") for block in blocks("sh")) == 5
