"""Two daemons under one host id: what the collector sees of it, and how often it says so."""

import os

import grpc
import pytest

from gputally.collector.doubles import Doubles, Signs
from gputally.collector.repeats import Repeats
from gputally.simulator.uplink import Conversation, StreamEnded
from gputally.storage.frame import genesis_hash, make_frame

from .running import RunningCollector
from .test_intake import host_with_frames, state_of

A, B, C = b"a" * 16, b"b" * 16, b"c" * 16


def test_epochs_one_after_the_other_are_no_sign() -> None:
    doubles = Doubles()
    for epoch in (A, A, B, B, C, C):
        doubles.opened("gpu-01", epoch)
    assert doubles.of("gpu-01") == Signs(epochs=[A, B, C])


def test_an_epoch_that_comes_back_after_another_is_a_sign() -> None:
    doubles = Doubles()
    for epoch in (A, B, A, A, B):
        doubles.opened("gpu-01", epoch)
    signs = doubles.of("gpu-01")
    assert signs.epochs_returned == 2 and signs.last_at_ns is not None
    assert doubles.of("gpu-02") == Signs()


def test_signs_are_counted_each_time_and_told_once_an_hour(caplog: pytest.LogCaptureFixture) -> None:
    now_s = [0.0]
    doubles = Doubles(Repeats(lambda: now_s[0]))
    for now_s[0] in (1.0, 2.0, 3500.0, 3700.0):
        doubles.in_use("gpu-01")
        doubles.forked("gpu-01")
    assert (doubles.of("gpu-01").host_id_in_use, doubles.of("gpu-01").forks_refused) == (4, 4)
    assert [record.levelname for record in caplog.records] == ["CRITICAL"] * 2
    assert "two daemons may run under the host id gpu-01: refused 1 times" in caplog.text


def test_hosts_without_end_are_forgotten_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gputally.collector.doubles._MOST_HOSTS", 10)
    doubles = Doubles()
    doubles.in_use("first")
    for number in range(10):
        doubles.opened(f"host-{number}", A)
        for epoch in range(100):
            doubles.opened(f"host-{number}", bytes([epoch]) * 16)
    assert doubles.of("first") == Signs()
    assert len(doubles._hosts) == 10 and len(doubles.of("host-9").epochs) == 4


def test_another_reason_is_said_at_once_and_the_same_one_after_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [0.0]
    repeats = Repeats(lambda: now_s[0])
    assert [repeats.is_news("gpu-01", what) for what in ("full", "full", "gone", "full")] == [True, False, True, True]
    now_s[0] = 3601.0
    assert repeats.is_news("gpu-01", "full") and not repeats.is_news("gpu-01", "full")
    monkeypatch.setattr("gputally.collector.repeats._MOST_SPEAKERS", 2)
    assert all(repeats.is_news(f"gpu-{number}", "full") for number in range(2, 9))
    assert len(repeats._said) == 2


def test_a_cloned_host_is_counted_under_hosts_and_its_refusals_are_one_line(shared_collector: RunningCollector) -> None:
    host, frames = host_with_frames(2)
    address, clone = shared_collector.intake, os.urandom(16)
    with Conversation(address) as first:
        first.hello(host.host_id, host.epoch)
        first.send(frames[0].to_bytes())
        first.hear_ack(1)
        for _ in range(2):
            with Conversation(address) as second, pytest.raises(StreamEnded, match="HostIdInUse"):
                second.hello(host.host_id, clone)
    for epoch in (clone, host.epoch):
        with Conversation(address) as said:
            said.hello(host.host_id, epoch)
    other = make_frame(host.epoch, 1, genesis_hash(host.host_id, host.epoch), 0, b"")
    with Conversation(address) as said, pytest.raises(StreamEnded, match="fork") as ended:
        said.hello(host.host_id, host.epoch)
        said.send(other.to_bytes())
        said.hear_ack(1)
    assert ended.value.code is grpc.StatusCode.FAILED_PRECONDITION
    doubled = state_of(shared_collector, host)["doubled"]
    assert isinstance(doubled, dict) and doubled.pop("last_at")
    assert doubled == {"host_id_in_use": 2, "forks_refused": 1, "epochs_returned": 1}
    lines = [line for line in shared_collector.log.read_text().splitlines() if host.host_id in line]
    assert [sum(words in line for line in lines) for words in ("HostIdInUse", "fork: frame 1", "ALARM")] == [1, 1, 1]
