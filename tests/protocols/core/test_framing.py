"""The digest of a frame, by values that others have published."""

import pytest

from protocols.core import framing


@pytest.mark.parametrize(
    ("body", "published"),
    [
        (b"", "99aa06d3014798d86001c324468d497f"),
        (b"a", "a96faf705af16834e6c632b61e964e1f"),
        (b"abc", "06b05ab6733a618578af5f94892f3950"),
    ],
)
def test_the_digest_is_xxh3_of_128_bits_with_seed_zero_in_its_canonical_form(body, published):
    for given in (body, bytearray(body), memoryview(b"!" + body)[1:]):
        assert framing.digest(given).hex() == published
    assert len(framing.digest(body)) == framing.DIGEST_BYTES
