"""Properties of the primitives, each tried with many simulated examples."""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt

from secagg import aead, field, masking, shamir
from secagg.encoding import FixedPoint, Rounding
from secagg.errors import AuthenticationFailed, EncodingError, ThresholdError
from secagg.key_agreement import KeyPair
from secagg.residues import lane_dtype, pack, packed_bytes, reduce_in_place, unpack
from secagg.signatures import Identity, check_public_key, verify

from ..outcome import Check, Found, Trials, demand, demand_refusal
from ..strings import even

_FALSE_ALARM = 1e-9
_BINS = 256


def flipped(data: bytes, bit: int) -> bytes:
    """Return the bytes with one bit flipped; bits are counted modulo their number."""
    at = bit % (8 * len(data))
    changed = bytearray(data)
    changed[at // 8] ^= 1 << at % 8
    return bytes(changed)


def _encoding(trials: Trials) -> Found:
    worst = 0.0
    for rng in trials.each():
        summands, top = int(rng.integers(1, 30)), int(rng.integers(1, 50))
        rounding = Rounding.NEAREST if rng.random() < 0.5 else Rounding.STOCHASTIC
        codec = FixedPoint(float(10 ** rng.uniform(-3, 3)), int(rng.integers(2, 33)), summands, top, rounding)
        total = np.zeros(50, dtype=lane_dtype(codec.modulus_bits))
        plain, weights = np.zeros(50), 0
        for _ in range(summands):
            values = rng.uniform(-1.5, 1.5, 50) * codec.clip
            values[:2] = (2 * codec.clip, -2 * codec.clip)  # the extremes add up where an overflow would show
            weight = int(rng.integers(1, top + 1))
            total += codec.encode(values, weight=weight, random=rng.bytes).residues
            plain += weight * np.clip(values, -codec.clip, codec.clip)
            weights += weight
        off = np.abs(codec.decode_sum(total, num_summands=summands) - plain).max() * codec.scale / weights
        allowed = 0.5 if rounding is Rounding.NEAREST else 1.0
        demand(off <= allowed + 1e-6, f"a sum is off by {off:.4g} steps a summand where {allowed} are possible")
        worst = max(worst, float(off) / allowed)
    return Found({"examples": trials.examples, "worst error, of what rounding allows": round(worst, 4)})


def _residues(trials: Trials) -> Found:
    for rng in trials.each():
        for bits in range(1, 65):
            length = int(rng.integers(0, 40))
            lanes = rng.integers(0, (1 << bits) - 1, length, dtype=np.uint64, endpoint=True).astype(lane_dtype(bits))
            packed = pack(lanes, bits)
            demand(
                len(packed) == packed_bytes(length, bits), f"{length} residues of {bits} bits take {len(packed)} bytes"
            )
            demand(np.array_equal(unpack(packed, bits, length), lanes), f"residues of {bits} bits come back changed")
            if length * bits % 8:
                padded = flipped(packed, 8 * len(packed) - 1)
                demand_refusal(lambda: unpack(padded, bits, length), EncodingError, "a padding bit")  # noqa: B023
    return Found({"examples": 64 * trials.examples})


def _masks(trials: Trials) -> Found:
    for rng in trials.each():
        bits, clients = int(rng.integers(1, 65)), int(rng.integers(2, 9))
        plain = [_lanes(rng, bits, 30) for _ in range(clients)]
        own = [rng.bytes(32) for _ in range(clients)]
        pairs = {(i, j): rng.bytes(32) for i in range(clients) for j in range(i)}
        survivors = sorted(rng.permutation(clients)[: int(rng.integers(1, clients + 1))].tolist())
        total, expected = (np.zeros(30, dtype=lane_dtype(bits)) for _ in range(2))
        for i in survivors:
            masked = plain[i].copy()
            seeds = {j: pairs[max(i, j), min(i, j)] for j in range(clients) if j != i}
            masking.mask([masked], client_id=i, self_mask_seed=own[i], pairwise_seeds=seeds)
            total += masked
            expected += plain[i]
        dropped = set(range(clients)) - set(survivors)
        orphans = [(i, j, pairs[max(i, j), min(i, j)]) for i in survivors for j in dropped]
        masking.unmask([total], self_mask_seeds=[own[i] for i in survivors], orphaned_seeds=orphans)
        same = np.array_equal(reduce_in_place(total, bits), reduce_in_place(expected, bits))
        demand(same, f"the masks of {len(survivors)} of {clients} clients do not cancel mod 2**{bits}")
    return Found({"examples": trials.examples})


def _lanes(rng: np.random.Generator, bits: int, length: int) -> npt.NDArray[np.uint32 | np.uint64]:
    return rng.integers(0, (1 << bits) - 1, length, dtype=np.uint64, endpoint=True).astype(lane_dtype(bits))


def _masked_uniform(trials: Trials) -> Found:
    # All inputs are zero: what is seen is the masks alone.
    (rng,) = trials.each(1)
    masked = np.zeros(trials.samples // 4, dtype="<u4")
    masking.mask(
        [masked], client_id=2, self_mask_seed=rng.bytes(32), pairwise_seeds={1: rng.bytes(32), 3: rng.bytes(32)}
    )
    counts = np.bincount(masked.view(np.uint8), minlength=_BINS)
    return Found(even(counts, "bytes of a masked input", _FALSE_ALARM))


def _shamir(trials: Trials) -> Found:
    for rng in trials.each():
        holders = int(rng.integers(2, 25))
        threshold = int(rng.integers(2, holders + 1))
        indices = (rng.permutation(1000)[:holders] + 1).tolist()
        secret = rng.bytes(int(rng.integers(1, 70)))
        shares = shamir.split(secret, threshold=threshold, indices=indices, random=rng.bytes)
        held = {i: shares[i] for i in rng.permutation(indices)[:threshold].tolist()}
        found = shamir.reconstruct(held, threshold=threshold, num_bytes=len(secret))
        demand(found == secret, f"{threshold} of {holders} shares reconstruct to something else")
        held.popitem()
        demand_refusal(
            lambda: shamir.reconstruct(held, threshold=threshold, num_bytes=len(secret)),  # noqa: B023
            ThresholdError,
            "a share too few",
        )
        liars = set(rng.permutation(indices)[: (holders - threshold) // 2].tolist())
        for liar in liars:
            shares[liar] = (int.from_bytes(shares[liar][:4], "little") ^ 1).to_bytes(4, "little") + shares[liar][4:]
        found, named = shamir.reconstruct_robust(shares, threshold=threshold, num_bytes=len(secret))
        demand(found == secret and named == liars, f"{len(liars)} wrong of {holders} shares are not corrected")
    return Found({"examples": trials.examples})


def _shamir_uniform(trials: Trials) -> Found:
    # Shares of zero: a coefficient that is biased, or never zero, shows in them.
    (rng,) = trials.each(1)
    secrets = np.zeros(trials.samples, dtype=np.uint64)
    shares = shamir.split_elements(secrets, threshold=2, indices=[1, 2], random=rng.bytes)
    top = shares[0].astype(np.uint64) >> np.uint64(field.PRIME.bit_length() - 8)
    return Found(even(np.bincount(top.astype(np.int64), minlength=_BINS), "shares of a fixed secret", _FALSE_ALARM))


def _aead(trials: Trials) -> Found:
    for rng in trials.each():
        key, text, data = rng.bytes(32), rng.bytes(int(rng.integers(0, 200))), rng.bytes(int(rng.integers(1, 60)))
        sealed = aead.seal(key, text, associated_data=data, random=rng.bytes)
        demand(aead.open(key, sealed, associated_data=data) == text, "a text comes back changed")
        again = aead.seal(key, text, associated_data=data, random=rng.bytes)
        demand(again != sealed, "a nonce was used twice")
        bit = int(rng.integers(1 << 16))
        for what, arguments in {
            "another ciphertext": (key, flipped(sealed, bit), data),
            "another key": (flipped(key, bit), sealed, data),
            "another context": (key, sealed, flipped(data, bit)),
        }.items():
            demand_refusal(
                lambda: aead.open(arguments[0], arguments[1], associated_data=arguments[2]),  # noqa: B023
                AuthenticationFailed,
                what,
            )
    return Found({"examples": trials.examples})


def _key_agreement(trials: Trials) -> Found:
    for rng in trials.each():
        one, other, third = (KeyPair.generate(random=rng.bytes) for _ in range(3))
        agreed = one.agree(other.public_bytes)
        demand(agreed == other.agree(one.public_bytes), "two sides agree on different secrets")
        demand(agreed != one.agree(third.public_bytes), "two peers share one secret")
    return Found({"examples": trials.examples})


def _signatures(trials: Trials) -> Found:
    for rng in trials.each():
        signer, text, bit = (
            Identity.generate(random=rng.bytes),
            rng.bytes(int(rng.integers(1, 100))),
            int(rng.integers(1 << 16)),
        )
        signature = signer.sign(text)
        verify(signer.public_bytes, text, signature)
        for what, arguments in {
            "another text": (signer.public_bytes, flipped(text, bit), signature),
            "another signature": (signer.public_bytes, text, flipped(signature, bit)),
            "another signer": (Identity.generate(random=rng.bytes).public_bytes, text, signature),
        }.items():
            demand_refusal(lambda: verify(*arguments), AuthenticationFailed, what)  # noqa: B023
    return Found({"examples": trials.examples})


_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_SMALL_ORDERS = (1, _P - 1, 0, pow(2, (_P - 1) // 4, _P))
"""Of orders 1, 2 and 4, by y."""


def _is_on_curve(encoded: bytes) -> bool:
    """Return whether RFC 8032 decodes it: whether x^2 = (y^2 - 1) / (d y^2 + 1) is a square, in Python's integers."""
    y = int.from_bytes(encoded, "little") & ((1 << 255) - 1)
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    return y < _P and pow(square, (_P - 1) // 2, _P) in (0, 1)


def _public_keys(trials: Trials) -> Found:
    """Half of all strings are on the curve, an eighth of these in the right subgroup: what is off must be refused."""
    off = 0
    for rng in trials.each():
        check_public_key(Identity.generate(random=rng.bytes).public_bytes)
        for _ in range(8):
            drawn = rng.bytes(32)
            if not _is_on_curve(drawn):
                demand_refusal(partial(check_public_key, drawn), AuthenticationFailed, "a public key off the curve")
                off += 1
    for y in _SMALL_ORDERS:
        for encoded in (y.to_bytes(32, "little"), (y + (1 << 255)).to_bytes(32, "little")):
            demand_refusal(partial(check_public_key, encoded), AuthenticationFailed, f"y = {y} as a public key")
    return Found({"keys off the curve refused": off, "of small order": 2 * len(_SMALL_ORDERS)})


CHECKS = (
    Check("primitives", "encoding", "sums of encoded floats never overflow and are off by rounding alone", _encoding),
    Check("primitives", "residues", "packed residues of 1 to 64 bits come back, and stray bits are refused", _residues),
    Check("primitives", "masks", "masks cancel to the bit, whoever drops out", _masks),
    Check("primitives", "masks-uniform", "a masked input looks uniform", _masked_uniform, _FALSE_ALARM),
    Check(
        "primitives",
        "shamir",
        "any threshold of shares reconstructs, one fewer does not, and wrong shares are corrected and named",
        _shamir,
    ),
    Check("primitives", "shamir-uniform", "a share by itself looks uniform", _shamir_uniform, _FALSE_ALARM),
    Check("primitives", "aead", "sealed texts open only with their key and context, unchanged", _aead),
    Check(
        "primitives", "key-agreement", "two sides agree on one secret, and on no other with anyone else", _key_agreement
    ),
    Check("primitives", "signatures", "signatures hold for one text under one key", _signatures),
    Check("primitives", "public-keys", "public keys off the curve or of small order are refused", _public_keys),
)
