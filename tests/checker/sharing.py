"""SPEC section 6: Shamir's scheme over GF(2^31 - 1), with correction by exhaustion: the slow way."""

import itertools

from .refusal import Refused, require

PRIME, CHUNK_BITS, ELEMENT_BYTES = 2**31 - 1, 30, 4


def num_elements(num_bytes: int) -> int:
    return -(-8 * num_bytes // CHUNK_BITS)


def to_elements(secret: bytes) -> list[int]:
    whole = int.from_bytes(secret, "little")
    return [whole >> CHUNK_BITS * i & 2**CHUNK_BITS - 1 for i in range(num_elements(len(secret)))]


def to_bytes(elements: list[int], num_bytes: int) -> bytes:
    require(all(element < 2**CHUNK_BITS for element in elements), "InconsistentShares")
    whole = sum(element << CHUNK_BITS * i for i, element in enumerate(elements))
    require(whole < 1 << 8 * num_bytes, "InconsistentShares")
    return whole.to_bytes(num_bytes, "little")


def check_indices(indices: list[int]) -> None:
    reduced = [index % PRIME for index in indices]
    require(all(reduced) and len(set(reduced)) == len(reduced), "ParameterError")


def split(secret: bytes, coefficients: list[list[int]], indices: list[int]) -> list[bytes]:
    check_indices(indices)
    require(len(coefficients) + 1 <= len(indices), "ParameterError")
    rows = [to_elements(secret), *coefficients]
    return [
        b"".join(
            (sum(row[j] * index**power for power, row in enumerate(rows)) % PRIME).to_bytes(ELEMENT_BYTES, "little")
            for j in range(len(rows[0]))
        )
        for index in indices
    ]


def lagrange(points: list[int], at: int) -> list[int]:
    out = []
    for x in points:
        top = bottom = 1
        for other in points:
            if other != x:
                top, bottom = top * (at - other) % PRIME, bottom * (x - other) % PRIME
        out.append(top * pow(bottom, -1, PRIME) % PRIME)
    return out


def _parse(share: bytes, count: int) -> list[int] | None:
    if len(share) != count * ELEMENT_BYTES:
        return None
    elements = [int.from_bytes(share[i : i + 4], "little") for i in range(0, len(share), 4)]
    return elements if all(element < PRIME for element in elements) else None


def _interpolate(rows: dict[int, list[int]], at: int) -> list[int]:
    weights = lagrange(list(rows), at)
    return [
        sum(w * row[j] for w, row in zip(weights, rows.values(), strict=True)) % PRIME
        for j in range(len(next(iter(rows.values()))))
    ]


def reconstruct(shares: dict[int, bytes], threshold: int, num_bytes: int) -> bytes:
    require(threshold >= 1, "ParameterError")
    check_indices(list(shares))
    require(len(shares) >= threshold, "ThresholdError")
    rows = {index: _parse(share, num_elements(num_bytes)) for index, share in shares.items()}
    require(None not in rows.values(), "EncodingError")
    first = dict(itertools.islice(rows.items(), threshold))
    require(all(_interpolate(first, index) == row for index, row in rows.items()), "InconsistentShares")
    return to_bytes(_interpolate(first, 0), num_bytes)


def reconstruct_robust(shares: dict[int, bytes], threshold: int, num_bytes: int) -> tuple[bytes, list[int]]:
    """Column by column, the one polynomial that at most (m - t) // 2 of the m well-formed shares miss."""
    require(threshold >= 1, "ParameterError")
    check_indices(list(shares))
    parsed = {index: _parse(share, num_elements(num_bytes)) for index, share in shares.items()}
    wrong = {index for index, row in parsed.items() if row is None}
    rows = {index: row for index, row in parsed.items() if row is not None}
    require(len(rows) >= threshold, "ThresholdError")
    elements = []
    for j in range(num_elements(num_bytes)):
        column = {index: [row[j]] for index, row in rows.items()}
        for basis in itertools.combinations(column, threshold):
            chosen = {index: column[index] for index in basis}
            missed = {index for index in column if _interpolate(chosen, index) != column[index]}
            if len(missed) <= (len(rows) - threshold) // 2:
                elements.append(_interpolate(chosen, 0)[0])
                wrong |= missed
                break
        else:
            raise Refused("InconsistentShares")
    return to_bytes(elements, num_bytes), sorted(wrong)
