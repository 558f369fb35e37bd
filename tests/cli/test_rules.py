"""`gputally rules test` shows who would be billed before anybody is."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gputally.cli.main import main
from gputally.model.rule_text import RuleText
from gputally.storage.rule_file import save_rule_file

TABLE = Path(__file__).resolve().parents[1] / "data" / "cgroup_paths.tsv"
RULES = """
[[attribution.rules]]
match = { path = "/tenants.slice/tenants-*.slice" }
tenant = "{1}"
project = "gpu"
[[attribution.rules]]
match = { kind = "user", uid = 1000 }
tenant = "umbrella"
tags = { cell = "east" }
"""

DOCKER = f"/docker/{'a' * 64}\n"


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "daemon.toml"
    path.write_text(RULES)
    return path


def run(*arguments: object, told: str | bytes = "") -> Result:
    return CliRunner().invoke(main, ["rules", "test", *map(str, arguments)], input=told)


def objects(done: Result) -> list[dict[str, Any]]:
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_each_path_of_a_file_is_one_object(toml: Path, tmp_path: Path) -> None:
    rows = [line.split("\t") for line in TABLE.read_text().splitlines()[1:]]
    paths = tmp_path / "paths"
    paths.write_text("\n".join(row[1] for row in rows))
    told = objects(run("--config", toml, "--paths", paths, "--json"))
    assert [(each["path"], each["kind"], each["id"]) for each in told] == [(r[1], r[2], r[3]) for r in rows]
    by_path = {each["path"]: each for each in told}
    acme = by_path[next(row[1] for row in rows if "tenants-acme" in row[1])]
    assert (acme["tenant"], acme["project"], acme["rule"], acme["reason"]) == ("acme", "gpu", "1", None)


def test_a_path_that_no_rule_matches_says_so(toml: Path) -> None:
    told = objects(run("--config", toml, "--paths", "-", "--json", told="/docker/x\n\n/\n/../y\n"))
    assert [(each["tenant"], each["rule"], each["reason"]) for each in told] == [
        ("unattributed", None, "no_rule"),
        ("unattributed", None, "host_process"),
        ("unattributed", None, "cgroup_hidden"),
    ]


def test_whole_lines_of_a_cgroup_file_do_as_well(toml: Path) -> None:
    told = "1:name=systemd:/user.slice/user-1000.slice/x\n0::/user.slice/user-1000.slice/7:a:/b\n"
    lines = objects(run("--config", toml, "--paths", "-", "--json", told=told))
    assert [each["path"] for each in lines] == ["/user.slice/user-1000.slice/x", "/user.slice/user-1000.slice/7:a:/b"]
    assert [(each["tenant"], each["tags"]) for each in lines] == [("umbrella", {"cell": "east"})] * 2


def test_a_living_process_is_resolved_and_one_that_is_gone_has_vanished(toml: Path) -> None:
    told = objects(run("--config", toml, "--pid", os.getpid(), "--pid", 2**22 + 1, "--json"))
    assert told[0]["pid"] == os.getpid()
    assert told[0]["path"].startswith("/")
    assert told[1]["reason"] == "pid_vanished"


def test_without_json_it_is_told_in_words(toml: Path) -> None:
    done = run("--config", toml, "--paths", "-", told="/user.slice/user-1000.slice/x\n/a\n")
    assert "user:1000  ->  umbrella  (rule 2)" in done.stdout
    assert "cgroup:/a  ->  unattributed  (no_rule)" in done.stdout


def test_a_name_cannot_steer_the_terminal() -> None:
    done = run("--paths", "-", told=b"/a\x1b[31m\xff/b\n")
    assert "\x1b" not in done.stdout
    assert r"/a\x1b[31m\xff/b" in done.stdout


def test_wrong_rules_are_refused_with_their_file_number_and_key(toml: Path) -> None:
    toml.write_text('[[attribution.rules]]\nmatch = { knd = "docker" }\ntenant = "a"\n')
    done = run("--config", toml, "--paths", "-", told="/\n")
    assert done.exit_code == 78
    assert done.stderr.startswith(f"{toml}: attribution.rules: rule 1: match.knd: no such key")
    assert done.stdout == ""


def test_a_wrong_configuration_is_refused(toml: Path) -> None:
    toml.write_text("[atribution]\n")
    assert run("--config", toml, "--paths", "-").exit_code == 78


def test_an_unknown_plugin_is_refused(toml: Path) -> None:
    toml.write_text('[attribution]\nplugins = ["dokcer"]\n')
    done = run("--config", toml, "--paths", "-")
    assert done.exit_code == 78
    assert "attribution.plugins: no such plugin: dokcer" in done.stderr


def test_keys_that_nothing_answers_yet_are_said(toml: Path) -> None:
    toml.write_text('[[attribution.rules]]\nmatch = { namespace = "ml" }\ntenant = "a"\n')
    assert "namespace cannot be known yet" in run("--config", toml, "--paths", "-", told="/\n").stderr


def test_with_nothing_to_resolve_it_says_what_to_give() -> None:
    done = run()
    assert done.exit_code == 2
    assert "--paths" in done.stderr


def test_a_rule_set_for_the_collector_can_be_tried_before_it_is_decided(toml: Path, tmp_path: Path) -> None:
    body = tmp_path / "rules.toml"
    body.write_text('[[rules]]\nmatch = { kind = "docker" }\ntenant = "central"\n')
    (told,) = objects(run("--config", toml, "--rules", body, "--paths", "-", "--json", told=DOCKER))
    assert told["tenant"] == "central"
    for wrong, said in ((RULES, "write [[rules]]"), ("x", "is not TOML"), ("#" * 200_000, "more than 131072 bytes")):
        body.write_text(wrong)
        done = run("--rules", body, "--paths", "-", told=DOCKER)
        assert (done.exit_code, said in done.stderr) == (78, True), done.stderr
    body.write_bytes(b"# \xff")
    assert run("--rules", body, "--paths", "-", told=DOCKER).exit_code == 78


def test_where_the_collectors_rules_decide_they_are_asked_and_it_is_said(tmp_path: Path) -> None:
    config = tmp_path / "daemon.toml"
    config.write_text(f'[log]\npath = "{tmp_path}"\n[attribution]\nrules_from_collector = true\n' + RULES)
    assert objects(run("--config", config, "--paths", "-", "--json", told=DOCKER))[0]["tenant"] == "unattributed"
    save_rule_file(tmp_path, RuleText("v7", '[[rules]]\nmatch = { kind = "docker" }\ntenant = "central"\n'))
    done = run("--config", config, "--paths", "-", "--json", told=DOCKER)
    assert json.loads(done.stdout)["tenant"] == "central"
    assert "by the collector's rules v7" in done.stderr
