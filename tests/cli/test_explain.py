"""`gputally explain`: one file for a dispute, which holds together offline, and not once it is changed."""

import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gputally.cli.main import main
from gputally.model.interval import Interval
from gputally.plugins.signing_key import KeyFile, make_key_file, write_key_file
from gputally.simulator.stream import SimulatedHost

from ..collector.running import HOUR_NS, JUNE_NS, RunningCollector, write_config
from ..collector.test_decisions import JULY, JUNE_1, JUNE_2, post

RANGE = ("--from", JUNE_1, "--to", "2025-06-03T00:00:00Z")
KEY = make_key_file()


def gputally(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def two_tenants() -> SimulatedHost:
    host = SimulatedHost("gpu-01")
    for tenant in ("acme", "umbrella"):
        month = Interval(JUNE_NS, JUNE_NS + 720 * HOUR_NS)
        host.hold(f"nvidia:GPU-{tenant}", "NVIDIA L40", tenant, month, 24 * HOUR_NS)
    return host


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    """June is sealed; one record was acme's and is umbrella's, one the other way, one is void."""
    folder = tmp_path_factory.mktemp("explain")
    tenants = [(name, "tenant", f'tenant = "{name}"\n') for name in ("acme", "umbrella")]
    roles = (("op", "operator", ""), *tenants)
    tokens = "".join(
        f'[[tokens]]\nname = "{name}"\nsha256 = "{sha256(name.encode()).hexdigest()}"\nrole = "{role}"\n{more}'
        for name, role, more in roles
    )
    (folder / "tokens.toml").write_text(tokens)
    config = write_config(folder, f'tokens = "{folder / "tokens.toml"}"')
    write_key_file(folder / "seal.key", KEY, replace=False)
    path = f'path = "{folder / "ledger"}"'
    config.write_text(config.read_text().replace(path, f'{path}\nsigning_key = "{folder / "seal.key"}"'))
    with RunningCollector(config) as running:
        running.deliver(two_tenants())
        running.wait_until_folded()
        items = running.ask("/v1/records", "op", range_from=JUNE_1, range_to=JUNE_2, limit=4).json()["items"]
        by_org = {item["org"]: item["place"] for item in items}
        for body in (
            {"do": "reassign", "to_tenant": "umbrella", "records": [by_org["acme"]]},
            {"do": "reassign", "to_tenant": "acme", "records": [by_org["umbrella"]]},
            {"do": "void", "from": JUNE_2, "to": "2025-06-03T00:00:00Z", "tenant": "acme"},
        ):
            assert post(running, "/v1/corrections", "op", **body, why="dispute 7").status_code == 201
        fans = {"id": "m", "kind": "maintenance", "approver": "kim", "why": "fans", "tenant": "umbrella"}
        assert post(running, "/v1/exclusions", "op", **fans, from_=JUNE_1, to=JUNE_2).status_code == 201
        credit = {"id": "c", "at": JUNE_2, "tenant": "acme", "gpu_model": "NVIDIA L40", "ns": str(-HOUR_NS)}
        assert post(running, "/v1/adjustments", "op", **credit, why="goodwill").status_code == 201
        for what in ("close", "seal"):
            assert post(running, f"/v1/periods/{what}", "op", from_=JUNE_1, to=JULY, why="end").status_code == 201
        yield running


@pytest.fixture
def explained(collector: RunningCollector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    def make(token: str, *more: str) -> Path:
        monkeypatch.setenv("GPUTALLY_TOKEN", token)
        out = tmp_path / f"{token}.json"
        done = gputally("explain", "--collector", collector.url, *RANGE, *more, "--out", out)
        assert done.exit_code == 0, done.output
        return out

    return make


def trusted(tmp_path: Path, key: KeyFile) -> Path:
    path = tmp_path / "trusted"
    path.write_text(f"gputally:ledger {key.own.public_key.hex()}\n")
    return path


def test_an_operators_file_holds_together_offline_frames_and_all(
    explained: Callable[..., Path], tmp_path: Path
) -> None:
    out = explained("op", "--tenant", "acme")
    done = gputally("explain", "--check", out, "--trusted-keys", trusted(tmp_path, KEY))
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[:3] == [
        "records    3, of which 1 count",
        "proven     3 under a seal; 0 are of time that is not sealed",
        "in frames  3",
    ]
    assert f"signed by key {KEY.own.key_id.hex()}\n" in done.stdout
    assert gputally("explain", "--check", out).exit_code == 0
    told = json.loads(out.read_text())
    assert {each["kind"] for each in told["corrections"]} == {"reassign", "void"}
    assert all(each["proof"] for each in told["corrections"]) and told["exclusions"] == []
    assert out.read_bytes() == explained("op", "--tenant", "acme").read_bytes()


def test_what_was_booked_is_told_proven_and_not_to_be_changed(explained: Callable[..., Path], tmp_path: Path) -> None:
    out = explained("op", "--tenant", "acme", "--no-frames")
    told = json.loads(out.read_text())
    (credit,) = told["adjustments"]
    assert (credit["id"], credit["why"], credit["proof"] is None) == ("c", "goodwill", False)
    assert json.loads(explained("op", "--tenant", "umbrella").read_text())["adjustments"] == []
    credit["ns"] = str(-2 * HOUR_NS)
    (tmp_path / "changed.json").write_text(json.dumps(told))
    done = gputally("explain", "--check", tmp_path / "changed.json")
    assert done.exit_code == 1 and "is not what was decided" in done.stdout


def test_another_key_than_the_pinned_one_is_exit_1(explained: Callable[..., Path], tmp_path: Path) -> None:
    out = explained("op", "--tenant", "acme", "--no-frames")
    done = gputally("explain", "--check", out, "--trusted-keys", trusted(tmp_path, make_key_file()))
    assert done.exit_code == 1 and "not signed by a key that is pinned" in done.stdout


def test_a_tenant_explains_its_own_and_never_reads_of_another(
    explained: Callable[..., Path], collector: RunningCollector
) -> None:
    for tenant, other in (("acme", "umbrella"), ("umbrella", "acme")):
        out = explained(tenant)
        done = gputally("explain", "--check", out)
        assert done.exit_code == 0 and "records    3" in done.stdout, done.output
        told = json.loads(out.read_text())
        assert told["frames"] == [] and told["tenant"] == tenant
        # What was another's job, and is this tenant's now, is named as /v1/records names it to the tenant.
        for each in told["records"]:
            assert each["record"].pop("workload") and each["record"].pop("device")
        assert f'"{other}"' not in json.dumps(told)
        assert sum(each["as_sent"] is None for each in told["records"]) == 1
        span = {"range_from": JUNE_1, "range_to": JULY}
        assert collector.ask("/v1/explain", tenant, **span, tenant=other).status_code == 403
        assert collector.ask("/v1/explain", tenant, **span, frames="true").status_code == 400


def change_record(told: Any) -> None:
    told["records"][0]["record"]["allocated_ns"] = "1"


def change_as_sent(told: Any) -> None:
    told["records"][1]["as_sent"] = told["records"][0]["as_sent"]


def change_leaf(told: Any) -> None:
    told["records"][0]["leaf"] = told["records"][1]["leaf"]


def change_proof(told: Any) -> None:
    told["records"][0]["proof"]["index"] += 1


def drop_proof(told: Any) -> None:
    told["records"][0]["proof"] = None


def change_total(told: Any) -> None:
    told["totals"]["records"] += 1


def count_what_is_void(told: Any) -> None:
    void = next(each for each in told["corrections"] if each["kind"] == "void")
    record = next(each for each in told["records"] if each["record"]["usage_key"] == void["usage_key"])
    record["counts"] = True


def change_correction(told: Any) -> None:
    told["corrections"][0]["window_start_ns"] = "0"


def change_root(told: Any) -> None:
    told["seals"][0]["root"] = "00" * 32


def change_frame(told: Any) -> None:
    told["frames"][0]["bytes"] = "AAAA" + told["frames"][0]["bytes"][4:]


def change_hash(told: Any) -> None:
    told["frames"][0]["seq"] = "2"


CHANGES = (change_record, change_as_sent, change_leaf, change_proof, drop_proof, change_total, count_what_is_void,
           change_correction, change_root, change_frame, change_hash)  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_was_changed_does_not_hold_together(
    explained: Callable[..., Path], change: Callable[[Any], None]
) -> None:
    out = explained("op", "--tenant", "acme")
    told = json.loads(out.read_text())
    change(told)
    out.write_text(json.dumps(told))
    done = gputally("explain", "--check", out)
    assert done.exit_code == 1 and "does NOT hold together" in done.stdout, done.output


@pytest.mark.parametrize("raw", ["", "[]", "{}", *(f'{{"format": "gputally.explain/{number}"}}' for number in (1, 2))])
def test_a_file_that_is_none_of_ours_is_said_in_a_line(tmp_path: Path, raw: str) -> None:
    (tmp_path / "file").write_text(raw)
    done = gputally("explain", "--check", tmp_path / "file")
    assert done.exit_code == 66 and done.stderr.count("\n") == 1
    assert gputally("explain", "--check", tmp_path / "none").exit_code == 66
    assert gputally("explain").exit_code == 2
