"""A client of Flower's SecAgg+ by Flower's own functions, and samples of what its server does, at any size.

Runs under Flower's interpreter. The client is whole: keys, shares, encryption, quantisation, masks, answer. A server's
round of many clients takes minutes to hours, so its steps are timed one by one, and the caller counts them. For each
line on standard input, prints seconds of processor time of one client, of one of each of the server's steps, and the
bytes that the client sends.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable

import numpy as np
from flwr.app import ConfigRecord
from flwr.client.mod.secure_aggregation.secaggplus_mod import (
    SecAggPlusState,
    _collect_masked_vectors,
    _setup,
    _share_keys,
    _unmask,
)
from flwr.common import ndarrays_to_parameters
from flwr.common.secure_aggregation.crypto.shamir import combine_shares, create_shares
from flwr.common.secure_aggregation.crypto.symmetric_encryption import encrypt, generate_shared_key
from flwr.common.secure_aggregation.ndarrays_arithmetic import parameters_addition, parameters_subtraction
from flwr.common.secure_aggregation.secaggplus_constants import Key
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen, share_keys_plaintext_concat
from flwr.supercore.primitives.asymmetric import (
    bytes_to_private_key,
    bytes_to_public_key,
    generate_key_pairs,
    private_key_to_bytes,
    public_key_to_bytes,
)

MOD_RANGE = 1 << 32
SETTINGS = {Key.CLIPPING_RANGE: 8.0, Key.TARGET_RANGE: 1 << 16, Key.MOD_RANGE: MOD_RANGE, Key.MAX_WEIGHT: 1000.0}
ME = 1


def seconds_of(function: Callable[[], object]) -> float:
    """Processor time of all threads: Flower shares secrets on ten of them, which take turns all the same."""
    start = time.process_time()
    function()
    return time.process_time() - start


def client(degree: int, threshold: int, length: int, num_clients: int) -> tuple[float, int]:
    """Return the seconds that one client computes in a round, and the bytes of the values that it sends."""
    holders = degree + 1
    peers = list(range(ME + 1, ME + 1 + degree))
    keys = {peer: (generate_key_pairs(), generate_key_pairs()) for peer in peers}
    model = ndarrays_to_parameters([np.random.default_rng(0).uniform(-1, 1, length).astype(np.float32)])

    state = SecAggPlusState()
    state.nid = ME
    settings = {Key.SAMPLE_NUMBER: num_clients, Key.SHARE_NUMBER: holders, Key.THRESHOLD: threshold, **SETTINGS}
    clock, sent = 0.0, []

    def step(function: Callable[..., dict[str, object]], *arguments: object) -> dict[str, object]:
        nonlocal clock
        start = time.process_time()
        answer = function(state, *arguments)
        clock += time.process_time() - start
        sent.append(answer)
        return answer

    own = step(_setup, ConfigRecord(settings))
    public = {str(peer): [public_key_to_bytes(pair[1]) for pair in pairs] for peer, pairs in keys.items()}
    step(_share_keys, {str(ME): [own[Key.PUBLIC_KEY_1], own[Key.PUBLIC_KEY_2]], **public})
    delivered = [
        encrypt(
            generate_shared_key(pairs[1][0], bytes_to_public_key(own[Key.PUBLIC_KEY_2])),
            share_keys_plaintext_concat(peer, ME, os.urandom(36), os.urandom(272)),
        )
        for peer, pairs in keys.items()
    ]
    step(_collect_masked_vectors, {Key.CIPHERTEXT_LIST: delivered, Key.SOURCE_LIST: peers}, 1000, model)
    step(_unmask, {Key.ACTIVE_NODE_ID_LIST: [ME, *peers], Key.DEAD_NODE_ID_LIST: []})
    return clock, sum(map(num_bytes, sent))


def num_bytes(value: object) -> int:
    """Bytes of the values alone, without names and framing; 8 for an integer."""
    if isinstance(value, dict):
        return sum(map(num_bytes, value.values()))
    if isinstance(value, list):
        return sum(map(num_bytes, value))
    return len(value) if isinstance(value, bytes) else 8


def server_steps(degree: int, threshold: int, length: int, answers: int) -> dict[str, float]:
    """Return the seconds of one of each step; a neighbourhood answers with so many shares of a secret."""
    shape = [(length,)]
    vector = [np.zeros(length, dtype=np.int64)]
    (private, _), (_, public) = generate_key_pairs(), generate_key_pairs()
    private_bytes, public_bytes = private_key_to_bytes(private), public_key_to_bytes(public)
    found = {}
    for name, secret in (("seed", os.urandom(32)), ("key", private_bytes)):
        shares = create_shares(secret, threshold, degree + 1)[:answers]
        found[f"combine a {name}"] = seconds_of(lambda shares=shares: combine_shares(shares))
    found["agree"] = seconds_of(
        lambda: generate_shared_key(bytes_to_private_key(private_bytes), bytes_to_public_key(public_bytes))
    )
    seed = os.urandom(32)
    found["mask"] = seconds_of(lambda: parameters_subtraction(vector, pseudo_rand_gen(seed, MOD_RANGE, shape)))
    found["add"] = seconds_of(lambda: parameters_addition(vector, vector))
    return found


def main() -> None:
    """Warm up, then answer each line with a run."""
    client(4, 3, 100, 5)
    server_steps(4, 3, 100, 4)
    print(json.dumps({}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        seconds, sent = client(asked["degree"], asked["threshold"], asked["length"], asked["num_clients"])
        steps = server_steps(asked["degree"], asked["threshold"], asked["length"], asked["answers"])
        print(json.dumps({"client": seconds, "sent": sent, "steps": steps}), flush=True)


if __name__ == "__main__":
    main()
