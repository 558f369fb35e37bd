"""Rules that are exchanged while an attributor works."""

import pytest

from gputally.model.rule_text import MOST_BODY_BYTES, RuleText
from gputally.model.workload import Workload
from gputally.plugins.attribution.rule_body import literal_tenants, read_rule_text
from gputally.plugins.attribution.rule_reading import compile_rules, rules_version
from gputally.plugins.attribution.rules import BadRules

from .paper import DOCKER, S
from .virtual import MS, VirtualHost

NEW = compile_rules([{"match": {"kind": "docker"}, "tenant": "new"}])
BY_UID = compile_rules([{"match": {"kind": "service", "uid": 7}, "tenant": "seven"}])
UNIT = "/system.slice/train.service"
GOOD = '[[rules]]\nmatch = { kind = "docker" }\ntenant = "acme"\n'


def test_the_reading_that_changes_the_rules_is_still_the_old_ones() -> None:
    with VirtualHost.opened() as host:
        host.kernel.start(7, DOCKER)
        old = host.look(7).rules_version
        host.attributor.take_rules(NEW)
        host.kernel.start(8, DOCKER.replace("a", "b"))
        told = host.look(7, 8)
        assert (told.rules_version, {holder.owner.tenant for holder in told.holders.values()}) == (old, {"acme"})
        assert told.changing is not None
        assert told.changing.version == NEW.version == host.attributor.rules_version
        assert {owner.tenant for owner in told.changing.owners.values()} == {"new"}
        after = host.look(7, 8)
        assert (after.rules_version, after.changing) == (NEW.version, None)
        assert {holder.owner.tenant for holder in after.holders.values()} == {"new"}


def test_the_same_rules_again_change_nothing() -> None:
    with VirtualHost.opened() as host:
        host.attributor.take_rules(NEW)
        assert host.look().changing is not None
        host.attributor.take_rules(NEW)
        assert host.look().changing is None


def test_of_rules_that_follow_each_other_between_two_readings_the_last_counts() -> None:
    with VirtualHost.opened() as host:
        host.attributor.take_rules(BY_UID)
        host.attributor.take_rules(NEW)
        told = host.look().changing
        assert told is not None
        assert told.version == NEW.version


def test_a_rule_by_uid_decides_by_the_uid_that_was_known() -> None:
    with VirtualHost.opened() as host:
        host.kernel.start(7, UNIT, uid=7)
        assert host.look(7).holders[7].owner.reason == "no_rule"
        host.attributor.take_rules(BY_UID)
        host.look(7)
        assert host.look(7).holders[7].owner.tenant == "seven"


def test_who_was_not_there_to_be_asked_is_judged_by_the_rules_of_its_end() -> None:
    """A job that nobody listed, told of after the rules have changed."""
    with VirtualHost.opened(room=1000) as host:
        host.look()
        start_ns = host.now_ns
        host.kernel.start(7, DOCKER)
        host.follow(300 * MS)
        host.kernel.end(7)
        host.follow(100 * MS)
        host.attributor.take_rules(NEW)
        host.look()
        host.wait(S)
        assert host.passage(7, start_ns + 100 * MS).holder.owner.tenant == "acme"
        start_ns = host.now_ns
        host.kernel.start(8, DOCKER)
        host.follow(300 * MS)
        host.kernel.end(8)
        host.follow(100 * MS)
        assert host.passage(8, start_ns + 100 * MS).holder.owner.tenant == "new"


def test_who_has_ended_keeps_the_owner_he_had() -> None:
    with VirtualHost.opened() as host:
        host.kernel.start(7, DOCKER)
        host.look(7)
        host.wait(S)
        host.kernel.end(7)
        host.attributor.note_exits()
        host.attributor.take_rules(NEW)
        told = host.look()
        assert told.changing is not None
        assert Workload("docker", "a" * 64) not in told.changing.owners
        assert host.passage(7, host.now_ns - S // 2).holder.owner.tenant == "acme"


def test_users_paths_and_versions_of_a_body_are_those_of_the_configuration() -> None:
    rules = read_rule_text(RuleText("2026-11.a", GOOD))
    assert rules.version == "2026-11.a/" + rules_version([{"match": {"kind": "docker"}, "tenant": "acme"}])
    assert rules.rules == compile_rules([{"match": {"kind": "docker"}, "tenant": "acme"}]).rules


WRONG = [
    ("v1", "", "has no [[rules]]"),
    ("v1", "rules = []", "has no [[rules]]"),
    ("v1", "rules = 7", "has no [[rules]]"),
    ("v1", "rules = [1]", "must be an array of tables"),
    ("v1", "nonsense", "is not TOML"),
    ("v1", GOOD.replace("[[rules]]", "[[attribution.rules]]"), "write [[rules]]"),
    ("v1", GOOD + "[more]\n", "more: no such key"),
    ("v1", GOOD.replace("docker", "dcoker"), "rule 1: match.kind"),
    ("v1", GOOD + GOOD.replace("tenant", "tenent"), "rule 2: tenent: no such key"),
    ("v1", GOOD + "#" * MOST_BODY_BYTES, "more than 131072 bytes"),
    ("v1", "é" * (MOST_BODY_BYTES // 2 + 1), "more than 131072 bytes"),
    ("v1", "# \ud800", "surrogates"),
    ("v1", "a = " + "[" * 60_000, "not TOML that can be read"),
    ("", GOOD, "version: must be 1 to 64"),
    ("v 1", GOOD, "version: must be"),
    ("v/1", GOOD, "version: must be"),
    ("v1\n", GOOD, "version: must be"),
    ("v" * 65, GOOD, "version: must be"),
]


@pytest.mark.parametrize(("version", "body", "said"), WRONG, ids=[said for *_, said in WRONG])
def test_a_rule_set_that_is_no_good_is_refused_in_words(version: str, body: str, said: str) -> None:
    with pytest.raises(BadRules) as caught:
        read_rule_text(RuleText(version, body))
    assert said in str(caught.value)


def test_only_what_a_rule_names_as_it_is_is_a_literal_tenant() -> None:
    body = '[[rules]]\nmatch = { path = "/t.slice/*" }\ntenant = "{1}"\n' + GOOD + GOOD
    assert literal_tenants(read_rule_text(RuleText("v", body))) == {"acme": 2}
