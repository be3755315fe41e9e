"""What is bytes may be a view of a buffer or a bytearray as well: networks hand those out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from secagg import aead, derivation, prg, residues, shamir
from secagg.key_agreement import KeyPair
from secagg.signatures import Identity, check_public_key, verify

KEY, MESSAGE, CONTEXT = bytes(range(32)), b"a message", b"a context"


@pytest.mark.parametrize("kind", [memoryview, bytearray])
def test_every_primitive_takes_buffers_as_bytes(kind: Any) -> None:
    identity = Identity(kind(KEY))
    signature = identity.sign(kind(MESSAGE))
    assert signature == Identity(KEY).sign(MESSAGE)
    check_public_key(kind(identity.public_bytes))
    verify(kind(identity.public_bytes), kind(MESSAGE), kind(signature))

    sealed = aead.seal(kind(KEY), kind(MESSAGE), associated_data=kind(CONTEXT))
    assert aead.open(kind(KEY), kind(sealed), associated_data=kind(CONTEXT)) == MESSAGE

    pair = KeyPair(kind(KEY))
    assert pair.agree(kind(pair.public_bytes)) == KeyPair(KEY).agree(pair.public_bytes)
    label = derivation.Label.ROTATION
    assert derivation.derive(kind(KEY), label, kind(CONTEXT)) == derivation.derive(KEY, label, CONTEXT)
    assert prg.keystream(kind(KEY), 20) == prg.keystream(KEY, 20)

    shares = shamir.split(kind(MESSAGE), threshold=2, indices=range(1, 4))
    given = {index: kind(share) for index, share in shares.items()}
    assert shamir.reconstruct(given, threshold=2, num_bytes=len(MESSAGE)) == MESSAGE
    lanes = np.arange(9, dtype=np.uint32)
    assert np.array_equal(residues.unpack(kind(residues.pack(lanes, 5)), 5, 9), lanes)


def test_numbers_are_no_messages() -> None:
    identity = Identity(KEY)
    for call in (
        lambda: identity.sign(5),  # type: ignore[arg-type]
        lambda: verify(identity.public_bytes, 5, identity.sign(bytes(5))),  # type: ignore[arg-type]
        lambda: aead.seal(KEY, 5, associated_data=CONTEXT),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError):
            call()
