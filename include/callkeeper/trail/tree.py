"""The tree over an epoch's leaves, RFC 6962: its root from O(log n) of state.

A frontier is the roots of the full subtrees that the leaves make up, the largest first: one for each bit that is set in their number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

HASH_BYTES = 32


def node(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node (RFC 6962, section 2.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def extend(frontier: Sequence[bytes], size: int, leaves: Iterable[bytes]) -> tuple[list[bytes], int]:
    """The frontier and the size with those leaf hashes added."""
    roots = list(frontier)
    for leaf in leaves:
        grown, bits = leaf, size
        while bits & 1:
            grown = node(roots.pop(), grown)
            bits >>= 1
        roots.append(grown)
        size += 1
    return roots, size


def root(frontier: Sequence[bytes]) -> bytes:
    """The tree's root; the empty tree's is the hash of nothing."""
    if not frontier:
        return hashlib.sha256().digest()
    *left, top = frontier
    for subtree in reversed(left):
        top = node(subtree, top)
    return top


def split(hashes: bytes) -> Iterator[bytes]:
    """Hashes that were put one behind the other."""
    for start in range(0, len(hashes), HASH_BYTES):
        yield hashes[start : start + HASH_BYTES]
