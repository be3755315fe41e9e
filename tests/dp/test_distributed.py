"""Noise that clients share: its exact law with and without dropouts and colluders, its calibration, its preparation."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dp.accounting import epsilon_of
from dp.analytic import gaussian_noise_multiplier
from dp.discrete import SLACK, smoothing_variance, summed_gaussians_ratio
from dp.distributed import Goal, NoiseShare, is_fine, least_fine_sigma, local_sigma_for
from dp.errors import PrivacyParameterError
from dp.events import GaussianEvent, Repeated
from dp.laws import gaussian_law
from dp.mass import mass
from dp.nearness import ideal
from dp.preparation import Preparation
from dp.rational import exact
from dp.rotation import rotate, rotate_back
from dp.sensitivity import Adjacency

FALSE_ALARM = 1e-9
SAMPLES = 1 << 18
SEED = bytes(range(32))


def law_of_sum(local_sigma: float, clients: int) -> np.ndarray:
    """Exact probabilities of the sum of independent discrete Gaussians, from -reach to reach."""
    law = gaussian_law(exact(local_sigma, "sigma") ** 2)
    reach = math.ceil(12 * local_sigma) + 2
    one = mass(law, np.arange(-reach, reach + 1))
    total = np.ones(1)
    for _ in range(clients):
        total = np.convolve(total, one)
    return total


def p_value(sums: np.ndarray, probabilities: np.ndarray) -> float:
    """Pearson's chi-squared over bins with at least 25 expected, the tails pooled."""
    reach = probabilities.size // 2
    counts = np.bincount(np.clip(sums, -reach, reach) + reach, minlength=probabilities.size)
    expected = probabilities * sums.size
    big = np.flatnonzero(expected >= 25)
    first, last = big[0], big[-1]
    observed = np.concatenate(([counts[:first].sum()], counts[first : last + 1], [counts[last + 1 :].sum()]))
    wanted = np.concatenate(([expected[:first].sum()], expected[first : last + 1], [expected[last + 1 :].sum()]))
    wanted = np.maximum(wanted, 1e-12)
    keep = wanted > 1
    statistic = float(((observed[keep] - wanted[keep]) ** 2 / wanted[keep]).sum())
    return float(stats.chi2.sf(statistic, np.count_nonzero(keep) - 1))


def draw_sum(local_sigma: float, clients: int) -> np.ndarray:
    share = NoiseShare(local_sigma, SAMPLES, 1.0, 1.0)
    return sum((share.draw() for _ in range(clients)), np.zeros(SAMPLES, dtype=np.int64))


@pytest.mark.parametrize(("local_sigma", "clients"), [(0.5, 3), (0.8, 10), (2.0, 5), (3.7, 2)])
def test_the_sum_of_shares_has_exactly_its_law(local_sigma: float, clients: int) -> None:
    sums = draw_sum(local_sigma, clients)
    assert p_value(sums, law_of_sum(local_sigma, clients)) > FALSE_ALARM
    for wrong in (0.98, 1.02):
        assert p_value(sums, law_of_sum(wrong * local_sigma, clients)) < FALSE_ALARM


@pytest.mark.parametrize(("invited", "dropped", "corrupt"), [(10, 0, 0), (10, 2, 0), (10, 0, 2), (10, 2, 2)])
def test_what_is_left_after_dropouts_and_colluders_is_what_was_promised(
    invited: int, dropped: int, corrupt: int
) -> None:
    goal = Goal(Adjacency.ADD_REMOVE, 1e-5, noise_multiplier=3.0)
    promised_honest = invited - 2 - 2  # two may drop out, two collude
    bounds = NoiseShare(0.5, 1, 4.0, 4.0)
    sigma = local_sigma_for(goal, goal.gaussian_multiplier(), bounds, promised_honest)
    unknown = invited - dropped - corrupt  # whose noise the adversary does not know
    sums = draw_sum(sigma, unknown)
    promised = law_of_sum(sigma, promised_honest)
    if unknown == promised_honest:
        assert p_value(sums, promised) > FALSE_ALARM
    else:
        assert sums.var() > 1.1 * promised_honest * sigma**2  # more, never less
    assert p_value(sums, law_of_sum(sigma, unknown)) > FALSE_ALARM


def test_noise_divided_by_the_invited_is_rejected_as_soon_as_one_in_five_drops_out() -> None:
    # As TensorFlow Federated and others calibrate: sigma / sqrt(invited) each, whoever is left.
    invited, survivors, sigma_of_sum = 10, 8, 6.0
    theirs = sigma_of_sum / math.sqrt(invited)
    promised = law_of_sum(sigma_of_sum / math.sqrt(survivors), survivors)  # a sum of deviation 6 by eight clients
    assert p_value(draw_sum(theirs, survivors), promised) < FALSE_ALARM
    ours = sigma_of_sum / math.sqrt(survivors)
    assert p_value(draw_sum(ours, survivors), promised) > FALSE_ALARM


@given(
    epsilon=st.floats(0.05, 20),
    log_delta=st.floats(-20, -3),
    honest=st.integers(1, 5000),
    length=st.integers(1, 1 << 20),
    steps=st.floats(3, 50),
    adjacency=st.sampled_from(Adjacency),
    rounds=st.integers(1, 200),
)
def test_calibrated_noise_meets_its_goal_and_wastes_next_to_nothing(
    epsilon: float, log_delta: float, honest: int, length: int, steps: float, adjacency: Adjacency, rounds: int
) -> None:
    delta = math.exp(log_delta)
    goal = Goal(adjacency, delta, epsilon=epsilon, rounds=rounds)
    made = Preparation(length, 1.0, steps * math.sqrt(1 << (length - 1).bit_length()))
    bounds = NoiseShare(0.5, made.dimension, made.l2_bound, made.l1_bound)
    try:
        sigma = local_sigma_for(goal, goal.gaussian_multiplier(), bounds, honest)
    except PrivacyParameterError as error:
        if "finer scale" not in str(error):
            raise
        return
    share = NoiseShare(sigma, made.dimension, made.l2_bound, made.l1_bound)
    event = Repeated(share.event(honest, adjacency), rounds)
    assert epsilon_of(event, delta) <= epsilon
    if is_fine(sigma, honest, made.dimension):
        sensitivity = share.event(honest, adjacency).l2_sensitivity
        least = gaussian_noise_multiplier(epsilon, delta) * math.sqrt(rounds) * sensitivity
        assert honest * sigma**2 <= (1.0001 * least) ** 2 + 6


def test_one_part_in_a_hundred_less_noise_misses_the_goal() -> None:
    goal = Goal(Adjacency.ADD_REMOVE, 1e-5, epsilon=1.0)
    made = Preparation(1000, 1.0, 200.0)
    sigma = local_sigma_for(
        goal, goal.gaussian_multiplier(), NoiseShare(1, made.dimension, made.l2_bound, made.l1_bound), 50
    )
    less = NoiseShare(0.99 * sigma, made.dimension, made.l2_bound, made.l1_bound)
    assert epsilon_of(less.event(50, Adjacency.ADD_REMOVE), 1e-5) > 1.0
    fewer = NoiseShare(sigma, made.dimension, made.l2_bound, made.l1_bound)
    assert epsilon_of(fewer.event(49, Adjacency.ADD_REMOVE), 1e-5) > 1.0
    assert epsilon_of(fewer.event(51, Adjacency.ADD_REMOVE), 1e-5) < 1.0


def test_replacing_moves_a_sum_by_twice_either_bound() -> None:
    share = NoiseShare(1.0, 4, 3.0, 5.0)
    moves = {relation: share.event(7, relation) for relation in Adjacency}
    assert (moves[Adjacency.ADD_REMOVE].l2_sensitivity, moves[Adjacency.ADD_REMOVE].l1_sensitivity) == (3.0, 5.0)
    assert (moves[Adjacency.REPLACE_ONE].l2_sensitivity, moves[Adjacency.REPLACE_ONE].l1_sensitivity) == (6.0, 10.0)


@given(
    length=st.integers(1, 300),
    norm=st.floats(0.5, 1e5),
    kind=st.sampled_from(["spike", "flat", "normal", "zero"]),
    excess=st.floats(0.1, 10),
    seed=st.binary(min_size=32, max_size=32),
)
def test_prepared_vectors_stay_within_every_bound(
    length: int, norm: float, kind: str, excess: float, seed: bytes
) -> None:
    rng = np.random.default_rng(length)
    values = {
        "spike": np.eye(1, length)[0],
        "flat": np.ones(length),
        "normal": rng.normal(size=length),
        "zero": np.zeros(length),
    }[kind]
    size = float(np.linalg.norm(values))
    values = values * (excess / size) if size else values
    made = Preparation(length, 1.0, norm)
    levels, clipped = made.prepare(values, seed)
    assert levels.shape == (made.dimension,)
    assert clipped == (excess > 1 and size > 0) or abs(excess - 1) < 1e-9
    assert sum(int(v) ** 2 for v in levels) <= made.l2_bound**2
    assert sum(abs(int(v)) for v in levels) <= made.l1_bound
    assert int(np.abs(levels).max()) <= made.max_level
    if kind == "zero":
        assert not levels.any()


def test_a_sum_comes_back_as_it_was_but_for_the_steps() -> None:
    rng = np.random.default_rng(3)
    made = Preparation(1000, 2.0, 1e6)
    vectors = [rng.normal(size=1000) * 0.05 for _ in range(20)]
    total = sum(made.prepare(vector, SEED)[0] for vector in vectors)
    assert np.abs(made.restore(total, SEED) - sum(vectors)).max() < 20 * 8 / 1e6


def test_rotation_makes_a_spike_fit_a_narrow_lane() -> None:
    made = Preparation(1 << 14, 1.0, 1e4)
    assert made.max_level < 1e4 / 15
    levels, _ = made.prepare(np.eye(1, 1 << 14)[0], SEED)
    exact_levels = rotate(np.eye(1, 1 << 14)[0], SEED) * 1e4
    assert np.abs(levels - exact_levels).max() <= 1  # nothing was cut


def test_what_a_rotation_sharpens_is_cut() -> None:
    # A client that knows the seed can send what the rotation turns into a spike; chance would take 2**20 rounds.
    made = Preparation(256, 1.0, 1000.0)
    levels, _ = made.prepare(rotate_back(np.eye(1, 256)[0], SEED, 256), SEED)
    assert levels[0] == made.max_level < 500
    assert np.abs(levels[1:]).max() <= 1


def test_noise_beyond_its_reach_is_not_seen_and_its_reach_is_not_idle() -> None:
    share = NoiseShare(2.0, 1 << 16, 1.0, 1.0)
    for clients in (1, 30):
        noise = sum(share.draw() for _ in range(clients))
        assert share.reach(clients) / 2 < np.abs(noise).max() * 1.4
        assert np.abs(noise).max() <= share.reach(clients)
    assert share.reach(0) == 0


@pytest.mark.parametrize("clients", [1, 2, 10, 1000])
def test_fine_noise_is_accounted_as_one_discrete_gaussian(clients: int) -> None:
    sigma = least_fine_sigma(clients, 1 << 17)
    assert is_fine(sigma, clients, 1 << 17)
    assert not is_fine(0.9 * sigma, clients, 1 << 17)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epsilon": None}, "either"),
        ({"noise_multiplier": 1.0}, "either"),
        ({"epsilon": -1.0}, "epsilon"),
        ({"delta": 0.0}, "delta"),
        ({"rounds": 0}, "rounds"),
        ({"adjacency": "both"}, "Adjacency"),
    ],
)
def test_impossible_goals_are_named(change: dict[str, object], words: str) -> None:
    with pytest.raises(PrivacyParameterError, match=words):
        Goal(**({"adjacency": Adjacency.ADD_REMOVE, "delta": 1e-5, "epsilon": 1.0} | change))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0, 1.0, 10.0), "length"),
        ((5, 0.0, 10.0), "l2_clip"),
        ((5, 1.0, math.nan), "scale"),
        ((5, 1.0, 0.1), "raise the scale"),
        ((5, 1.0, 1e12), "lower the scale"),
    ],
)
def test_impossible_preparations_are_named(arguments: tuple[int, float, float], words: str) -> None:
    with pytest.raises(PrivacyParameterError, match=words):
        Preparation(*arguments)


def test_noise_too_small_for_any_theorem_is_refused() -> None:
    with pytest.raises(PrivacyParameterError, match="below 1/2"):
        NoiseShare(0.49, 10, 1.0, 1.0)


@pytest.mark.parametrize("sigma", [math.nextafter(2.0**50, math.inf), 1e200, 1e308])
def test_noise_that_nobody_can_draw_is_refused_before_a_round_begins(sigma: float) -> None:
    with pytest.raises(PrivacyParameterError, match=r"above 2\*\*50"):
        NoiseShare(sigma, 10, 1.0, 1.0)
    assert NoiseShare(2.0**50, 10, 1.0, 1.0).draw().shape == (10,)


# More clients, more noise, more privacy, whatever the bounds on sums of discrete Gaussians say.


@given(
    dimension=st.integers(1, 4000),
    local_sigma=st.floats(0.5, 2.2),
    clients=st.integers(1, 1500),
    more=st.integers(1, 200),
    norm=st.floats(1, 150),
)
def test_more_clients_never_cost_more(dimension: int, local_sigma: float, clients: int, more: int, norm: float) -> None:
    share = NoiseShare(local_sigma, dimension, norm, norm * min(math.sqrt(dimension), norm))
    few, many = (epsilon_of(share.event(count, Adjacency.ADD_REMOVE), 1e-5) for count in (clients, clients + more))
    assert many <= few * (1 + 1e-9)


def test_sums_of_shares_pay_for_not_being_one_discrete_gaussian() -> None:
    sigma, clients, dimension = 1.95, 100, 1 << 12
    share = NoiseShare(sigma, dimension, 100.0, 1000.0)
    event = ideal(share.event(clients, Adjacency.ADD_REMOVE))
    assert isinstance(event, GaussianEvent)
    slack = 2 * dimension * summed_gaussians_ratio(sigma, clients) + SLACK
    mu = 100.0 / math.sqrt(clients * sigma**2 - smoothing_variance(dimension)) + math.sqrt(math.pi / 2) * slack
    assert mu * (1 - 1e-14) <= 1 / event.noise_multiplier <= mu * (1 + 1e-13)


@pytest.mark.parametrize("bins", [1, 2, 3])
@pytest.mark.parametrize("total", [1, 2, 3])
def test_replaced_counts_move_as_far_as_is_said_and_no_farther(bins: int, total: int) -> None:
    """All pairs of histograms of so many counts at most."""
    every = [counts for counts in itertools.product(range(total + 1), repeat=bins) if sum(counts) <= total]
    moves = [[abs(a - b) for a, b in zip(x, y, strict=True)] for x in every for y in every]
    share = NoiseShare(1.0, bins, total, total, nonnegative=True)
    l2, l1 = share.sensitivities(Adjacency.REPLACE_ONE)
    assert l1 == max(sum(move) for move in moves)
    farthest = max(sum(step * step for step in move) for move in moves)
    assert farthest <= Fraction(l2) ** 2 <= farthest * (1 + Fraction(1, 10**14))
    assert share.sensitivities(Adjacency.ADD_REMOVE) == (total, total)


def test_replaced_vectors_of_any_sign_move_by_twice_their_bound() -> None:
    assert NoiseShare(1.0, 3, 5.0, 7.0).sensitivities(Adjacency.REPLACE_ONE) == (10.0, 14.0)
