"""The data file of a log, read without LMDB: for a file that may be damaged anywhere, LMDB ends the process.

Nothing is mapped into memory (a page behind the end of a file is a SIGBUS there), each page is visited once,
and what cannot be what it should be is passed over and counted. The format is that of LMDB 0.9 on 64-bit hosts,
from mdb.c: MDB_meta, MDB_page, MDB_node, MDB_db; integers are in the host's own byte order.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

MAGIC: Final = 0xBEEFC0DE
_VERSION: Final = 1
_PAGE_SIZES: Final = (4096, 8192, 16384, 32768, 2048, 1024, 512)
_PAGE_HEAD: Final = struct.Struct("=QHHHH")
"""mp_pgno, mp_pad, mp_flags, mp_lower, mp_upper; of an overflow page the last two are one count of pages."""
_META: Final = struct.Struct("=IIQQ48s48sQQ")
"""mm_magic, mm_version, mm_address, mm_mapsize, mm_dbs of free pages and of names, mm_last_pg, mm_txnid"""
_DB: Final = struct.Struct("=IHHQQQQQ")
"""md_pad, md_flags, md_depth, branch, leaf and overflow pages, entries, root"""
_NODE: Final = struct.Struct("=HHHH")
"""mn_lo, mn_hi, mn_flags, mn_ksize"""
_U64: Final = struct.Struct("=Q")
_BRANCH, _LEAF, _OVERFLOW, _IS_META = 1, 2, 4, 8
_BIG, _SUBTREE, _DUPLICATES = 1, 2, 4
_DEEPEST: Final = 32
_CHUNK_BYTES: Final = 1 << 18


class Meta(NamedTuple):
    """What one commit left: where its tables begin."""

    txn: int
    names_root: int
    page_bytes: int
    last_page: int


class Table(NamedTuple):
    """Where a table begins, and how many pages it says that it has."""

    root: int
    pages: int


class Item(NamedTuple):
    """A key, and where in the file its value lies; the value itself where it was read with its page."""

    key: bytes
    offset: int
    length: int
    is_table: bool
    value: bytes | None = None


@dataclass(slots=True)
class DataFile:
    """An open file; ``passed_over`` counts pages that were not what they should be, or could not be read."""

    fd: int
    size_bytes: int
    passed_over: int = 0

    def read(self, offset: int, length: int) -> bytes:
        """What there is of it. Sectors that cannot be read are zeros: nothing with a hash fits them."""
        try:
            return os.pread(self.fd, max(min(length, self.size_bytes - offset), 0), offset)
        except OSError:
            self.passed_over += 1
            return b"".join(
                self._sector(at, min(512, offset + length - at)) for at in range(offset, offset + length, 512)
            )

    def metas(self) -> list[Meta]:
        """Of the newest commit, and the one before it; those that can be believed."""
        first = self._meta(0)
        sizes = (first.page_bytes,) if first else _PAGE_SIZES
        seconds = (self._meta(size) for size in sizes)
        second = next(
            (meta for meta, size in zip(seconds, sizes, strict=True) if meta and meta.page_bytes == size), None
        )
        return sorted((meta for meta in (first, second) if meta), reverse=True)

    def tables(self, meta: Meta) -> dict[bytes, Table]:
        """The named tables."""
        roots: dict[bytes, Table] = {}
        for item in self.items(meta, meta.names_root):
            if item.is_table and item.length == _DB.size:
                raw = self.read(item.offset, item.length)
                if len(raw) == _DB.size:
                    _, _, _, branches, leaves, overflows, _, root = _DB.unpack(raw)
                    roots[item.key] = Table(root, branches + leaves + overflows)
        return roots

    def items(self, meta: Meta, root: int, seen: set[int] | None = None) -> Iterator[Item]:
        """Those of one table, in order of their keys, as far as its pages can be believed; none of pages ``seen``."""
        seen = set() if seen is None else seen
        above: list[Iterator[int]] = [iter((root,))]
        while above:
            page = next(above[-1], None)
            if page is None:
                above.pop()
            elif page not in seen and len(above) <= _DEEPEST:
                seen.add(page)
                raw, flags = self._page(meta, page)
                if flags & _BRANCH:
                    above.append(iter(_children(raw)))
                elif flags & _LEAF:
                    yield from self._leaf(meta, page, raw)

    def find(self, pattern: bytes, end_bytes: int) -> Iterator[int]:
        """Every place of ``pattern`` before ``end_bytes``, whatever the pages around it are worth."""
        offset, kept = 0, b""
        while offset < min(end_bytes, self.size_bytes):
            chunk = kept + self.read(offset, _CHUNK_BYTES)
            start, place = offset - len(kept), chunk.find(pattern)
            while place >= 0:
                yield start + place
                place = chunk.find(pattern, place + 1)
            kept = chunk[-(len(pattern) - 1) :]
            offset += _CHUNK_BYTES

    def _meta(self, offset: int) -> Meta | None:
        raw = self.read(offset, _PAGE_HEAD.size + _META.size)
        if len(raw) < _PAGE_HEAD.size + _META.size or not _PAGE_HEAD.unpack_from(raw)[2] & _IS_META:
            return None
        magic, version, _, _, free, names, last_page, txn = _META.unpack_from(raw, _PAGE_HEAD.size)
        page_bytes = _DB.unpack(free)[0]
        if (magic, version) != (MAGIC, _VERSION) or page_bytes not in _PAGE_SIZES:
            return None
        return Meta(txn, _DB.unpack(names)[7], page_bytes, last_page)

    def _page(self, meta: Meta, page: int) -> tuple[bytes, int]:
        """Its bytes and flags; the flags are 0 if it cannot be a page of a tree."""
        raw = self.read(page * meta.page_bytes, meta.page_bytes) if 2 <= page <= meta.last_page else b""
        if len(raw) == meta.page_bytes:
            number, _, flags, lower, upper = _PAGE_HEAD.unpack_from(raw)
            if number == page and flags in (_BRANCH, _LEAF) and _PAGE_HEAD.size <= lower <= upper <= len(raw):
                return raw, flags
        self.passed_over += 1
        return b"", 0

    def _leaf(self, meta: Meta, page: int, raw: bytes) -> Iterator[Item]:
        for at in _nodes(raw):
            low, high, flags, key_length = _NODE.unpack_from(raw, at)
            start = at + _NODE.size + key_length
            length = low | high << 16
            if flags & _BIG and start + _U64.size <= len(raw):
                first = _U64.unpack_from(raw, start)[0]
                if first * meta.page_bytes < self.size_bytes:
                    offset = first * meta.page_bytes + _PAGE_HEAD.size
                    yield Item(raw[at + _NODE.size : start], offset, length, is_table=False)
            elif not flags & (_BIG | _DUPLICATES) and start + length <= len(raw):
                is_table = bool(flags & _SUBTREE)
                value = raw[start : start + length]
                yield Item(raw[at + _NODE.size : start], page * meta.page_bytes + start, length, is_table, value)

    def _sector(self, offset: int, length: int) -> bytes:
        try:
            return os.pread(self.fd, length, offset)
        except OSError:
            return bytes(length)


def _nodes(raw: bytes) -> list[int]:
    """Where the nodes of a page begin, those that fit it."""
    lower = _PAGE_HEAD.unpack_from(raw)[3]
    count = (lower - _PAGE_HEAD.size) // 2
    places = struct.unpack_from(f"={count}H", raw, _PAGE_HEAD.size)
    return [place for place in places if lower <= place <= len(raw) - _NODE.size]


def _children(raw: bytes) -> list[int]:
    """A branch's node holds a page number of 48 bits where a leaf's has length and flags."""
    parts = (_NODE.unpack_from(raw, at) for at in _nodes(raw))
    return [low | high << 16 | flags << 32 for low, high, flags, _ in parts]
