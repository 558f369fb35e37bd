"""The collector's rules on a host: what is no good decides nothing, and no collector can keep a host busy with it."""

import logging
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import grpc
import pytest
import trio
import trio.testing

from gputally.daemon import collector_rules
from gputally.daemon.collector_rules import CollectorRules, load_stored
from gputally.daemon.config import UplinkConfig
from gputally.daemon.keeper import WriterThread
from gputally.daemon.replay import MOST_RULE_SETS, Replay
from gputally.daemon.replay_events import Left, Lost, Opened, Ruled, TakeRules, Welcomed
from gputally.daemon.replay_phases import Phase, Violation
from gputally.daemon.uplink import Uplink
from gputally.model.rule_text import MOST_BODY_BYTES, RuleText
from gputally.plugins.attribution.rules import RuleSet
from gputally.proto.v1 import uplink_pb2 as wire
from gputally.storage.frame import genesis_hash
from gputally.storage.rule_file import NAME, load_rule_file, save_rule_file
from gputally.storage.wal import Entry, Log

from .test_uplink import FAST, HOST, MIB, until


def text(version: str, tenant: str = "acme") -> RuleText:
    return RuleText(version, f'[[rules]]\nmatch = {{}}\ntenant = "{tenant}"\n')


class Taker:
    """Stands where the attributor does."""

    def __init__(self, folder: Path) -> None:
        self.taken: list[str] = []
        stored = load_stored(folder)
        self.rules = CollectorRules(folder, self._take, stored)

    def _take(self, rules: RuleSet) -> None:
        self.taken.append(rules.version.partition("/")[0])

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.rules.run)
            yield
            nursery.cancel_scope.cancel()

    async def hear(self, *texts: RuleText) -> None:
        """From another thread, as the stream does; and long after it."""
        for each in texts:
            await trio.to_thread.run_sync(self.rules.hear, each)


def is_refused(taker: Taker, version: str) -> bool:
    return (taker.rules.describe()["refused"] or {}).get("version") == version


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector_rules, "PAUSE_S", 0.01)


def test_rules_are_stored_before_they_decide_and_said_in_the_next_hello(tmp_path: Path, quick: None) -> None:
    async def main() -> None:
        taker = Taker(tmp_path)
        assert (taker.rules.here().version, taker.rules.here().digest) == ("", b"")
        async with taker.running():
            await taker.hear(text("v1"))
            await until(lambda: taker.taken == ["v1"])
            assert load_rule_file(tmp_path) == text("v1")
            assert (taker.rules.here().version, taker.rules.here().digest) == ("v1", text("v1").digest)
            await taker.hear(text("v1"), text("v2"))
            await until(lambda: taker.taken == ["v1", "v2"])
        assert Taker(tmp_path).rules.describe() == {"version": "v2", "refused": None}

    trio.run(main)


def test_bad_rules_are_refused_in_words_and_the_former_stay(
    tmp_path: Path, quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        taker = Taker(tmp_path)
        async with taker.running():
            await taker.hear(text("v1"))
            await until(lambda: taker.taken == ["v1"])
            for number in range(5):
                await taker.hear(RuleText(f"bad{number}", "nonsense"))
                await until(partial(is_refused, taker, f"bad{number}"))
            refused = taker.rules.describe()
            assert refused["version"] == "v1"
            assert "is not TOML" in refused["refused"]["why"]
            # That it was heard is said all the same: it need not be sent at each connection.
            assert taker.rules.here().digest == RuleText("bad4", "nonsense").digest
            assert taker.rules.here().version == "v1"
            await taker.hear(text("v2"))
            await until(lambda: taker.taken == ["v1", "v2"])
            assert taker.rules.describe() == {"version": "v2", "refused": None}

    with caplog.at_level(logging.ERROR):
        trio.run(main)
    assert len([r for r in caplog.records if "are refused" in r.message]) == 1


@pytest.mark.parametrize("huge", [RuleText("v2", "#" * (MOST_BODY_BYTES + 1)), RuleText("v" * 100_000, "")])
def test_rules_that_are_too_large_are_refused_unread(tmp_path: Path, huge: RuleText) -> None:
    async def main() -> None:
        taker = Taker(tmp_path)
        async with taker.running():
            await taker.hear(huge)
            await until(lambda: taker.rules.describe()["refused"] is not None)
        refused = taker.rules.describe()["refused"]
        assert len(refused["why"]) < 1_000
        assert len(refused["version"]) <= 64
        assert taker.taken == []
        assert not (tmp_path / NAME).exists()

    trio.run(main)


def test_of_a_thousand_rule_sets_one_is_taken_now_and_the_last_when_the_pause_is_over(tmp_path: Path) -> None:
    async def main() -> None:
        taker = Taker(tmp_path)
        async with taker.running():
            taker.rules.hear(text("first"))
            await until(lambda: taker.taken == ["first"])
            for number in range(1_000):
                taker.rules.hear(text(f"v{number}"))
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert taker.taken == ["first"]
            await until(lambda: len(taker.taken) == 2)
            assert taker.taken == ["first", "v999"]

    trio.run(main)


def test_a_disk_that_does_not_take_them_keeps_them_out_and_they_are_asked_for_again(
    tmp_path: Path, quick: None
) -> None:
    async def main() -> None:
        taker = Taker(tmp_path)
        (tmp_path / f".{NAME}").mkdir()
        async with taker.running():
            await taker.hear(text("v1"))
            await until(lambda: taker.rules.describe()["refused"] is not None)
            assert "cannot be written" in taker.rules.describe()["refused"]["why"]
            await until(lambda: taker.rules.here().digest == b"")
            assert taker.taken == []
            (tmp_path / f".{NAME}").rmdir()
            await taker.hear(text("v1"))
            await until(lambda: taker.taken == ["v1"])

    trio.run(main)


def test_stored_rules_that_this_version_does_not_understand_are_told_and_not_in_force(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_rule_file(tmp_path, RuleText("v9", '[[rules]]\nmatch = { moon = "full" }\ntenant = "a"\n'))
    assert load_stored(tmp_path) is None
    assert "match.moon" in caplog.text
    assert Taker(tmp_path).rules.here().digest == b""


# ---- on the wire


def test_rules_count_wherever_a_stream_has_been_welcomed_and_after_a_fork_nothing_does() -> None:
    told = Ruled(text("v1"))
    for phase in (Phase.APART, Phase.GREETING):
        with pytest.raises(Violation):
            Replay(phase=phase).take(told)
    for phase in (Phase.REWINDING, Phase.STREAMING, Phase.LEAVING):
        assert Replay(phase=phase).take(told) == TakeRules(text("v1"))
    assert Replay(phase=Phase.FORKED).take(told) is None


def test_rules_without_end_are_a_violation_on_one_stream_and_a_new_one_begins_to_count_anew() -> None:
    replay = Replay()
    for _ in range(2):
        replay.take(Opened(0, 1))
        replay.take(Welcomed(0, b"h", b"h", 1, 1000))
        for _ in range(MOST_RULE_SETS):
            assert isinstance(replay.take(Ruled(text("v1"))), TakeRules)
        with pytest.raises(Violation, match="rule sets on one stream"):
            replay.take(Ruled(text("v1")))
        replay.take(Left())
        replay.take(Lost())


@contextmanager
def ruling(count: int, body: str) -> Iterator[tuple[str, list[wire.Hello]]]:
    """Welcomes, tells so many rule sets, and acknowledges nothing."""
    released, hellos = threading.Event(), list[wire.Hello]()

    def stream(requests: Iterator[wire.HostMessage], context: grpc.ServicerContext) -> Iterator[wire.CollectorMessage]:
        hello = next(requests).hello
        hellos.append(hello)
        head = genesis_hash(hello.host_id, hello.epoch)
        yield wire.CollectorMessage(welcome=wire.Welcome(head_hash=head, window_frames=2, window_bytes=MIB))
        for number in range(count):
            yield wire.CollectorMessage(rules=wire.RuleSet(version=f"v{number}", body=body))
        released.wait(20)

    handler = grpc.stream_stream_rpc_method_handler(
        stream,
        request_deserializer=wire.HostMessage.FromString,
        response_serializer=wire.CollectorMessage.SerializeToString,
    )
    server = grpc.server(ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("gputally.v1.Uplink", {"Stream": handler}),))
    port = server.add_insecure_port("localhost:0")
    server.start()
    try:
        yield f"localhost:{port}", hellos
    finally:
        released.set()
        server.stop(0).wait()


@pytest.mark.parametrize("body", ["nonsense", "#" * 900_000])
def test_a_collector_that_rules_without_end_is_left_and_metering_goes_on(tmp_path: Path, body: str) -> None:
    async def main(address: str, hellos: list[wire.Hello]) -> None:
        log = Log.open(tmp_path / "log", HOST, 4 * MIB)
        log.append([Entry(1, b"frame")], None)
        taker = Taker(tmp_path / "log")
        settings = UplinkConfig(endpoints=(address,), insecure_plaintext=True)
        uplink = Uplink(log, settings, HOST, "0.test", WriterThread(), rules=taker.rules, pace=FAST)
        with trio.fail_after(20):
            async with taker.running(), trio.open_nursery() as nursery:
                nursery.start_soon(uplink.run)
                await until(lambda: "rule sets on one stream" in (uplink.status().last_error or ""))
                await until(lambda: taker.rules.describe()["refused"] is not None)
                nursery.cancel_scope.cancel()
        assert list(hellos[0].capabilities) == ["rules"]
        assert taker.taken == []
        log.close()

    with ruling(1_000, body) as (address, hellos):
        trio.run(main, address, hellos)


def test_a_host_that_takes_no_rules_says_so_and_does_not_mind_them(tmp_path: Path) -> None:
    async def main(address: str, hellos: list[wire.Hello]) -> None:
        log = Log.open(tmp_path / "log", HOST, 4 * MIB)
        log.append([Entry(1, b"frame")], None)
        settings = UplinkConfig(endpoints=(address,), insecure_plaintext=True)
        uplink = Uplink(log, settings, HOST, "0.test", WriterThread(), pace=FAST)
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(uplink.run)
                await until(lambda: "no acknowledgement" in (uplink.status().last_error or ""))
                nursery.cancel_scope.cancel()
        assert (list(hellos[0].capabilities), hellos[0].rules_digest) == ([], b"")
        log.close()

    with ruling(3, "nonsense") as (address, hellos):
        trio.run(main, address, hellos)
