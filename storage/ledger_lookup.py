"""Finding one entry of the ledger's log by its stream and seq."""

import sqlite3
from typing import Final

from .ledger_batch import DamagedBatch, Packed, unpack
from .ledger_folder import LedgerBroken

_FIND: Final = "SELECT batch FROM run WHERE stream = ? AND last_seq >= ? ORDER BY last_seq LIMIT 1"


class Lookup:
    """Remembers what it unpacked last: who asks for one frame of a stream soon asks for the next."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._at = (0, 0)
        self._entries: dict[int, Packed] = {}

    def find(self, stream: int, seq: int) -> Packed | None:
        """None: nothing is there, or a Skip that ends later stands for it. Raises LedgerBroken, sqlite3.Error."""
        found = self._db.execute(_FIND, (stream, seq)).fetchone()
        if found is None:
            return None
        if self._at != (found[0], stream):
            self._entries = self._unpack(found[0], stream)
            self._at = (found[0], stream)
        return self._entries.get(seq)

    def _unpack(self, batch: int, stream: int) -> dict[int, Packed]:
        count, body = self._db.execute("SELECT count, body FROM log WHERE id = ?", (batch,)).fetchone()
        try:
            return {entry.seq: entry for entry in unpack(body, count, stream).values()}
        except DamagedBatch as error:
            raise LedgerBroken(f"the batch that ends with entry {batch} of the log is damaged: {error}") from None
