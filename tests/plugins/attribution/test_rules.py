"""The operator's rules: what they match, whom they name, and how a wrong one is refused."""

import tomllib
from typing import Any

import pytest

from gputally.model.workload import UNATTRIBUTED, Owner
from gputally.plugins.attribution.attributor import make_attributor
from gputally.plugins.attribution.checks import unanswered_keys
from gputally.plugins.attribution.place import locate
from gputally.plugins.attribution.rule_reading import compile_rules, rules_version
from gputally.plugins.attribution.rules import BadRules

DOCKER = f"/tenants.slice/tenants-acme.slice/docker-{'a' * 64}.scope"
USER = "/user.slice/user-1000.slice/session-3.scope"


def rules_of(toml: str) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = tomllib.loads(toml)["rules"]
    return rules


def decide(rules: list[dict[str, Any]], path: str, uid: int | None = None) -> Owner:
    place = locate(path)
    assert place is not None
    return compile_rules(rules).decide(place, uid)


def rule(tenant: str = "acme", /, **match: Any) -> dict[str, Any]:
    return {"match": match, "tenant": tenant}


def test_the_first_rule_that_matches_names_the_tenant() -> None:
    rules = [rule("none", kind="slurm"), rule("first", kind="docker"), rule("second", kind="docker")]
    owner = decide(rules, DOCKER)
    assert (owner.tenant, owner.rule, owner.reason) == ("first", "2", "")


def test_all_given_keys_must_match() -> None:
    assert decide([rule(kind="docker", id="b*")], DOCKER).tenant == UNATTRIBUTED
    assert decide([rule(kind="docker", id="a*")], DOCKER).tenant == "acme"


def test_what_a_star_matched_names_the_tenant_the_project_and_the_tags() -> None:
    rules = rules_of("""
        [[rules]]
        match = { path = "/tenants.slice/tenants-*.slice" }
        tenant = "{1}"
        project = "gpu-{1}"
        tags = { cell = "east", owner = "{1}" }
    """)
    assert decide(rules, DOCKER) == Owner("acme", "gpu-acme", "1", tags=(("cell", "east"), ("owner", "acme")))


def test_a_path_is_matched_only_as_far_as_it_is_trusted() -> None:
    """What the container makes inside itself must not reach a rule."""
    assert decide([rule("victim", path="/tenants.slice/*/*/victim")], DOCKER + "/victim").tenant == UNATTRIBUTED
    assert decide([rule("victim", path="/user.slice/*/victim")], "/user.slice/user-1.slice/victim").reason == "no_rule"


def test_a_table_without_keys_matches_every_workload() -> None:
    assert decide([rule("house")], "/").tenant == "house"


def test_nobody_we_know_has_a_reason() -> None:
    assert decide([], DOCKER) == Owner(UNATTRIBUTED, reason="no_rule")
    assert decide([], "/") == Owner(UNATTRIBUTED, reason="host_process")


@pytest.mark.parametrize("path", ["/tenants.slice/tenant-", "/tenants.slice/tenant-unattributed"])
def test_a_star_that_matched_nothing_or_the_reserved_word_is_an_unknown_tenant(path: str) -> None:
    owner = decide([rule("{1}", path="/tenants.slice/tenant-*")], path)
    assert (owner.tenant, owner.reason, owner.rule) == (UNATTRIBUTED, "unknown_tenant", "1")


@pytest.mark.parametrize(
    ("path", "match"),
    [
        (USER, {"uid": 1000}),
        (USER, {"uid": "1*"}),
        (USER, {"kind": "user", "id": "1000"}),
        ("/slurm/uid_1000/job_7", {"uid": "1000"}),
        ("/system.slice/train-acme.service", {"unit": "train-*.service"}),
        ("/system.slice/train-acme.service", {"kind": "serv*"}),
        ("/lxc.payload.acme", {"name": "acme"}),
        (r"/machine.slice/machine-qemu\x2d3\x2dvm.scope", {"kind": "libvirt", "name": "vm"}),
        ("/batch/night/1", {"path": "/batch/night/"}),
    ],
)
def test_what_a_path_tells_can_be_asked_for(path: str, match: dict[str, Any]) -> None:
    assert decide([{"match": match, "tenant": "acme"}], path).tenant == "acme"


@pytest.mark.parametrize("path", ["/system.slice/slurmstepd.scope/job_7", "/system.slice/t.service", "/apptainer/9"])
def test_the_uid_of_a_process_counts_where_it_cannot_choose_it(path: str) -> None:
    assert decide([rule(uid=1000)], path, uid=1000).tenant == "acme"


@pytest.mark.parametrize("path", [DOCKER, f"/machine.slice/libpod-{'a' * 64}.scope", "/lxc/7", "/batch/night", "/"])
def test_the_uid_of_a_process_does_not_count_where_its_root_can_become_anyone(path: str) -> None:
    assert decide([rule("victim", uid=1000)], path, uid=1000).tenant == UNATTRIBUTED


def test_labels_are_read_however_toml_nests_them_and_match_nothing_yet() -> None:
    rules = rules_of("""
        [[rules]]
        match = { kind = "docker", label."com.example.team" = "vision" }
        tenant = "acme"
        [[rules]]
        match.label.app.kubernetes = "x"
        match.namespace = "y"
        tenant = "acme"
    """)
    compiled = compile_rules(rules)
    assert unanswered_keys(compiled) == ["label.app.kubernetes", "label.com.example.team", "namespace"]
    assert decide(rules, DOCKER).reason == "no_rule"


def test_a_rule_that_cannot_match_yet_is_said_once_at_the_start(caplog: pytest.LogCaptureFixture) -> None:
    make_attributor("/proc", "/sys/fs/cgroup", [rule(account="ml")]).close()
    assert "account, which this version cannot know yet" in caplog.text


WRONG: list[tuple[Any, str]] = [
    ({"tenant": "a"}, "rule 2: match: is missing"),
    ({"match": {"knd": "docker"}, "tenant": "a"}, "rule 2: match.knd: no such key; there are kind, id,"),
    ({"match": {"kind": "dockr"}, "tenant": "a"}, 'rule 2: match.kind: "dockr" is no kind'),
    ({"match": {"kind": ["docker"]}, "tenant": "a"}, "rule 2: match.kind: must be a text"),
    ({"match": {"id": ""}, "tenant": "a"}, "rule 2: match.id: must be a text that is not empty"),
    ({"match": {"id": {"a": "b"}}, "tenant": "a"}, "rule 2: match.id: must be a text"),
    ({"match": {"uid": True}, "tenant": "a"}, "rule 2: match.uid: must be a text"),
    ({"match": {"path": "tenants.slice/*"}, "tenant": "a"}, "rule 2: match.path: "),
    ({"match": {"path": "/"}, "tenant": "a"}, "a path starts at the root"),
    ({"match": {"path": "/a/**"}, "tenant": "a"}, "** has no meaning here"),
    ({"match": {"id": "[ab]*"}, "tenant": "a"}, "brackets have no meaning here"),
    ({"match": {}}, "rule 2: tenant: is missing"),
    ({"match": {}, "tenant": ""}, "rule 2: tenant: is missing"),
    ({"match": {}, "tenant": 7}, "rule 2: tenant: must be a text"),
    ({"match": {}, "tenant": "unattributed"}, "rule 2: tenant: "),
    ({"match": {}, "tenant": "a", "porject": "b"}, "rule 2: porject: no such key"),
    ({"match": {}, "tenant": "{1}"}, "rule 2: tenant: {1} is not clear: no key of match has a *"),
    ({"match": {"id": "*", "kind": "*"}, "tenant": "{1}"}, "more than one key of match has a *"),
    ({"match": {"id": "a-*"}, "tenant": "{2}"}, "rule 2: tenant: {2} does not exist: the match has 1 *"),
    ({"match": {"id": "a-*"}, "tenant": "a", "project": "{0}"}, "rule 2: project: {0} does not exist"),
    ({"match": {"id": "a-*"}, "tenant": "{name}"}, "braces only stand for captures"),
    ({"match": {}, "tenant": "a", "tags": ["b"]}, "rule 2: tags: must be a table"),
    ({"match": {}, "tenant": "a", "tags": {str(n): "x" for n in range(9)}}, "rule 2: tags: must be a table of at most"),
    ({"match": {}, "tenant": "a", "tags": {"b": 1}}, "rule 2: tags.b: must be a text"),
    ("nonsense", "rules: must be an array of tables"),
]


@pytest.mark.parametrize(("wrong", "said"), WRONG, ids=[said for _, said in WRONG])
def test_a_wrong_rule_is_refused_by_its_number_and_its_key(wrong: Any, said: str) -> None:
    with pytest.raises(BadRules) as caught:
        compile_rules([rule(kind="docker"), wrong])
    assert said in str(caught.value)
    assert str(caught.value).startswith("attribution.rules: ")


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(BadRules) as caught:
        compile_rules([{"match": {"a": "b", "c": "d"}}, {"tenant": "x"}])
    assert len(caught.value.problems) == 4


def test_an_unknown_plugin_is_refused() -> None:
    with pytest.raises(BadRules, match="no such plugin: dokcer; there are kubernetes,"):
        make_attributor("/proc", "/sys/fs/cgroup", [], ["docker", "dokcer"])


def test_the_version_changes_with_every_rule_and_their_order_and_with_nothing_else() -> None:
    one, two = rule("a", kind="docker", id="x"), rule("b", kind="user")
    versions = {rules_version(rules) for rules in ([], [one], [two], [one, two], [two, one])}
    assert len(versions) == 5
    assert rules_version([one]) == rules_version([{"tenant": "a", "match": {"id": "x", "kind": "docker"}}])
