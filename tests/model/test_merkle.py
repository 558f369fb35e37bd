"""One hash stands for all leaves; a proof shows that one of them is there, and nothing else passes for one."""

from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gputally.model.merkle import EMPTY_ROOT, Inclusion, NotSorted, Root, Tree, is_included, leaf_hash, root_of

leaf_lists = st.lists(st.binary(max_size=8), max_size=40).map(sorted)


def by_definition(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01" + by_definition(leaves[:split]) + by_definition(leaves[split:])).digest()


def prove_all(leaves: list[bytes]) -> tuple[Root, dict[bytes, Inclusion]]:
    tree = Tree()
    for leaf in leaves:
        tree.add(leaf, wanted=True)
    root = tree.finish()
    return root, dict(tree.inclusions())


@given(leaf_lists)
def test_the_root_is_that_of_the_standard(leaves: list[bytes]) -> None:
    assert root_of(leaves) == Root(by_definition(leaves), len(leaves))


@given(leaf_lists)
def test_every_leaf_is_shown_to_be_there(leaves: list[bytes]) -> None:
    root, proofs = prove_all(leaves)
    assert set(proofs) == set(leaves)
    for leaf, proof in proofs.items():
        assert is_included(leaf, proof, root) and leaves[proof.index] == leaf


@given(leaf_lists.filter(bool), st.data())
def test_nothing_else_is(leaves: list[bytes], data: st.DataObject) -> None:
    root, proofs = prove_all(leaves)
    leaf = data.draw(st.sampled_from(leaves))
    proof = proofs[leaf]
    other = data.draw(st.binary(max_size=8).filter(lambda each: each not in leaves))
    assert not is_included(other, proof, root)
    assert not is_included(leaf, replace(proof, path=(*proof.path, bytes(32))), root)
    assert not is_included(leaf, proof, Root(root.hash, root.leaves + len(leaves)))
    wrong = data.draw(st.integers(-2, 50).filter(lambda index: index != proof.index))
    assert not is_included(leaf, replace(proof, index=wrong), root) or leaves[wrong] == leaf
    for at in range(len(proof.path)):
        flipped = bytes([proof.path[at][0] ^ 1]) + proof.path[at][1:]
        assert not is_included(leaf, replace(proof, path=(*proof.path[:at], flipped, *proof.path[at + 1 :])), root)


def test_a_node_cannot_pass_for_a_leaf() -> None:
    root, _ = prove_all([b"a", b"b"])
    assert not is_included(leaf_hash(b"a") + leaf_hash(b"b"), Inclusion(0, ()), replace(root, leaves=1))


def test_of_nothing_there_is_a_root_and_no_proof() -> None:
    assert root_of([]) == Root(EMPTY_ROOT, 0) and not is_included(b"", Inclusion(0, ()), Root(EMPTY_ROOT, 0))


def test_leaves_out_of_order_are_refused() -> None:
    with pytest.raises(NotSorted, match="leaf 1"):
        root_of([b"b", b"a"])
