"""`gputally config` tells an operator whether a file is good, and what is in force."""

import json
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gputally.cli.main import main
from gputally.collector.config import CollectorConfig
from gputally.collector.loading import DAEMONS_TABLES
from gputally.daemon.config import DaemonConfig
from gputally.daemon.loading import COLLECTORS_TABLES

COLLECTOR = 'intake = { listen = "127.0.0.1:0", insecure_plaintext = true }\n'


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    return tmp_path / "host.toml"


def run(*arguments: object, **environ: str) -> Result:
    return CliRunner().invoke(main, ["config", *map(str, arguments)], env=environ)


def test_a_good_file_is_called_good(toml: Path) -> None:
    toml.write_text("[sampling]\nevery_s = 0.5\n")
    done = run("check", toml)
    assert (done.exit_code, done.output) == (0, f"{toml}: good\n")


def test_a_collectors_file_is_known_by_its_tables(toml: Path) -> None:
    toml.write_text(COLLECTOR)
    assert run("check", toml).exit_code == 0
    toml.write_text(COLLECTOR + "ledgr = 1")
    done = run("check", toml)
    assert (done.exit_code, "did you mean ledger?" in done.stderr) == (78, True)


def test_an_empty_file_is_taken_for_what_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "collector.toml").touch()
    (tmp_path / "daemon.toml").touch()
    assert run("check", tmp_path / "daemon.toml").exit_code == 0
    assert "intake.ca: is missing" in run("check", tmp_path / "collector.toml").stderr


def test_a_wrong_file_is_refused_with_all_that_is_wrong_and_exit_78(toml: Path) -> None:
    toml.write_text('[sampling]\nevery_s = "often"\n[log]\ncap_mib = 0\n')
    done = run("check", toml)
    assert done.exit_code == 78
    assert len(done.stderr.splitlines()) == 2
    assert done.stdout == ""


def test_a_missing_file_is_refused_without_a_traceback(tmp_path: Path) -> None:
    done = run("check", tmp_path / "nowhere.toml")
    assert (done.exit_code, done.stderr) == (
        78,
        f"{tmp_path}/nowhere.toml: there is no such file: create it, or give the right path\n",
    )


def test_what_is_shown_says_value_origin_and_meaning(toml: Path) -> None:
    toml.write_text("[sampling]\nidle_every_s = 7\n")
    shown = run("show", toml, GPUTALLY_SAMPLING__EVERY_S="0.5").stdout.splitlines()
    lines = {line.split(" = ")[0]: line for line in shown}
    assert lines["every_s"].endswith("# environment: cadence while anything holds a GPU")
    assert lines["idle_every_s"].startswith("idle_every_s = 7.0 ")
    assert "# file: " in lines["idle_every_s"]
    assert "# default: " in lines["window_s"]


@pytest.mark.parametrize(
    "text",
    [
        '[[attribution.rules]]\nmatch = { label."a.b" = "\\u0001\\"\\\\" }\ntenant = "a"\n[uplink]\nlinger_s = inf\n',
        COLLECTOR + '[[skus]]\nname = "Large"\ngpu_model = "NVIDIA H100*"\n',
    ],
)
def test_what_is_shown_can_be_read_again_and_means_the_same(toml: Path, tmp_path: Path, text: str) -> None:
    toml.write_text(text)
    again = tmp_path / "again.toml"
    again.write_text(run("show", toml).stdout)
    first, second = (json.loads(run("show", path, "--json").stdout) for path in (toml, again))
    assert {name: each["value"] for name, each in first.items()} == {
        name: each["value"] for name, each in second.items()
    }
    assert tomllib.loads(again.read_text())


def test_a_password_in_an_address_is_not_shown(toml: Path) -> None:
    toml.write_text('telemetry.otlp = "https://me:hunter2@otel.example:4317"')
    for arguments in (["show", toml], ["show", toml, "--json"]):
        said = run(*arguments).stdout
        assert "https://me:***@otel.example:4317" in said
        assert "hunter2" not in said


def test_one_environment_may_serve_both_processes_of_a_host(tmp_path: Path) -> None:
    assert {*COLLECTORS_TABLES, "skus"} == {each.name for each in fields(CollectorConfig)}
    assert set(DAEMONS_TABLES) == {each.name for each in fields(DaemonConfig)}
    environ = {"GPUTALLY_SAMPLING__EVERY_S": "0.5", "GPUTALLY_API__LISTEN": "127.0.0.1:0"}
    daemons, collectors = tmp_path / "daemon.toml", tmp_path / "collector.toml"
    daemons.touch()
    collectors.write_text(COLLECTOR)
    assert [run("check", file, **environ).exit_code for file in (daemons, collectors)] == [0, 0]
