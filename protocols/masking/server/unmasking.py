"""From the shares that survivors gave to the masks that did not cancel: the server's last and costly step.

Every reconstructed secret is held against what its owner advertised (a public key, a commitment), so a wrong share can
spoil nothing unseen. The common case takes `threshold` shares and one check; where that fails, all shares are used and
errors are corrected and named: first as a code corrects them, then by trial, which the check makes possible (SPEC
section 9).
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from secagg import masking, shamir
from secagg.errors import InconsistentShares, ThresholdError
from secagg.key_agreement import KeyPair
from secagg.prg import cpu_count
from secagg.residues import Residues

from .. import derivations
from ..messages import SECRET_BYTES, AdvertiseKeys, UnmaskingShares

Shares = Mapping[int, bytes]
"""holder id -> its share"""

MAX_TRIALS = 1000
"""How many ways of leaving shares out are tried, where more are wrong than the code alone corrects."""


@dataclass(frozen=True)
class Recovered:
    """The secrets that were reconstructed, and who gave wrong shares of them."""

    self_mask_seeds: dict[int, bytes]
    mask_keys: dict[int, KeyPair]
    liars: frozenset[int]

    def __repr__(self) -> str:  # seeds and keys are secret
        return f"Recovered({len(self.self_mask_seeds)} seeds, {len(self.mask_keys)} keys, liars={set(self.liars)})"


def collect_shares(responses: Iterable[UnmaskingShares]) -> tuple[dict[int, Shares], dict[int, Shares]]:
    """Turn responses by holder into shares by owner: of self-mask seeds, and of mask keys."""
    seeds: dict[int, dict[int, bytes]] = defaultdict(dict)
    keys: dict[int, dict[int, bytes]] = defaultdict(dict)
    for response in responses:
        for owner, share in response.self_mask_shares.items():
            seeds[owner][response.sender] = share
        for owner, share in response.mask_key_shares.items():
            keys[owner][response.sender] = share
    return dict(seeds), dict(keys)


def recover(
    session_id: bytes,
    advertised: Mapping[int, AdvertiseKeys],
    *,
    seed_shares: Mapping[int, Shares],
    key_shares: Mapping[int, Shares],
    threshold: int,
) -> Recovered:
    """Reconstruct the self-mask seed of each survivor and the mask key of each dropped client.

    Raises:
        InconsistentShares: a secret cannot be reconstructed to what its owner advertised, or holders answered without
            their shares of it; `culprits` has the owner, whose dealt shares may be to blame as well as its holders.
    """
    liars: set[int] = set()

    def is_seed(owner: int, secret: bytes) -> bool:
        commitment = derivations.self_mask_commitment(session_id, owner, secret)
        return commitment == advertised[owner].self_mask_commitment

    mask_keys: dict[int, KeyPair] = {}

    def is_key(owner: int, secret: bytes) -> bool:
        mask_keys[owner] = KeyPair(secret)
        return mask_keys[owner].public_bytes == advertised[owner].mask_public_key

    seeds: dict[int, bytes] = {}
    for shares, verify, kept in ((seed_shares, is_seed, seeds), (key_shares, is_key, {})):
        for owner, secret in _reconstruct_all(shares, threshold).items():
            if secret is None or not verify(owner, secret):
                secret, wrong = _correct(owner, shares[owner], threshold, verify)  # noqa: PLW2901
                liars |= wrong
            kept[owner] = secret
    return Recovered(seeds, mask_keys, frozenset(liars))


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


def _reconstruct_all(shares: Mapping[int, Shares], threshold: int) -> dict[int, bytes | None]:
    """Reconstruct each owner's secret from `threshold` shares, or to None where they do not make a byte string.

    Owners whose shares are held by the same clients are put side by side: their Lagrange coefficients are the same.
    """
    owners_by_holders: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for owner, held in shares.items():
        if len(held) < threshold:
            # Enough holders answered, or this step would not have begun: what the owner dealt did not open for them.
            raise InconsistentShares(
                f"holders gave only {len(held)} shares of a secret of client {owner}, but {threshold} are needed",
                culprits={owner},
            )
        owners_by_holders[tuple(sorted(held)[:threshold])].append(owner)
    secrets: dict[int, bytes | None] = {}
    for holders, owners in owners_by_holders.items():
        table = [[shares[owner][holder] for owner in owners] for holder in holders]
        secrets.update(zip(owners, shamir.reconstruct_many(holders, table, num_bytes=SECRET_BYTES), strict=True))
    return secrets


def _correct(
    owner: int, shares: Shares, threshold: int, verify: Callable[[int, bytes], bool]
) -> tuple[bytes, frozenset[int]]:
    """Return the secret that its owner advertised and the holders whose shares do not fit, or blame the owner."""
    with suppress(InconsistentShares, ThresholdError):
        secret, wrong = shamir.reconstruct_robust(shares, threshold=threshold, num_bytes=SECRET_BYTES)
        if verify(owner, secret):
            return secret, wrong
    most_wrong = len(shares) - threshold
    trials = (
        frozenset(left_out)
        for number in range(1, most_wrong + 1)
        for left_out in itertools.combinations(sorted(shares), number)
    )
    for left_out in itertools.islice(trials, MAX_TRIALS):
        chosen = [holder for holder in shares if holder not in left_out][:threshold]
        secret_or_none = _reconstruct(chosen, shares)
        if secret_or_none is not None and verify(owner, secret_or_none):
            # Exchanged for one that fits, a share that does not shows itself.
            wrong = frozenset(
                holder
                for holder in shares.keys() - set(chosen)
                if _reconstruct([*chosen[1:], holder], shares) != secret_or_none
            )
            return secret_or_none, wrong
    raise InconsistentShares("shares reconstruct to another secret than advertised", culprits={owner})


def _reconstruct(holders: Sequence[int], shares: Shares) -> bytes | None:
    (secret,) = shamir.reconstruct_many(holders, [[shares[holder]] for holder in holders], num_bytes=SECRET_BYTES)
    return secret
