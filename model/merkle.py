"""Merkle trees over sorted leaves: one hash stands for all of them, and a few show that one of them is there.

The tree is that of RFC 6962, section 2.1 (SHA-256): a leaf is hashed behind a byte 0, a node behind a byte 1, so that
neither can pass for the other; of n leaves the left subtree has the largest power of two below n. Memory grows with
the tree's height, not with the leaves.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

_LEAF, _NODE = b"\x00", b"\x01"
EMPTY_ROOT: Final = sha256(b"").digest()
"""Of a tree without leaves."""
MOST_LEAVES: Final = 2**62


class NotSorted(ValueError):
    """A leaf is smaller than the one before it: the root would depend on how they came."""


@dataclass(frozen=True, slots=True)
class Root:
    hash: bytes
    leaves: int


@dataclass(frozen=True, slots=True)
class Inclusion:
    """That a leaf is the one at ``index`` (from 0): the hashes beside its way to the root, the lowest first."""

    index: int
    path: tuple[bytes, ...]


@dataclass(slots=True)
class _Subtree:
    """A whole subtree of 2**height leaves, and the ways that have begun in it."""

    height: int
    hash: bytes
    ways: list[list[bytes]] = field(default_factory=list[list[bytes]])


class Tree:
    """Takes leaves in order."""

    def __init__(self) -> None:
        self._ways: dict[bytes, tuple[int, list[bytes]]] = {}
        self._subtrees: list[_Subtree] = []
        self._last = b""
        self.leaves = 0

    def add(self, leaf: bytes, *, wanted: bool = False) -> None:
        """``wanted``: its inclusion will be asked for. Raises NotSorted."""
        if leaf < self._last:
            raise NotSorted(f"leaf {self.leaves} is smaller than the one before it")
        made = _Subtree(0, leaf_hash(leaf))
        if wanted and leaf not in self._ways:
            way: list[bytes] = []
            self._ways[leaf] = self.leaves, way
            made.ways.append(way)
        while self._subtrees and self._subtrees[-1].height == made.height:
            made = _joined(self._subtrees.pop(), made)
        self._subtrees.append(made)
        self._last = leaf
        self.leaves += 1

    def finish(self) -> Root:
        """To be called once, when all leaves are there."""
        while len(self._subtrees) > 1:
            right = self._subtrees.pop()
            self._subtrees.append(_joined(self._subtrees.pop(), right))
        return Root(self._subtrees[0].hash if self._subtrees else EMPTY_ROOT, self.leaves)

    def inclusions(self) -> Mapping[bytes, Inclusion]:
        """Of the wanted leaves that are there; after ``finish``."""
        return {leaf: Inclusion(index, tuple(way)) for leaf, (index, way) in self._ways.items()}


def root_of(leaves: Iterable[bytes]) -> Root:
    """Raises NotSorted."""
    tree = Tree()
    for leaf in leaves:
        tree.add(leaf)
    return tree.finish()


def is_included(leaf: bytes, inclusion: Inclusion, root: Root) -> bool:
    """Whether the proof leads from the leaf to the root (RFC 9162, 2.1.3.2); False for whatever is no proof."""
    index, last = inclusion.index, root.leaves - 1
    if not 0 <= index <= last < MOST_LEAVES:
        return False
    here = leaf_hash(leaf)
    for beside in inclusion.path:
        if last == 0:
            return False
        if index & 1 or index == last:
            here = node_hash(beside, here)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            here = node_hash(here, beside)
        index, last = index >> 1, last >> 1
    return last == 0 and here == root.hash


def leaf_hash(leaf: bytes) -> bytes:
    return sha256(_LEAF + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(_NODE + left + right).digest()


def _joined(left: _Subtree, right: _Subtree) -> _Subtree:
    for way in left.ways:
        way.append(right.hash)
    for way in right.ways:
        way.append(left.hash)
    height = max(left.height, right.height) + 1
    return _Subtree(height, node_hash(left.hash, right.hash), [*left.ways, *right.ways])
