"""From the shares that survivors gave to the masks that did not cancel: the server's last and costly step.

Every reconstructed secret is held against what its owner advertised (a public key, a commitment), so a wrong share can
spoil nothing unseen. The common case takes `threshold` shares and one check. Where that fails, each share is held
against what its dealer committed to: who gave another one lies, and if the others do not make the secret either, the
dealer has cheated (SPEC section 9). No secret is reconstructed more than twice, whoever lies.
"""

from __future__ import annotations

import itertools
import operator
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from secagg import masking, shamir
from secagg.derivation import HASH_BYTES
from secagg.errors import InconsistentShares
from secagg.key_agreement import KeyPair
from secagg.prg import cpu_count
from secagg.residues import Residues

from .. import derivations
from ..messages import SECRET_BYTES, SHARE_BYTES, AdvertiseKeys, records

Shares = Mapping[int, bytes]
"""holder id -> its share"""

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


def collect_shares(responses: Iterable[tuple[int, Iterable[int], bytes]]) -> dict[int, Shares]:
    """Turn holders, each with the owners of its shares in the order in which these lie there, into shares by owner.

    Each owner's come in the order of their holders.
    """
    shares: dict[int, dict[int, bytes]] = defaultdict(dict)
    for holder, owners, together in sorted(responses, key=operator.itemgetter(0)):
        for owner, share in zip(owners, records(together, SHARE_BYTES), strict=True):
            shares[owner][holder] = share
    return dict(shares)


def recover(
    session_id: bytes,
    advertised: Mapping[int, AdvertiseKeys],
    commitments: Commitments,
    *,
    seed_shares: Mapping[int, Shares],
    key_shares: Mapping[int, Shares],
    threshold: int,
) -> Recovered:
    """Reconstruct the self-mask seed of each survivor and the mask key of each dropped client.

    Args:
        session_id: of this session.
        advertised: everyone's keys.
        commitments: to all shares; asked for where a share is wrong.
        seed_shares: owner -> holder -> share, at least `threshold` of each owner's.
        key_shares: the same.
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

    def fit(kind: int, owner: int, shares: Shares) -> dict[int, bytes]:
        committed = commitments(owner)
        return {
            holder: share
            for holder, share in shares.items()
            if derivations.share_commitment(kind, session_id, owner, holder, share)
            == records(committed[holder], HASH_BYTES)[kind]
        }

    kinds = ((seed_shares, is_seed), (key_shares, is_key))
    secrets, fitting = [], []
    liars: set[int] = set()
    for kind, (shares, verify) in enumerate(kinds):
        found = _reconstruct_all({owner: _lowest(held, threshold) for owner, held in shares.items()})
        good = {owner: secret for owner, secret in found.items() if secret is not None and verify(owner, secret)}
        left = {owner: fit(kind, owner, shares[owner]) for owner in shares.keys() - good.keys()}
        liars.update(*(shares[owner].keys() - fits.keys() for owner, fits in left.items()))
        secrets.append(good)
        fitting.append(left)
    if any(len(fits) < threshold for left in fitting for fits in left.values()):
        raise InconsistentShares(
            f"too few shares are what their dealers committed to: {threshold} of each secret are needed", culprits=liars
        )
    cheats: set[int] = set()
    for good, left, (_, verify) in zip(secrets, fitting, kinds, strict=True):
        # Who never lied comes first: then owners have their holders in common, and are computed side by side.
        chosen = {owner: _lowest(fits, threshold, last=liars) for owner, fits in left.items()}
        again = _reconstruct_all(chosen)
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


def _lowest(shares: Shares, threshold: int, last: Collection[int] = ()) -> dict[int, bytes]:
    """Return the shares of so many holders: the lowest, but for some who come after all others."""
    holders = sorted(shares)
    if last:
        holders = sorted(sorted(holders, key=last.__contains__)[:threshold])
    return {holder: shares[holder] for holder in holders[:threshold]}


def _reconstruct_all(shares: Mapping[int, Shares]) -> dict[int, bytes | None]:
    """Reconstruct each owner's secret from the shares given, or to None where they do not make a byte string.

    Owners whose shares are held by the same clients are put side by side: their Lagrange coefficients are the same.
    """
    owners_by_holders: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for owner, held in shares.items():
        owners_by_holders[tuple(held)].append(owner)
    secrets: dict[int, bytes | None] = {}
    for holders, owners in owners_by_holders.items():
        table = [[shares[owner][holder] for owner in owners] for holder in holders]
        secrets.update(zip(owners, shamir.reconstruct_many(holders, table, num_bytes=SECRET_BYTES), strict=True))
    return secrets
