"""Protections that can be switched off, one for each kind of fault at least: its seeds must then fail.

A simulation that passes proves nothing until it is seen to fail. Each control
takes away what guards against one fault, in the daemon or in what stands for its
surroundings here, while it is entered; nothing of it is in the daemon.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from ...daemon.replay_events import Acked
from ...model import device_meter, energy, family
from ...model.energy import Growth
from ...model.meter import Meter
from ...model.reading import DeviceGap, DeviceReading, GapReason, HostReading, ProcessOnDevice
from ...model.refused import Refused
from ...model.tally import Tally
from ...model.usage import Batch
from ...model.workload import Attribution
from ...plugins.nvml.epochs import DeviceEpoch
from ...storage.frame import read_frame
from ...storage.wal import Entry
from . import life as lives
from .collector import Collector
from .disk import Killed, SimulatedLog
from .rules import RuledAttributor
from .script import WALL_AT_START_NS, Kind

Off = Callable[[], AbstractContextManager[None]]
Change = Callable[[lives.Daemon, HostReading], HostReading]


@dataclass(frozen=True, slots=True)
class Control:
    """``kinds``: the faults whose seeds fail without the protection."""

    kinds: tuple[Kind, ...]
    words: str
    off: Off


@contextmanager
def instead(owner: Any, name: str, value: Any) -> Generator[None]:
    """``owner.name`` is ``value`` while this is entered."""
    inherited = object()
    before = owner.__dict__.get(name, inherited)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if before is inherited:
            delattr(owner, name)
        else:
            setattr(owner, name, before)


def on_readings(change: Change) -> AbstractContextManager[None]:
    """Each reading is what ``change`` makes of it."""
    read = lives.Daemon.read

    async def changed(self: lives.Daemon, interval_ns: int) -> HostReading:
        return change(self, await read(self, interval_ns))

    return instead(lives.Daemon, "read", changed)


# The daemon and its host.


def no_checkpoint() -> AbstractContextManager[None]:
    append = SimulatedLog.append

    def append_frames(self: SimulatedLog, entries: Sequence[Entry], _: bytes | None) -> int:
        return append(self, entries, None)

    return instead(SimulatedLog, "append", append_frames)


def two_transactions() -> AbstractContextManager[None]:
    append = SimulatedLog.append

    def append_apart(self: SimulatedLog, entries: Sequence[Entry], checkpoint: bytes | None) -> int:
        append(self, entries, None)
        if self.is_dying():
            raise Killed
        return append(self, (), checkpoint)

    return instead(SimulatedLog, "append", append_apart)


def identity_not_compared() -> AbstractContextManager[None]:
    return instead(device_meter, "_unchanged", _always)


def stop_is_a_kill() -> AbstractContextManager[None]:
    async def stop(self: lives.Daemon, *_: Any) -> None:
        self.writer.dead = True
        raise Killed

    return instead(lives.Daemon, "stop", stop)


def one_boot() -> AbstractContextManager[None]:
    new_meter = lives.Daemon.new_meter

    def same_boot(self: lives.Daemon) -> Meter:
        meter = new_meter(self)
        meter.boot_id = self.world.script.boots[0].boot_id
        return meter

    return instead(lives.Daemon, "new_meter", same_boot)


def monotonic_clock() -> AbstractContextManager[None]:
    return on_readings(lambda _, reading: _shifted(reading, -reading.suspended_ns))


def wall_clock() -> AbstractContextManager[None]:
    def by_wall(daemon: lives.Daemon, reading: HostReading) -> HostReading:
        up_ns = daemon.world.clocks.boot(daemon.time.now_ns()).up_ns
        return _shifted(reading, reading.wall_ns - WALL_AT_START_NS - up_ns - reading.boot_ns)

    return on_readings(by_wall)


def rules_not_cut() -> AbstractContextManager[None]:
    """The open segment goes on under the rules it began with."""
    attribute = RuledAttributor.attribute
    off = ExitStack()

    def unversioned(self: RuledAttributor, reading: HostReading) -> Attribution:
        return replace(attribute(self, reading), rules_version="always", changing=None)

    off.enter_context(instead(RuledAttributor, "attribute", unversioned))
    off.enter_context(instead(device_meter.DeviceMeter, "_may_go_on", _always))
    return _entered(off)


# The driver and its GPUs.


def gap_is_idle() -> AbstractContextManager[None]:
    def add_idle(self: Tally, length_ns: int, energy_mj: int, _: GapReason) -> None:
        self.add_idle(length_ns, energy_mj)

    return instead(Tally, "add_unobserved", add_idle)


def gap_is_empty(*reasons: GapReason) -> Off:
    """Who cannot be read holds nothing."""

    def emptied(_: lives.Daemon, reading: HostReading) -> HostReading:
        return _with_parts(reading, lambda part: DeviceReading(part.device_id, part.at_ns), reasons)

    return lambda: on_readings(emptied)


def garbage_believed() -> AbstractContextManager[None]:
    def believed(_: lives.Daemon, reading: HostReading) -> HostReading:
        junk = (ProcessOnDevice(1 << 30, 1 << 36, 100),)
        return _with_parts(
            reading, lambda part: DeviceReading(part.device_id, part.at_ns, junk), (GapReason.BAD_READING,)
        )

    return on_readings(believed)


def claims_need_eyes() -> AbstractContextManager[None]:
    """What is claimed and cannot be seen is unobserved."""

    class Unseen:
        def __init__(self, tally: Tally, reason: str) -> None:
            self.tally, self.reason = tally, GapReason(reason)

        def add_time(self, length_ns: int, energy_mj: int) -> None:
            self.tally.add_unobserved(length_ns, energy_mj, self.reason)

    return instead(device_meter, "blind", Unseen)


def index_is_identity() -> AbstractContextManager[None]:
    def by_index(daemon: lives.Daemon, reading: HostReading) -> HostReading:
        gpus = [gpu.device_id for gpu in daemon.world.script.gpus]
        told = [part.device_id for part in reading.readings if part.device_id in gpus]
        names = dict(zip(told, gpus, strict=False))
        parts = tuple(replace(part, device_id=names.get(part.device_id, part.device_id)) for part in reading.readings)
        return replace(reading, readings=parts)

    return on_readings(by_index)


def epoch_ignored() -> AbstractContextManager[None]:
    def trusting(before_mj: int | None, _now_mj: int, _elapsed_ns: int, _same_epoch: bool) -> Growth:
        return Growth.ANEW if before_mj is None else Growth.ON

    return _judging(trusting)


def decrease_ignored() -> AbstractContextManager[None]:
    judge = energy.judge

    def trusting(before_mj: int | None, now_mj: int, elapsed_ns: int, same_epoch: bool) -> Growth:
        falls = before_mj is not None and now_mj < before_mj and same_epoch
        return Growth.ON if falls else judge(before_mj, now_mj, elapsed_ns, same_epoch)

    def believed(_self: DeviceEpoch, mj: int | None, _at_ns: int, _reject: Any) -> int | None:
        return mj

    off = ExitStack()
    off.enter_context(instead(DeviceEpoch, "energy_mj", believed))
    off.enter_context(_judging(trusting))
    return _entered(off)


def generation_ignored() -> AbstractContextManager[None]:
    def forget(self: Meter, device_id: str) -> None:
        self.closed += self.devices.pop(device_id).take_closed()
        self.edges += 1

    return instead(Meter, "forget", forget)


# The processes.


def pid_is_identity() -> AbstractContextManager[None]:
    """Who bears a pid in two readings in a row is taken for one process."""
    attribute = RuledAttributor.attribute
    known: dict[int, Any] = {}

    def by_pid(self: RuledAttributor, reading: HostReading) -> Attribution:
        told = attribute(self, reading)
        holders = {pid: known.get(pid, holder) for pid, holder in told.holders.items()}
        kept = {holder.process for holder in holders.values()}
        known.clear()
        known.update(holders)
        return replace(told, holders=holders, ended={p: at for p, at in told.ended.items() if p not in kept})

    return instead(RuledAttributor, "attribute", by_pid)


def short_unseen() -> AbstractContextManager[None]:
    """What the driver remembers of those who have left is not asked for."""

    def without_passed(_: lives.Daemon, reading: HostReading) -> HostReading:
        parts = tuple(replace(p, passed=()) if isinstance(p, DeviceReading) else p for p in reading.readings)
        return replace(reading, readings=parts)

    return on_readings(without_passed)


# The log and the collector.


def trimmed_unacknowledged() -> AbstractContextManager[None]:
    """Whatever is old enough is dropped."""
    trim = SimulatedLog.trim

    def trim_all(self: SimulatedLog, keep_after_wall_ns: int) -> int:
        self.acknowledge(self.stat().last_seq, keep_after_wall_ns - 1)
        return trim(self, keep_after_wall_ns)

    return instead(SimulatedLog, "trim", trim_all)


def kept_no_longer_than_acknowledged() -> AbstractContextManager[None]:
    return instead(lives, "KEEP_ACKED_NS", -(10**18))


def replays_committed_again() -> AbstractContextManager[None]:
    def offer(self: Collector, _host_id: str, raw: bytes, _now_ns: int) -> Acked:
        self.ledger.append(raw)
        return Acked(read_frame(raw).seq)

    return instead(Collector, "offer", offer)


def readings_hold_for_ever() -> AbstractContextManager[None]:
    """However many readings were lost, the last one is believed until the next."""
    return instead(device_meter, "PATIENCE", 10**9)


def refused_forgotten() -> AbstractContextManager[None]:
    def unchanged(self: Refused, _: Batch) -> Refused:
        return self

    return instead(Refused, "with_batch", unchanged)


CONTROLS: Final[Mapping[str, Control]] = {
    "no_checkpoint": Control((Kind.CRASH,), "what is open is not checkpointed", no_checkpoint),
    "two_transactions": Control(
        (Kind.CRASH,), "frames and the checkpoint without them are two commits", two_transactions
    ),
    "identity_not_compared": Control(
        (Kind.CRASH,), "inferred for everybody who was there before", identity_not_compared
    ),
    "stop_is_a_kill": Control((Kind.RESTART,), "a stop takes no last reading and cuts nothing", stop_is_a_kill),
    "one_boot": Control((Kind.REBOOT,), "a reboot goes unnoticed, and time is inferred across it", one_boot),
    "monotonic_clock": Control((Kind.SUSPEND,), "durations from a clock that a suspend stops", monotonic_clock),
    "wall_clock": Control((Kind.STEP,), "durations from the wall clock", wall_clock),
    "rules_not_cut": Control((Kind.RULES,), "no new segment where the rules change", rules_not_cut),
    "gap_is_idle": Control((Kind.HANG,), "a gap is booked as idle", gap_is_idle),
    "gap_is_empty": Control((Kind.HANG_ALL,), "no answer is a list of nobody", gap_is_empty(GapReason.NVML_HANG)),
    "released_is_empty": Control((Kind.RELEASED,), "who let go holds nothing", gap_is_empty(GapReason.RELEASED)),
    "garbage_believed": Control((Kind.GARBAGE,), "garbage from the driver is believed", garbage_believed),
    "index_is_identity": Control((Kind.LOST,), "a GPU is its index", index_is_identity),
    "claims_need_eyes": Control((Kind.HANG_ALL,), "a claim ends where nobody can look", claims_need_eyes),
    "epoch_ignored": Control((Kind.RELOAD,), "an energy counter is one for ever", epoch_ignored),
    "decrease_ignored": Control((Kind.RESET,), "an energy counter that falls is not noticed", decrease_ignored),
    "generation_ignored": Control((Kind.MIG,), "an instance that returns is the one that went", generation_ignored),
    "pid_is_identity": Control((Kind.PID_REUSE,), "a process is its pid", pid_is_identity),
    "short_unseen": Control((Kind.SHORT,), "only those in the list were there", short_unseen),
    "trimmed_unacknowledged": Control((Kind.AWAY,), "frames are trimmed by age alone", trimmed_unacknowledged),
    "kept_no_longer": Control(
        (Kind.RESTORED,), "what is acknowledged is dropped at once", kept_no_longer_than_acknowledged
    ),
    "replays_committed_again": Control((Kind.AWAY,), "what comes twice is committed twice", replays_committed_again),
    "readings_hold_for_ever": Control((Kind.SLOW_DISK,), "lost readings are bridged", readings_hold_for_ever),
    "refused_forgotten": Control((Kind.FULL_LOG,), "what a full log refuses is forgotten", refused_forgotten),
}


def _always(*_: object) -> bool:
    return True


def _shifted(reading: HostReading, by_ns: int) -> HostReading:
    parts = tuple(replace(part, at_ns=part.at_ns + by_ns) for part in reading.readings)
    return replace(reading, boot_ns=reading.boot_ns + by_ns, readings=parts)


def _with_parts(
    reading: HostReading, make: Callable[[DeviceGap], DeviceReading], reasons: tuple[GapReason, ...]
) -> HostReading:
    parts = tuple(
        make(part) if isinstance(part, DeviceGap) and part.reason in reasons else part for part in reading.readings
    )
    return replace(reading, readings=parts)


def _judging(judge: Callable[..., Growth]) -> AbstractContextManager[None]:
    off = ExitStack()
    off.enter_context(instead(device_meter, "judge", judge))
    off.enter_context(instead(family, "judge", judge))
    return _entered(off)


@contextmanager
def _entered(off: ExitStack) -> Generator[None]:
    with off:
        yield
