"""What the checks on real randomness stand on: strings, sessions' notes, interpolation, moments."""

from __future__ import annotations

import os
from fractions import Fraction
from typing import Any

import msgspec
import numpy as np
import pytest

from protocols.audit import strings
from protocols.audit.checks import draws, freshness, releases
from protocols.audit.outcome import Refuted, Status
from protocols.audit.runner import chosen, run
from protocols.masking.client import client, steps
from protocols.masking.client.state import Invited
from protocols.masking.messages import Invitation

from .faults import around, noise_of_clients

LEVEL = 1e-9


def test_one_per_cent_too_little_noise_of_a_client_shows_at_normal_size(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = chosen(["noise/client"])
    noise_of_clients(0.99)(monkeypatch)
    (outcome,) = run(checks, seed=3, examples=1).outcomes
    assert outcome.status is Status.FAILED


def test_what_would_be_noticed_is_told_and_is_less_with_more_samples() -> None:
    told = []
    for samples in (200_000, 1_000_000):
        (outcome,) = run(chosen(["noise/client"]), seed=3, examples=1, samples=samples).outcomes
        told.append(float(str(outcome.figures["least deviation that would be noticed"]).rstrip("%")))
    assert told[1] < 1 < told[0] < 3


def test_what_all_parties_of_sessions_draw_is_looked_at() -> None:
    (outcome,) = run(chosen(["freshness/sessions"]), seed=3, examples=12).outcomes
    assert outcome.status is Status.PASSED, outcome.reason
    assert int(outcome.figures["sessions' ids"]) == 3
    assert int(outcome.figures["clients' X25519 keys"]) == 3 * 16 * 2
    assert int(outcome.figures["nonces of clients' shares"]) == 3 * 16 * 15


def test_a_session_that_repeats_another_ones_seed_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[bytes] = []

    def at_last_the_first(original: Any, party: steps.Party, *rest: Any) -> Any:
        following, keys = original(party, *rest)
        seeds.append(following.self_mask_seed)
        if len(seeds) == 32:
            following = msgspec.structs.replace(following, self_mask_seed=seeds[0])
        return following, keys

    fault = around(steps, "advertise", at_last_the_first)
    fault(monkeypatch)
    monkeypatch.setitem(client._STEPS, (Invited, Invitation), steps.advertise)
    (outcome,) = run(chosen(["freshness/sessions"]), seed=3, examples=8).outcomes
    assert outcome.status is Status.FAILED
    assert "repeat another" in outcome.reason


@pytest.mark.parametrize("size", [12, 32])
def test_random_strings_pass(size: int) -> None:
    rng = np.random.default_rng(size)
    drawn = [rng.bytes(size) for _ in range(1500)]
    assert strings.fresh(drawn, size, "strings", LEVEL)["strings"] == 1500


def test_wrong_strings_are_told_from_right_ones() -> None:
    for what, drawn in freshness._wrong(np.random.default_rng(5), 2500).items():
        with pytest.raises(Refuted):
            strings.fresh(drawn, 32, what, LEVEL)


def test_a_hidden_dependence_of_bits_is_found() -> None:
    table = np.random.default_rng(6).integers(0, 2, (300, 64), dtype=np.uint8)
    strings.independent(table, "bits")
    table[:, 40] = table[:, 3] ^ table[:, 17] ^ table[:, 63] ^ 1
    with pytest.raises(Refuted, match="rank 63 where 64 bits are"):
        strings.independent(table, "bits")
    with pytest.raises(ValueError, match="too few"):
        strings.independent(table[:100], "bits")


def test_no_strings_are_no_pass() -> None:
    with pytest.raises(Refuted, match="there are no"):
        strings.distinct([], 32, "keys")


def test_coefficients_are_interpolated() -> None:
    prime = 2**31 - 1
    coefficients = [[5, prime - 1], [7, 0], [prime - 2, 11]]
    points = [3, 1000, 17]
    values = [
        [sum(row[column] * point**power for power, row in enumerate(coefficients)) % prime for column in range(2)]
        for point in points
    ]
    assert freshness.interpolated(points, np.array(values, dtype=np.uint64)).tolist() == coefficients
    secret = os.urandom(32)
    assert sum(piece << 30 * at for at, piece in enumerate(freshness._pieces(secret))) == int.from_bytes(
        secret, "little"
    )


def test_moments_are_those_of_the_law() -> None:
    from dp.laws import gaussian_law
    from dp.mass import variance

    for sigma in (0.5, 2.0, 20.0):
        assert draws.moments(sigma)[0] == pytest.approx(variance(gaussian_law(Fraction(sigma) ** 2)), rel=1e-9)
    assert draws.moments(20.0)[1] == pytest.approx(3, rel=1e-6)


def test_the_transform_is_its_own_inverse() -> None:
    values = np.random.default_rng(7).standard_normal(64)
    assert np.allclose(releases.unrotated(releases.unrotated(values)), values)
    assert np.allclose(releases.unrotated(np.array([1.0, 0, 0, 0])), [0.5] * 4)
