"""From the shares that survivors gave to the masks that did not cancel: the server's last and costly step.

Every reconstructed secret is held against what its owner advertised (a public key, a commitment), so a wrong share can
spoil nothing unseen. The common case takes `threshold` shares and one check. Where that fails, each share is held
against what its dealer committed to: who gave another one lies, and if the others do not make the secret either, the
dealer has cheated (SPEC section 9). No secret is reconstructed more than twice, whoever lies.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from secagg import masking, shamir
from secagg.derivation import HASH_BYTES
from secagg.errors import InconsistentShares
from secagg.key_agreement import KeyPair
from secagg.prg import cpu_count
from secagg.residues import Residues

from .. import derivations
from ..messages import SECRET_BYTES, SHARE_BYTES, AdvertiseKeys, records

Commitments = Callable[[int], Mapping[int, bytes]]
"""Takes a dealer: holder -> what its two shares (of the seed, of the key) are committed to by, side by side"""


@dataclass(frozen=True)
class Recovered:
    """The secrets that were reconstructed, and who gave wrong shares of them."""

    self_mask_seeds: dict[int, bytes]
    mask_keys: dict[int, KeyPair]
    liars: frozenset[int]

    def __repr__(self) -> str:  # seeds and keys are secret
        return f"Recovered({len(self.self_mask_seeds)} seeds, {len(self.mask_keys)} keys, liars={set(self.liars)})"


class Given:
    """The shares that holders gave, by owner: records that came by holder are wanted by owner, a million in all.

    Args:
        responses: holders, each with the owners of its shares, and the shares side by side in the same order.
    """

    def __init__(self, responses: Iterable[tuple[int, Sequence[int], bytes]]) -> None:
        holders, owners, shares = zip(*sorted(responses, key=operator.itemgetter(0)), strict=True)
        counts = np.fromiter(map(len, owners), np.intp, len(owners))
        of = np.fromiter(itertools.chain.from_iterable(owners), np.int32, counts.sum())
        if list(map(len, shares)) != (SHARE_BYTES * counts).tolist():  # or one's would be taken for the next one's
            raise ValueError("a holder gave more shares than it holds, or fewer")
        order = of.argsort(kind="stable")  # by owner, and by holder for each
        self._owners = of[order]
        self._holders = np.repeat(np.array(holders, dtype=np.int32), counts)[order]
        self._shares = np.frombuffer(b"".join(shares), np.uint8).reshape(of.size, SHARE_BYTES).take(order, axis=0)

    def of(self, owner: int) -> dict[int, bytes]:
        """Return holder -> its share of an owner's secret, ascending by holder."""
        first, end = np.searchsorted(self._owners, np.array([owner, owner + 1], dtype=np.int32))
        return {
            holder: share.tobytes()
            for holder, share in zip(self._holders[first:end].tolist(), self._shares[first:end], strict=True)
        }

    def reconstruct(self, owners: Sequence[int], threshold: int) -> dict[int, bytes | None]:
        """Reconstruct owners' secrets, each from the shares of its lowest holders; None where these make no secret.

        Raises:
            InconsistentShares: fewer than the threshold hold shares of one owner's.
        """
        firsts, ends = np.searchsorted(self._owners, np.array([owners, np.add(owners, 1)], dtype=np.int32))
        if (ends - firsts < threshold).any():
            raise InconsistentShares(f"{threshold} shares of each secret are needed, but of one there are fewer")
        chosen = firsts[:, np.newaxis] + np.arange(threshold)
        return _reconstruct(owners, self._holders[chosen], self._shares[chosen])


def recover(
    session_id: bytes,
    advertised: Mapping[int, AdvertiseKeys],
    commitments: Commitments,
    given: Given,
    *,
    survivors: Iterable[int],
    dropped: Iterable[int],
    threshold: int,
) -> Recovered:
    """Reconstruct the self-mask seed of each survivor and the mask key of each dropped client.

    Args:
        session_id: of this session.
        advertised: everyone's keys.
        commitments: to all shares; asked for where a share is wrong.
        given: the shares, at least `threshold` of each secret.
        survivors: whose seeds are wanted.
        dropped: whose keys are wanted.
        threshold: shares that make a secret.

    Raises:
        InconsistentShares: a secret cannot be reconstructed. `culprits` has the holders that gave other shares than
            were committed to, if too few others are left; if not, the owners whose shares make another secret than
            they advertised.
    """
    mask_keys: dict[int, KeyPair] = {}

    def is_seed(owner: int, secret: bytes) -> bool:
        commitment = derivations.self_mask_commitment(session_id, owner, secret)
        return commitment == advertised[owner].self_mask_commitment

    def is_key(owner: int, secret: bytes) -> bool:
        mask_keys[owner] = KeyPair(secret)
        return mask_keys[owner].public_bytes == advertised[owner].mask_public_key

    def fit(kind: int, owner: int) -> dict[int, bytes]:
        committed, shares = commitments(owner), given.of(owner)
        fits = {
            holder: share
            for holder, share in shares.items()
            if derivations.share_commitment(kind, session_id, owner, holder, share)
            == records(committed[holder], HASH_BYTES)[kind]
        }
        liars.update(shares.keys() - fits.keys())
        return fits

    kinds = ((sorted(survivors), is_seed), (sorted(dropped), is_key))
    secrets, fitting = [], []
    liars: set[int] = set()
    for kind, (owners, verify) in enumerate(kinds):
        found = given.reconstruct(owners, threshold)
        good = {owner: secret for owner, secret in found.items() if secret is not None and verify(owner, secret)}
        secrets.append(good)
        fitting.append({owner: fit(kind, owner) for owner in owners if owner not in good})
    if any(len(fits) < threshold for left in fitting for fits in left.values()):
        raise InconsistentShares(
            f"too few shares are what their dealers committed to: {threshold} of each secret are needed", culprits=liars
        )
    cheats: set[int] = set()
    for good, left, (_, verify) in zip(secrets, fitting, kinds, strict=True):
        # Who never lied comes first: then owners have their holders in common, and their coefficients, too.
        chosen = {owner: _lowest(fits, threshold, last=liars) for owner, fits in left.items()}
        again = _reconstruct_from(chosen, threshold)
        good |= {owner: secret for owner, secret in again.items() if secret is not None and verify(owner, secret)}
        cheats |= again.keys() - good.keys()
    if cheats:
        raise InconsistentShares("the shares that it committed to make another secret than advertised", culprits=cheats)
    seeds, keys = secrets
    return Recovered(dict(sorted(seeds.items())), {owner: mask_keys[owner] for owner in sorted(keys)}, frozenset(liars))


def remove_masks(
    sums: Sequence[Residues],
    session_id: bytes,
    advertised: Mapping[int, AdvertiseKeys],
    recovered: Recovered,
    *,
    orphans: Mapping[int, Sequence[int]],
    threads: int | None = None,
) -> None:
    """Take the masks that did not cancel from the sums, in place.

    Args:
        sums: the running sums of the survivors' lanes.
        session_id: of this session.
        advertised: everyone's keys.
        recovered: the secrets.
        orphans: dropped client -> the survivors whose inputs hold a mask of the pair.
        threads: as many as there are processors when None.
    """

    def seeds_of(dropped: int) -> list[tuple[int, int, bytes]]:
        key = recovered.mask_keys[dropped]
        end = (dropped, key.public_bytes)
        seeds = []
        for survivor in orphans[dropped]:
            survivor_key = advertised[survivor].mask_public_key
            agreed = key.agree(survivor_key)
            seed = derivations.pairwise_mask_seed(agreed, session_id, end, (survivor, survivor_key))
            seeds.append((survivor, dropped, seed))
        return seeds

    with ThreadPoolExecutor(threads or cpu_count()) as pool:
        orphaned = list(itertools.chain.from_iterable(pool.map(seeds_of, orphans)))
    masking.unmask(
        sums,
        self_mask_seeds=[
            derivations.self_mask_stream_seed(session_id, owner, seed)
            for owner, seed in recovered.self_mask_seeds.items()
        ],
        orphaned_seeds=orphaned,
        threads=threads,
    )


def _lowest(shares: Mapping[int, bytes], threshold: int, last: Collection[int]) -> dict[int, bytes]:
    """Return the shares of so many holders: the lowest, but for some who come after all others."""
    holders = sorted(sorted(sorted(shares), key=last.__contains__)[:threshold])
    return {holder: shares[holder] for holder in holders}


def _reconstruct_from(shares: Mapping[int, Mapping[int, bytes]], threshold: int) -> dict[int, bytes | None]:
    """Reconstruct owners' secrets, each from the shares of as many holders as the threshold."""
    holders = np.array([list(held) for held in shares.values()], dtype=np.int32).reshape(-1, threshold)
    together = b"".join(itertools.chain.from_iterable(held.values() for held in shares.values()))
    table = np.frombuffer(together, np.uint8).reshape(-1, threshold, SHARE_BYTES)
    return _reconstruct(list(shares), holders, table)


def _reconstruct(
    owners: Sequence[int], holders: npt.NDArray[np.int32], shares: npt.NDArray[np.uint8]
) -> dict[int, bytes | None]:
    return dict(zip(owners, shamir.reconstruct_many(holders, shares, num_bytes=SECRET_BYTES), strict=True))
