"""Run inside TenSEAL's own environment: a sum of vectors under CKKS, its seconds and bytes, as lines of JSON.

Parameters that suit sums alone: no multiplication, so the smallest ring that 128-bit security admits for 54 bits.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import tenseal as ts

RING, BITS, SCALE = 4096, [54, 54], 2.0**40
DISTINCT = 4
"""Clients' vectors repeat from a pool of so many; each is read from bytes all the same."""


def run(num_clients: int, length: int) -> dict[str, float]:
    context = ts.context(ts.SCHEME_TYPE.CKKS, poly_modulus_degree=RING, coeff_mod_bit_sizes=BITS)
    context.global_scale = SCALE
    rng = np.random.default_rng(0)
    values = [rng.uniform(-1, 1, length) for _ in range(DISTINCT)]
    slots = RING // 2

    def encrypt(vector: np.ndarray) -> list[bytes]:
        return [ts.ckks_vector(context, vector[at : at + slots]).serialize() for at in range(0, vector.size, slots)]

    encrypt(values[0][:slots])
    start = time.process_time()
    sent = [encrypt(vector) for vector in values]
    client = (time.process_time() - start) / DISTINCT

    start = time.process_time()
    total = [ts.ckks_vector_from(context, data) for data in sent[0]]
    for number in range(1, num_clients):
        for addend, data in zip(total, sent[number % DISTINCT], strict=True):
            addend.add_(ts.ckks_vector_from(context, data))
    add = time.process_time() - start

    start = time.process_time()
    opened = np.concatenate([np.array(chunk.decrypt()) for chunk in total])
    decrypt = time.process_time() - start
    plain = sum(values[number % DISTINCT] for number in range(num_clients))
    return {
        "client": client,
        "add": add,
        "decrypt": decrypt,
        "sent": sum(map(len, sent[0])),
        "error": float(np.abs(opened - plain).max()),
    }


def main() -> None:
    """Answer each line with a run."""
    print(json.dumps({}), flush=True)
    for line in sys.stdin:
        print(json.dumps(run(**json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
