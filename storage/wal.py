"""The write-ahead log of a host: what is in it survives, in order, until the collector has it.

Frames, their chain, the acknowledgements and the keeper's checkpoint change
together or not at all: each public method that writes is one LMDB transaction,
flushed before it returns (two flushes each, so batch).

Threads: one thread writes (``append``, ``acknowledge``, ``take_back``, ``bury``,
``trim``), and never the event loop's. ``read``, ``head_hash``, ``checkpoint`` and
``stat`` may be called from any thread at any time; they copy out and let go, for
one open reader keeps every page that is freed meanwhile from being used again.

What keeps a full log able to work is in wal_room.py.
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import lmdb

from .checkpoint import DamagedCheckpoint
from .frame import DamagedFrame, make_frame, make_skip
from .gate import Gate
from .skip import Lost, Skip, SkipReason
from .wal_drop import Drops
from .wal_epoch import Damage, Entry, Mend, Recovery, no_mending
from .wal_errors import HostIdChanged, LogBroken, LogError, LogFull, LogUnusable, full, no_room_for_checkpoint
from .wal_open import OpenLog, open_again, open_log, open_next
from .wal_platter import DISK, Platter
from .wal_room import Buried, Room
from .wal_state import LogStat, LogState, Place, stat_of
from .wal_tables import Txn, verify

__all__ = [
    "Buried",
    "Damage",
    "Entry",
    "HostIdChanged",
    "Log",
    "LogBroken",
    "LogError",
    "LogFull",
    "LogStat",
    "LogUnusable",
    "Mend",
    "Recovery",
]

_TRIM_AT_ONCE: Final = 1_000
_DAMAGE: Final = (
    DamagedCheckpoint,
    DamagedFrame,
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.InvalidError,
)
"""What no disk that only failed for a moment explains."""


class Log:
    """Open it with ``Log.open``; one process at a time has it."""

    def __init__(self, opened: OpenLog, cap_bytes: int, mend: Mend = no_mending) -> None:
        self._cap_bytes = cap_bytes
        self._gate = Gate()
        self._mend = mend
        self._in_doubt = False
        """Whether damage was met: then the next ``reopen``, or the next process, checks the file."""
        self._take(opened)

    @classmethod
    def open(
        cls, folder: Path, host_id: str, cap_bytes: int, platter: Platter = DISK, mend: Mend = no_mending
    ) -> "Log":
        """The log in ``folder``, made if there is none; its file takes ``cap_bytes`` at once.

        One that was not closed is checked; if it is damaged, what can be read of it and what ``mend`` says
        instead of the rest are in a new epoch, and ``recovery`` tells of it.
        Raises LogUnusable, or HostIdChanged if another host wrote it.
        """
        return cls(open_log(folder, host_id, cap_bytes, platter, mend), cap_bytes, mend)

    @property
    def epoch(self) -> bytes:
        """Another after ``begin_epoch``, and after a ``reopen`` that found damage."""
        return self._opened.epoch

    @property
    def recovery(self) -> Recovery | None:
        """What became of the log before, if this process has begun one anew because of damage, or has met some then."""
        return self._opened.recovery

    def close(self) -> None:
        """Waits for those who are reading; who asks for anything afterwards hears LogBroken."""
        with self._gate.shut():
            self._opened.close(doubt=self._in_doubt)

    def reopen(self) -> None:
        """After LogBroken, when nobody knows what the last commit came to: closes and opens the file again.

        If a frame did not verify, the file is checked, and begun anew if it is damaged: see ``open``.
        What ``stat`` says from then on is what is there. Raises LogBroken if it cannot be opened; then only
        another ``reopen`` helps.
        """
        self._again(lambda closed: open_again(closed, self._cap_bytes, self._in_doubt, self._mend))
        self._in_doubt = False

    def begin_epoch(self, reason: str) -> None:
        """What is not acknowledged goes on in a new epoch, its payloads unchanged; the log as it is goes to quarantine.

        For a log that another has gone on with (``fork``). What turns out to be damaged is mended, and told by
        ``recovery``. Raises LogBroken, as ``reopen`` does.
        """
        self._again(lambda closed: open_next(closed, self._cap_bytes, reason, self._mend))
        self._in_doubt = False

    def _again(self, opening: Callable[[OpenLog], OpenLog]) -> None:
        with self._gate.shut():
            self._opened.env.close()
            try:
                self._take(opening(self._opened))
            except (LogUnusable, OSError) as error:
                raise LogBroken(f"{self._opened.folder}: the log cannot be opened again: {error}") from None

    def _take(self, opened: OpenLog) -> None:
        self._opened, self._tables = opened, opened.tables
        self._room = Room(opened.folder, opened.tables, self._cap_bytes)
        self._drops = Drops(opened.epoch, opened.tables)

    def append(self, entries: Sequence[Entry], checkpoint: bytes | None) -> int:
        """Writes a frame per entry and, unless None, the checkpoint: durable on return. The newest seq.

        At the cap the oldest acknowledged frames give way. Raises LogFull if
        that is not enough, or a checkpoint is too large even for what is kept free
        (nothing was written), LogBroken if the disk fails, ValueError for an entry
        beyond the limits of a frame.
        """
        try:
            return self._append(entries, checkpoint)
        except LogFull:
            self._settle(sum(len(entry.payload) for entry in entries) + len(checkpoint or b""))
        try:
            return self._append(entries, checkpoint)
        except LogFull:
            if entries or checkpoint is None:
                raise
            raise no_room_for_checkpoint(self._opened.folder, len(checkpoint), self._cap_bytes) from None

    def checkpoint(self) -> bytes | None:
        """The last one appended."""
        with self._reading() as txn:
            return self._tables.checkpoint(txn)

    def read(self, first_seq: int, max_frames: int, max_bytes: int) -> list[bytes]:
        """Frames from ``first_seq`` on as they were sealed; the first even if it alone exceeds ``max_bytes``.

        A Skip counts as one, and comes whole if ``first_seq`` is inside its range. Empty behind the
        newest. Raises LogBroken with its seq for a frame that does not verify, or is no longer held.
        """
        found: list[bytes] = []
        room_bytes, expected_seq = max_bytes, first_seq
        with self._reading() as txn:
            for seq, stored_hash, raw in self._tables.frames_from(txn, first_seq):
                if len(found) >= max_frames or (found and len(raw) > room_bytes):
                    break
                expected_seq = self._verify(seq, expected_seq, stored_hash, raw) + 1
                found.append(raw)
                room_bytes -= len(raw)
        return found

    def head_hash(self, seq: int) -> bytes | None:
        """Of the frame at ``seq``, also where it was trimmed last; the genesis hash at 0; else None."""
        with self._reading() as txn:
            mark = self._tables.mark(txn, self._tables.state(txn), seq)
            return mark.hash if mark else None

    def place(self, seq: int) -> Place:
        """What the log knows of the frame at ``seq``, whoever says that it has it."""
        with self._reading() as txn:
            state = self._tables.state(txn)
            mark = self._tables.mark(txn, state, seq)
            if mark is not None:
                return Place(mark.hash, seq)
            skip_seq = self._tables.first_of(txn, seq) if seq > state.trimmed.seq else None
            return Place(None, state.trimmed.seq if seq < state.trimmed.seq else (skip_seq or seq + 1) - 1)

    def trimmed_skip(self, first_seq: int, previous_hash: bytes) -> bytes:
        """The frame that says of everything from ``first_seq`` to what was trimmed last that it is not here any more.

        For a ledger that was restored from before that. It is said and not kept.
        """
        with self._reading() as txn:
            last = self._tables.state(txn).trimmed
        return make_skip(self.epoch, last.seq, previous_hash, Skip(first_seq, last.hash, SkipReason.TRIMMED)).to_bytes()

    def acknowledge(self, through_seq: int, now_wall_ns: int, epoch: bytes | None = None) -> bool:
        """The collector has everything through this seq, durably. What it has said before changes nothing.

        Nor does what it says of another ``epoch`` than the log's own; None: of this one. Whether it was news.
        Raises ValueError for a frame that was never written.
        """
        if self._is_another(epoch):
            return False
        with self._writing() as txn:
            state = self._tables.state(txn)
            if through_seq <= state.acked.seq:
                return False
            now = self._acknowledged(txn, state, through_seq, now_wall_ns)
            self._tables.put_state(txn, now)
            return now.acked.seq > state.acked.seq

    def append_over(
        self, entries: Sequence[Entry], judge: Callable[[Sequence[bytes]], tuple[Iterable[Lost], bytes]]
    ) -> int:
        """As ``append``, but the oldest unacknowledged frames give way to one Skip. The newest seq.

        ``judge`` is shown the frames that go, and says what time was in them and the checkpoint that
        remembers it; it may be asked again, about more of them, and only what it says last is written.
        Raises LogFull if not even all of them are enough (nothing was written), else as ``append``.
        """
        needed_bytes = sum(len(entry.payload) for entry in entries)
        while True:
            with self._reading() as txn:
                # Only this thread writes, so what is picked is still there in the transaction below.
                drop = self._drops.pick(txn, self._tables.state(txn), needed_bytes)
            lost, checkpoint = judge(drop.frames)
            try:
                with self._writing() as txn:
                    self._drops.carry_out(txn, drop, lost)
                    return self._put(txn, self._tables.state(txn), entries, checkpoint)
            except LogFull:
                if drop.is_all:
                    raise
                needed_bytes = 2 * needed_bytes + drop.size_bytes

    def has_room_to_spare(self) -> bool:
        """Whether what is only told late may be written: not while the collector is away and this log is full.

        What retention has dropped must have been acknowledged as that, and there must be frames to
        trim, or an eighth of the cap free: else what is told late would push out what is kept.
        """
        with self._reading() as txn:
            state = self._tables.state(txn)
            if self._drops.oldest_is_dropped(txn, state):
                return False
            used_bytes, limit_bytes = self._tables.used_bytes(txn), self._room.limit_bytes
            return state.trimmed.seq < state.acked.seq or used_bytes < limit_bytes - limit_bytes // 8

    def take_back(self, through_seq: int, epoch: bytes | None = None) -> None:
        """The collector has lost what it had acknowledged beyond this seq: those frames must be said again.

        A ledger restored from a backup is filled up again from here. Of another ``epoch`` it changes
        nothing. Raises ValueError if they are not held any more.
        """
        if self._is_another(epoch):
            return
        with self._writing() as txn:
            state = self._tables.state(txn)
            mark = self._tables.mark(txn, state, through_seq)
            if mark is None or through_seq > state.acked.seq:
                raise ValueError(f"cannot go back to frame {through_seq}: {state.acked.seq} is acknowledged")
            self._tables.forget_acks(txn, beyond_seq=through_seq)
            self._tables.put_state(txn, state.with_acked(mark))

    def bury(self, seq: int, reason: str, now_wall_ns: int, epoch: bytes | None = None) -> Buried:
        """The collector has put a tombstone in this frame's place: it counts as acknowledged, and is kept aside.

        Not where there is no room for it. Tombstones come in order, and again with each new stream: one that
        was known, or is of another ``epoch``, writes nothing.
        """
        if self._is_another(epoch):
            return Buried.KNOWN
        with self._writing() as txn:
            state, buried = self._tables.state(txn), Buried.AGAIN
            if seq <= state.rejected_seq and seq <= state.acked.seq:
                return Buried.KNOWN
            if seq > state.acked.seq:
                state = self._acknowledged(txn, state, seq, now_wall_ns)
            if seq > state.rejected_seq:
                buried = self._room.put_aside(txn, seq, reason, now_wall_ns)
                state = state.with_rejected(seq)
            self._tables.put_state(txn, state)
            return buried

    def trim(self, keep_after_wall_ns: int) -> int:
        """Deletes the frames that were acknowledged before this instant, and says how many.

        Where the file has no room even for that, what is left of it waits for the next call.
        """
        self._forget_dead_readers()
        with self._reading() as txn:
            due = [seq for seq, wall_ns in self._tables.acks(txn) if wall_ns < keep_after_wall_ns]
            first = self._tables.state(txn).trimmed.seq
            acked = self._tables.state(txn).acked.seq
        # Acknowledgements come in order, whatever the wall clock said. A damaged note must not delete more.
        through_seq = min(max(due, default=0), acked)
        trimmed = first
        with suppress(LogFull):
            # In steps: one huge transaction would need room for all the pages it touches.
            while trimmed < through_seq:
                trimmed = self._trim_through(min(trimmed + _TRIM_AT_ONCE, through_seq))
        return trimmed - first

    def stat(self) -> LogStat:
        with self._reading() as txn:
            return stat_of(self._tables.state(txn), self._tables.used_bytes(txn), self._cap_bytes)

    def _is_another(self, epoch: bytes | None) -> bool:
        """In the writer's thread, where no new one can begin meanwhile."""
        return epoch is not None and epoch != self.epoch

    def _append(self, entries: Sequence[Entry], checkpoint: bytes | None) -> int:
        with self._writing() as txn:
            return self._put(txn, self._tables.state(txn), entries, checkpoint)

    def _put(self, txn: Txn, state: LogState, entries: Sequence[Entry], checkpoint: bytes | None) -> int:
        head = state.head
        for entry in entries:
            frame = make_frame(self.epoch, head.seq + 1, head.hash, entry.record_count, entry.payload)
            head = self._tables.put_frame(txn, frame, head)
        if checkpoint is not None:
            self._tables.put_checkpoint(txn, checkpoint)
        state = state.with_head(head)
        # A checkpoint replaces the one before: it may use the reserve, so that a full log can still say so.
        self._tables.put_state(txn, self._room.make(txn, state) if entries else state)
        return head.seq

    def _trim_through(self, seq: int) -> int:
        """To the end of the frame or Skip that ``seq`` is in."""
        with self._writing() as txn:
            state = self._tables.state(txn)
            seq = min(self._tables.end_of(txn, seq) or seq, state.acked.seq)
            self._tables.put_state(txn, self._room.delete_through(txn, state, seq))
        return seq

    def _forget_dead_readers(self) -> None:
        """One that was killed while it looked must not hold pages for ever."""
        try:
            self._opened.env.reader_check()
        except lmdb.Error as error:
            raise LogBroken(f"{self._opened.folder}: the log cannot be read: {error}") from None

    def _settle(self, needed_bytes: int) -> None:
        """Gives LMDB pages it can use: what one transaction frees, only the second after it may take."""
        self._forget_dead_readers()
        with self._writing() as txn:
            state = self._tables.state(txn)
            goal_bytes = self._tables.used_bytes(txn) - 2 * needed_bytes
            while state.trimmed.seq < state.acked.seq and self._tables.used_bytes(txn) > goal_bytes:
                state = self._room.delete_oldest(txn, state)
            self._tables.put_state(txn, state)
        with self._writing() as txn:
            self._tables.put_state(txn, self._tables.state(txn))

    def _acknowledged(self, txn: Txn, state: LogState, through_seq: int, now_wall_ns: int) -> LogState:
        if through_seq > state.head.seq:
            raise ValueError(f"frame {through_seq} was acknowledged, but {state.head.seq} is the newest")
        # Inside a Skip: the frame was on its way when it was dropped, and the Skip as a whole is not there yet.
        held_seq = self._tables.held_through(txn, through_seq) or 0
        mark = self._tables.mark(txn, state, held_seq) if held_seq > state.acked.seq else None
        if mark is None:
            return state
        self._tables.note_ack(txn, held_seq, now_wall_ns)
        return state.with_acked(mark)

    def _verify(self, seq: int, expected_seq: int, stored_hash: bytes, raw: bytes) -> int:
        try:
            first_seq = verify(seq, stored_hash, raw, self.epoch)
        except DamagedFrame as error:
            raise LogBroken(f"{self._opened.folder}: {error}", seq) from None
        if not first_seq <= expected_seq <= seq:
            raise LogBroken(f"{self._opened.folder}: frame {expected_seq} is not held", expected_seq)
        return seq

    @contextmanager
    def _reading(self) -> Generator[Txn]:
        try:
            with self._gate.passing(), self._doubting(), self._opened.env.begin() as txn:
                yield txn
        except (lmdb.Error, DamagedCheckpoint, DamagedFrame) as error:
            raise LogBroken(f"{self._opened.folder}: the log cannot be read: {error}") from None

    @contextmanager
    def _doubting(self) -> Generator[None]:
        """Notes damage, whoever meets it. Those who find it in a frame, or a frame missing, say LogBroken."""
        try:
            yield
        except (LogBroken, *_DAMAGE):
            self._in_doubt = True
            raise

    @contextmanager
    def _writing(self) -> Generator[Txn]:
        try:
            with self._doubting(), self._opened.env.begin(write=True) as txn:
                yield txn
        except lmdb.MapFullError:
            raise full(self._opened.folder, self._cap_bytes) from None
        except (lmdb.Error, DamagedCheckpoint, DamagedFrame) as error:
            raise LogBroken(f"{self._opened.folder}: the log cannot be written: {error}") from None
