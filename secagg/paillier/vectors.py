"""Encrypted vectors: packed, encrypted, checked, decrypted; as bytes, one fixed-width ciphertext behind another."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..errors import MalformedMessage, ParameterError
from ..residues import Residues
from . import integers
from .integers import Integer, Progress, all_invertible
from .keys import PrivateKey, PublicKey
from .lanes import Lanes
from .randomness import Noise, NoisePool


@dataclass(frozen=True)
class EncryptedVector:
    """A vector under a key, as it comes from a peer: nothing in it is to be believed before `check_header`.

    Args:
        fingerprint: of the public key, 32 bytes.
        lane_bits: bits of a lane.
        length: lanes in all.
        num_addends: how many vectors were added up in this one.
        data: the ciphertexts, each `public_key.ciphertext_bytes` long, big-endian.
    """

    fingerprint: bytes
    lane_bits: int
    length: int
    num_addends: int
    data: bytes = field(repr=False)


def encrypt(residues: Residues, lanes: Lanes, noise: NoisePool, *, progress: Progress | None = None) -> EncryptedVector:
    """Encrypt residues (length,) of the encoding's lane dtype; a client does this with its weighted update.

    Raises:
        EncodingError: the residues have another length or dtype than the lanes.
        ParameterError: the lanes are for a key of another size.
    """
    return encrypt_known(residues, lanes, noise, progress=progress)[0]


def encrypt_known(
    residues: Residues, lanes: Lanes, noise: NoisePool, *, progress: Progress | None = None
) -> tuple[EncryptedVector, list[int], list[Noise]]:
    """Encrypt as `encrypt`; return the plaintexts and the noise as well, which are secret."""
    key = noise.public_key
    _check_size(key, lanes)
    size = key.ciphertext_bytes
    parts, plaintexts, drawn = [], lanes.pack(residues), list[Noise]()
    for plaintext, taken in zip(plaintexts, noise.takes(len(plaintexts)), strict=True):
        drawn.append(taken)
        parts.append(integers.to_bytes(key.encrypt(plaintext, taken.residue), size))
        if progress is not None:
            progress(1)
    vector = EncryptedVector(key.fingerprint, lanes.lane_bits, lanes.length, 1, b"".join(parts))
    return vector, plaintexts, drawn


def rerandomise(vector: EncryptedVector, noise: NoisePool) -> EncryptedVector:
    """Return the same plaintexts under fresh noise: nobody can tell what it was made from.

    Raises:
        MalformedMessage: the vector is under another key, or a ciphertext is out of range.
    """
    key = noise.public_key
    ciphertexts = checked_ciphertexts(vector, key, Lanes(key.key_bits, vector.lane_bits, vector.length))
    taken = noise.takes(len(ciphertexts))
    fresh = [ciphertext * each.residue % key.n_squared for ciphertext, each in zip(ciphertexts, taken, strict=True)]
    return replace(vector, data=integers.join(fresh, key.ciphertext_bytes))


def decrypt(vector: EncryptedVector, lanes: Lanes, private_key: PrivateKey, *, workers: int = 1) -> Residues:
    """Decrypt to residues (length,) mod 2**lane_bits; decode them with the encoding and the vector's num_addends.

    Raises:
        MalformedMessage: the header is of another key or shape, or a ciphertext is not valid.
        EncodingError: a plaintext has bits beyond its lanes.
    """
    ciphertexts = checked_ciphertexts(vector, private_key.public_key, lanes)
    return lanes.unpack(private_key.decrypt(ciphertexts, workers=workers), private_key.public_key.n)


def checked_ciphertexts(vector: EncryptedVector, key: PublicKey, lanes: Lanes) -> list[Integer]:
    """Return the ciphertexts as integers after all checks.

    Raises:
        MalformedMessage: as `check_header`, or a ciphertext is not an invertible residue from 1 to n**2 - 1.
    """
    check_header(vector, key, lanes)
    ciphertexts = integers.split(vector.data, key.ciphertext_bytes)
    if not (in_range(ciphertexts, key.n_squared) and all_invertible(ciphertexts, key.n)):
        raise MalformedMessage("a ciphertext is not an invertible residue from 1 to n**2 - 1")
    return ciphertexts


def check_header(vector: EncryptedVector, key: PublicKey, lanes: Lanes) -> None:
    """Raise MalformedMessage unless the vector is under this key and has these lanes; looks at no ciphertext."""
    _check_size(key, lanes)
    if vector.fingerprint != key.fingerprint:
        raise MalformedMessage("an encrypted vector is under another key")
    if (vector.lane_bits, vector.length) != (lanes.lane_bits, lanes.length):
        raise MalformedMessage(
            f"an encrypted vector has {vector.length} lanes of {vector.lane_bits} bits, but {lanes.length} of "
            f"{lanes.lane_bits} are expected"
        )
    expected = lanes.num_plaintexts * key.ciphertext_bytes
    if len(vector.data) != expected:
        raise MalformedMessage(f"an encrypted vector has {len(vector.data)} bytes of ciphertext, not {expected}")
    if isinstance(vector.num_addends, bool) or not isinstance(vector.num_addends, int) or vector.num_addends < 1:
        raise MalformedMessage("an encrypted vector has fewer than one addend")


def in_range(ciphertexts: list[Integer], n_squared: Integer) -> bool:
    """Tell whether all ciphertexts are from 1 to n**2 - 1."""
    return not ciphertexts or (min(ciphertexts) > 0 and max(ciphertexts) < n_squared)


def _check_size(key: PublicKey, lanes: Lanes) -> None:
    if key.key_bits != lanes.key_bits:
        raise ParameterError(f"the lanes are for keys of {lanes.key_bits} bits, but the key has {key.key_bits}")
