"""A whole deployment on loopback: a rig, a daemon and a collector that can each be killed and started again."""

import socket
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from gputally.cli.socket_asking import ask_daemon
from gputally.simulator.audit import audit
from gputally.simulator.driver import DriverBuildError, build_driver
from gputally.simulator.rig import Rig
from gputally.simulator.scenario import Scenario
from gputally.simulator.stack import Program, addresses, ask, collector_config, daemon_config, start
from gputally.simulator.truth import slack_ns, true_shares
from gputally.storage.ledger_reader import LedgerReader

S = 1_000_000_000
DOCKER = "/tenants.slice/tenant-{}/docker-" + "a1" * 32 + ".scope"
RULES: Sequence[Mapping[str, Any]] = ({"match": {"path": "/tenants.slice/tenant-*"}, "tenant": "{1}"},)


def need_driver() -> None:
    """Skips where the fake driver cannot be built, and says why."""
    try:
        build_driver()
    except DriverBuildError as error:
        pytest.skip(f"no fake driver: {error}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Field:
    """What a scenario test holds in its hands."""

    folder: Path
    rig: Rig
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rules: Sequence[Mapping[str, Any]] = RULES
    proc: Path | None = None
    daemon: Program | None = None
    collector: Program | None = None
    began_s: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        self.intake = f"127.0.0.1:{free_port()}"
        self.collector_toml = collector_config(self.folder, {"Large": "NVIDIA H100*"}, self.intake)
        settings: dict[str, Mapping[str, Any]] = {
            "metering": {"window_s": 10},
            "sampling": {"every_s": 0.5, "idle_every_s": 0.5},
            **self.settings,
        }
        self.daemon_toml = daemon_config(self.folder, self.proc or self.rig.proc, self.intake, self.rules, **settings)

    def start_collector(self) -> None:
        self.collector = start(["collector", "--config", str(self.collector_toml)], self.folder / "collector.log")

    def start_daemon(self) -> None:
        environment = self.rig.environment
        self.daemon = start(["daemon", "--config", str(self.daemon_toml)], self.folder / "daemon.log", environment)

    def kill_daemon(self) -> None:
        assert self.daemon is not None
        self.daemon.kill()

    def kill_collector(self) -> None:
        assert self.collector is not None
        self.collector.kill()

    def stop_daemon(self) -> None:
        """SIGTERM: cuts, commits, sends; must end well."""
        assert self.daemon is not None
        assert self.daemon.stop() == 0, self.daemon.logged()

    def end_jobs(self) -> None:
        """Before the daemon stops: nobody meters what runs after it."""
        for job in list(self.rig.jobs):
            self.rig.end(job)

    @property
    def api(self) -> str:
        assert self.collector is not None
        return addresses(self.collector)[1]

    @property
    def span(self) -> dict[str, str]:
        edges = (self.began_s // 60 * 60 - 60, time.time() // 60 * 60 + 60)
        first, last = (datetime.fromtimestamp(s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for s in edges)
        return {"range_from": first, "range_to": last}

    def conservation(self) -> dict[str, Any]:
        told: dict[str, Any] = ask(self.api, "/v1/conservation", **self.span)
        return told

    def records(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        more: dict[str, str] = {}
        while True:
            page = ask(self.api, "/v1/records", **self.span, **more)
            found += page["items"]
            if page["next"] is None:
                return found
            more = {"after": page["next"]}

    def wait_for_frames(self, within_s: float = 90.0) -> None:
        """Until the ledger has everything that the daemon's log holds; an uplink may rest for 30 s between tries."""
        deadline_s = time.monotonic() + within_s
        while self.status()["log"]["unacked_frames"]:
            assert time.monotonic() < deadline_s, "frames are still not acknowledged"
            time.sleep(0.2)

    def status(self) -> dict[str, Any]:
        return ask_daemon(str(self.folder / "daemon.sock"))

    def metered(self) -> dict[tuple[str, str], int]:
        """Nanoseconds by (tenant, device UUID), from the records that the ledger holds."""
        found: dict[tuple[str, str], int] = {}
        for record in self.records():
            key = record["org"], record["device"].partition(":")[2]
            found[key] = found.get(key, 0) + int(record["allocated_ns"])
        return {key: amount for key, amount in found.items() if amount}

    def frames(self) -> list[bytes]:
        """Everything the ledger has, as the host sent it."""
        with LedgerReader(self.folder / "ledger") as reader:
            return [entry.body for entry in reader.read(0, 100_000, 1 << 30)]

    def assert_lawful(self) -> None:
        """Conservation is exact, and rows tile without hole or overlap: so says the API, and who reads frames only."""
        assert audit(self.frames()) == []
        told = self.conservation()
        assert told["summary"]["exact"] is True, told
        for device in told["devices"]:
            parts = int(device["allocated_ns"]) + int(device["idle_ns"]) + sum(map(int, device["unobserved"].values()))
            assert parts == int(device["existed_ns"])
            assert device["holes"] == [] and device["overlaps"] == []

    def assert_true(self, unobserved_allowed: bool = False) -> None:
        """Each tenant's time on each device is what it really did, within what the records state."""
        metered = self.metered()
        records = self.records()
        conservation = {d["device"].partition(":")[2]: d for d in self.conservation()["devices"]}
        for device in self.rig.scenario.devices:
            allowed_ns = slack_ns(self.rig.stays, device.uuid) + stated_ns(records, device.uuid)
            if unobserved_allowed:
                allowed_ns += sum(map(int, conservation[device.uuid]["unobserved"].values()))
            truth = true_shares(self.rig.stays, device.uuid)
            for tenant in truth.keys() | {t for t, d in metered if d == device.uuid}:
                off_ns = metered.get((tenant, device.uuid), 0) - truth.get(tenant, Fraction(0))
                assert abs(off_ns) <= allowed_ns, (tenant, device.uuid, float(off_ns) / S, allowed_ns / S)


def stated_ns(records: list[dict[str, Any]], uuid: str) -> int:
    """The sum over a device's segments of what the records say their edges may be off by."""
    worst: dict[str, int] = {}
    for record in records:
        if record["device"].endswith(uuid):
            key = str(record["segment_boot_start_ns"])
            worst[key] = max(worst.get(key, 0), int(record["edge_uncertainty_ns"]))
    return sum(worst.values())


@contextmanager
def a_field(folder: Path, gpus: int = 8, **settings: Any) -> Generator[Field]:
    """A field whose processes are all gone after the block."""
    need_driver()
    rules, proc = settings.pop("rules", RULES), settings.pop("proc", None)
    with Rig.opened(folder / "host", Scenario.host(gpus)) as rig:
        made = Field(folder, rig, settings, rules, proc)
        try:
            yield made
        finally:
            for program in (made.daemon, made.collector):
                if program is not None and program.process.poll() is None:
                    program.kill()
