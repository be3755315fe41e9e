"""Self masks and signed pairwise masks (Bonawitz et al. 2017, section 4): what hides a vector, and cancels in the sum.

Of two clients that agreed on a pairwise seed, the one with the smaller id adds its stream and the other subtracts it. A
vector is a list of lanes arrays, over which each seed's stream is laid in order (SPEC section 5).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .prg import add_streams
from .residues import Residues


def mask(
    vectors: Sequence[Residues],
    *,
    client_id: int,
    self_mask_seed: bytes,
    pairwise_seeds: Mapping[int, bytes],
    threads: int | None = None,
) -> None:
    """Mask a client's vectors in place; run by the client.

    Args:
        vectors: lanes of the encoded input; reduced later, when they are packed.
        client_id: whose vectors they are.
        self_mask_seed: the 32-byte seed of the stream that only this client knows.
        pairwise_seeds: peer id -> the 32-byte seed agreed with that peer.
        threads: as in `prg.add_streams`.

    Security: every seed is used for one session and one purpose. The same masks over two inputs reveal their
    difference.
    """
    add = [self_mask_seed]
    subtract: list[bytes] = []
    for peer_id, seed in pairwise_seeds.items():
        (add if client_id < peer_id else subtract).append(seed)
    add_streams(vectors, add=add, subtract=subtract, threads=threads)


def unmask(
    sums: Sequence[Residues],
    *,
    self_mask_seeds: Iterable[bytes],
    orphaned_seeds: Iterable[tuple[int, int, bytes]],
    threads: int | None = None,
) -> None:
    """Take from the sums, in place, the masks that did not cancel; run by the server.

    Args:
        sums: the lanes of the sum over all survivors.
        self_mask_seeds: the self-mask seed of every survivor.
        orphaned_seeds: (survivor, dropped, seed) for each pair of which only the survivor's vector is in the sum.
        threads: as in `prg.add_streams`.
    """
    add: list[bytes] = []
    subtract = list(self_mask_seeds)
    for survivor, dropped, seed in orphaned_seeds:
        (subtract if survivor < dropped else add).append(seed)
    add_streams(sums, add=add, subtract=subtract, threads=threads)
