"""Flower's server arithmetic of unmasking, by its own functions in the order of SecAggPlusWorkflow.unmask_stage.

Runs under Flower's interpreter. Prepares a session (keys, shares, a masked sum) once; then, for each line on standard
input, unmasks it and prints the seconds, where they went, and whether the sum is right.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import defaultdict
from contextlib import contextmanager

import numpy as np
from flwr.common.secure_aggregation.crypto.shamir import combine_shares, create_shares
from flwr.common.secure_aggregation.crypto.symmetric_encryption import generate_shared_key
from flwr.common.secure_aggregation.ndarrays_arithmetic import (
    factor_combine,
    factor_extract,
    get_parameters_shape,
    parameters_addition,
    parameters_mod,
    parameters_subtraction,
)
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen
from flwr.supercore.primitives.asymmetric import (
    bytes_to_private_key,
    bytes_to_public_key,
    generate_key_pairs,
    private_key_to_bytes,
    public_key_to_bytes,
)

MOD_RANGE = 1 << 32
VALUE_RANGE = 1 << 16


class Session:
    """What Flower's server holds when the last shares have arrived."""

    def __init__(self, num_clients: int, threshold: int, length: int, num_dropped: int) -> None:
        nodes = list(range(1, num_clients + 1))
        self.dropped = set(nodes[:: num_clients // num_dropped][:num_dropped]) if num_dropped else set()
        self.active = [node for node in nodes if node not in self.dropped]
        self.nodes = nodes
        self.public_keys = {}
        private_keys = {}
        for node in nodes:
            private, public = generate_key_pairs()
            private_keys[node] = private_key_to_bytes(private)
            self.public_keys[node] = public_key_to_bytes(public)
        seeds = {node: os.urandom(32) for node in self.active}

        # What each survivor answers: its shares of survivors' seeds and of dropped clients' private keys.
        shares = {
            owner: create_shares(seeds[owner] if owner in seeds else private_keys[owner], threshold, num_clients)
            for owner in nodes
        }
        self.answers = [(nodes, [shares[owner][holder - 1] for owner in nodes]) for holder in self.active]

        rng = np.random.default_rng()
        inputs = [rng.integers(0, VALUE_RANGE, length, dtype=np.int64) for _ in self.active]
        self.plain_sum = sum(inputs)
        masked = factor_combine(len(self.active), [self.plain_sum])
        shapes = get_parameters_shape(masked)
        for node in self.active:
            masked = parameters_addition(masked, pseudo_rand_gen(seeds[node], MOD_RANGE, shapes))
            for peer in self.dropped:
                key = generate_shared_key(
                    bytes_to_private_key(private_keys[node]), bytes_to_public_key(self.public_keys[peer])
                )
                change = parameters_addition if node > peer else parameters_subtraction
                masked = change(masked, pseudo_rand_gen(key, MOD_RANGE, shapes))
        self.masked = parameters_mod(masked, MOD_RANGE)

    def unmask(self) -> dict[str, object]:
        """The arithmetic of unmask_stage, from the answers to the sum mod 2**32."""
        parts: dict[str, float] = defaultdict(float)

        @contextmanager
        def part(name: str):
            started = time.perf_counter()
            yield
            parts[name] += time.perf_counter() - started

        between_dropped = 0.0
        start = time.perf_counter()
        collected = {node: [] for node in self.nodes}
        for owners, shares in self.answers:
            for owner, share in zip(owners, shares, strict=True):
                collected[owner].append(share)
        masked = self.masked
        active = set(self.active)
        for node, share_list in collected.items():
            with part("combine_shares"):
                secret = combine_shares(share_list)
            if node in active:
                with part("masks"):
                    private_mask = pseudo_rand_gen(secret, MOD_RANGE, get_parameters_shape(masked))
                    masked = parameters_subtraction(masked, private_mask)
                continue
            neighbours = set(self.nodes)
            neighbours.remove(node)
            for neighbour in neighbours:  # Flower goes through all of them, the dropped ones too
                pair_start = time.perf_counter()
                with part("key agreement"):
                    shared_key = generate_shared_key(
                        bytes_to_private_key(secret), bytes_to_public_key(self.public_keys[neighbour])
                    )
                with part("masks"):
                    pairwise_mask = pseudo_rand_gen(shared_key, MOD_RANGE, get_parameters_shape(masked))
                    change = parameters_addition if node > neighbour else parameters_subtraction
                    masked = change(masked, pairwise_mask)
                if neighbour not in active:
                    between_dropped += time.perf_counter() - pair_start
        factor, (total,) = factor_extract(parameters_mod(masked, MOD_RANGE))
        seconds = time.perf_counter() - start
        correct = int(factor) == len(self.active) and bool(np.array_equal(total, self.plain_sum))
        return {"seconds": seconds, "between_dropped": between_dropped, "parts": dict(parts), "correct": correct}


def main() -> None:
    """Prepare, then answer each line with a run."""
    session = Session(**json.loads(sys.argv[1]))
    shares = {len(answers) for _, answers in session.answers}
    print(json.dumps({"survivors": len(session.active), "shares_each": sorted(shares)}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(session.unmask()), flush=True)


if __name__ == "__main__":
    main()
