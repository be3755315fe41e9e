import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.groups import Rule, combine
from secagg.errors import ParameterError

ROBUST = [rule for rule in Rule if rule is not Rule.SUM]
GROUPS, SPOILT, LENGTH = 11, 4, 30


def means(seed=0, groups=GROUPS, length=LENGTH):
    return np.random.default_rng(seed).normal(size=(groups, length)) + 3


def flowers(vectors):
    """As Flower's functions take them: two layers a client, and one example each."""
    return [([vector[:20].reshape(4, 5), vector[20:]], 1) for vector in vectors]


def flat(layers):
    return np.concatenate([layer.ravel() for layer in layers])


@pytest.mark.parametrize("seed", range(5))
def test_flowers_own_functions_give_the_same(seed):
    from flwr.server.strategy import aggregate as flower

    vectors = means(seed)
    nearest = GROUPS - SPOILT - 2
    theirs = {
        Rule.SUM: flower.aggregate(flowers(vectors)),
        Rule.MEDIAN: flower.aggregate_median(flowers(vectors)),
        Rule.TRIMMED_MEAN: flower.aggregate_trimmed_avg(flowers(vectors), SPOILT / GROUPS + 1e-9),
        Rule.KRUM: flower.aggregate_krum(flowers(vectors), SPOILT, 0),
        Rule.MULTI_KRUM: flower.aggregate_krum(flowers(vectors), SPOILT, nearest),
    }
    for rule, value in theirs.items():
        made = combine(rule, vectors, 0 if rule is Rule.SUM else SPOILT)
        np.testing.assert_allclose(made.value, flat(value), rtol=1e-13, err_msg=str(rule))
    assert np.array_equal(combine(Rule.KRUM, vectors, SPOILT).value, flat(theirs[Rule.KRUM]))


def test_flower_weighs_the_mean_alike():
    from flwr.server.strategy import aggregate as flower

    vectors, weights = means(), [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5]
    theirs = flower.aggregate([([vector], weight) for vector, weight in zip(vectors, weights, strict=True)])[0]
    made = combine(Rule.SUM, vectors, 0, weights=weights, max_weight=9)
    np.testing.assert_allclose(made.value, theirs, rtol=1e-13)


def test_weights_are_bounded():
    vectors, weights = means(), [1.0] * 10 + [1e9]
    bounded = combine(Rule.SUM, vectors, 0, weights=weights, max_weight=1)
    np.testing.assert_allclose(bounded.value, vectors.mean(axis=0))
    unbounded = combine(Rule.SUM, vectors, 0, weights=weights, max_weight=1e9)
    np.testing.assert_allclose(unbounded.value, vectors[-1], rtol=1e-6)


def test_norm_clipping_shortens_and_means():
    vectors = np.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0], [0.0, 1.0], [60.0, 80.0]])
    made = combine(Rule.NORM_CLIPPED_MEAN, vectors, 2)
    assert made.radius == 1.0  # the median length
    np.testing.assert_allclose(made.value, [(0.6 + 0.3 + 0.6) / 5, (0.8 + 0.4 + 1 + 0.8) / 5])
    given = combine(Rule.NORM_CLIPPED_MEAN, vectors, 2, radius=5, weights=[0, 0, 1, 0, 1])
    np.testing.assert_allclose(given.value, [1.5, 2.0])
    np.testing.assert_allclose(given.distances[2], 2.5)


def test_centred_clipping_takes_steps_of_the_papers_formula():
    vectors, centre = means(), np.ones(LENGTH)
    value = centre.copy()
    for _ in range(3):
        value += np.mean([(x - value) * min(1, 2.0 / np.linalg.norm(x - value)) for x in vectors], axis=0)
    made = combine(Rule.CENTRED_CLIPPING, vectors, SPOILT, radius=2.0, centre=centre)
    np.testing.assert_allclose(made.value, value)
    from_median = combine(Rule.CENTRED_CLIPPING, vectors, SPOILT)
    assert from_median.radius == pytest.approx(
        np.median(np.linalg.norm(vectors - np.median(vectors, axis=0), axis=1)), rel=0.5
    )


def pull(vectors, value):
    """Of unit vectors towards all that are elsewhere, less one for each that is there: at most 0 at the median."""
    away = vectors - value
    norms = np.linalg.norm(away, axis=1)
    there = norms < 1e-9
    towards = (away[~there] / norms[~there, None]).sum(axis=0)
    return float(np.linalg.norm(towards)) - there.sum()


@pytest.mark.parametrize("seed", range(5))
def test_the_geometric_median_is_pulled_nowhere(seed):
    vectors = means(seed)
    assert pull(vectors, combine(Rule.GEOMETRIC_MEDIAN, vectors, SPOILT).value) < 1e-9
    vectors[:6] = vectors[0]  # more than half at one place
    assert np.allclose(combine(Rule.GEOMETRIC_MEDIAN, vectors, SPOILT).value, vectors[0], atol=1e-12)


def test_the_geometric_median_of_known_figures():
    # Fermat's point of an equilateral triangle is its centre; of a square, where the diagonals meet.
    triangle = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, math.sqrt(3) / 2]])
    np.testing.assert_allclose(combine(Rule.GEOMETRIC_MEDIAN, triangle, 1).value, [0.5, math.sqrt(3) / 6], atol=1e-11)
    # Beyond an angle of 120 degrees it is the corner itself.
    blunt = np.array([[0.0, 0.0], [10.0, 0.1], [-10.0, 0.1]])
    np.testing.assert_allclose(combine(Rule.GEOMETRIC_MEDIAN, blunt, 1).value, [0.0, 0.0], atol=1e-9)
    line = np.array([[0.0], [1.0], [2.0], [50.0], [60.0]])
    assert combine(Rule.GEOMETRIC_MEDIAN, line, 2).value[0] == pytest.approx(2.0, abs=1e-9)


@settings(max_examples=150, deadline=None)
@given(
    rule=st.sampled_from(ROBUST),
    seed=st.integers(0, 2**32),
    size=st.sampled_from([1e-3, 1.0, 30.0, 1e6, 1e100]),
    same=st.booleans(),
)
def test_what_is_borne_moves_no_rule_far(rule, seed, size, same):
    rng = np.random.default_rng(seed)
    honest = rng.normal(size=(GROUPS - SPOILT, 6))
    lies = size * rng.normal(size=(1 if same else SPOILT, 6)) * np.ones((SPOILT, 1))
    vectors = np.concatenate([honest, lies])[rng.permutation(GROUPS)]
    value = combine(rule, vectors, SPOILT).value
    assert np.isfinite(value).all()
    reach, share = np.linalg.norm(honest, axis=1).max(), SPOILT / GROUPS
    if rule is Rule.GEOMETRIC_MEDIAN:  # Minsker 2015, lemma 2.1
        assert np.linalg.norm(value) <= reach * (1 - share) / math.sqrt(1 - 2 * share)
    assert np.linalg.norm(value) <= 5 * reach
    if rule in (Rule.MEDIAN, Rule.TRIMMED_MEAN):
        assert (honest.min(axis=0) <= value).all()
        assert (value <= honest.max(axis=0)).all()


@pytest.mark.parametrize("rule", [Rule.MEDIAN, Rule.TRIMMED_MEAN, Rule.KRUM, Rule.MULTI_KRUM, Rule.GEOMETRIC_MEDIAN])
def test_one_more_than_half_moves_it_anywhere(rule):
    vectors = np.concatenate([means(groups=5), np.full((6, LENGTH), 1e9)])
    assert combine(rule, vectors, 4).value[0] > 5e8


def test_what_rules_bear():
    assert [Rule.SUM.bears(n) for n in (0, 1, 2, 9)] == [-1, 0, 0, 0]
    for rule in ROBUST:
        for groups in range(60):
            bears = rule.bears(groups)
            assert bears < 0 or rule.fewest(bears) <= groups < rule.fewest(bears + 1)
            assert bears >= 0 or groups < rule.fewest(0)
    assert Rule.MEDIAN.bears(11) == 5
    assert Rule.KRUM.bears(11) == 4


def test_the_result_names_the_rule_and_the_groups_and_nobody():
    vectors = means()
    made = combine("trimmed-mean", vectors, 3)
    assert (made.rule, made.groups, made.bears, made.radius) == (Rule.TRIMMED_MEAN, 11, 3, None)
    np.testing.assert_allclose(made.distances, np.linalg.norm(vectors - made.value, axis=1))
    assert "value" not in repr(made)


def test_of_groups_that_krum_finds_alike_it_takes_the_first():
    """60 groups, each with an axis of its own: 20 far out, and 40 nearer ones that are all as far from each other."""
    far = np.arange(60) < 20
    vectors = np.diag(np.where(far, 3.0, 1.0))
    assert np.array_equal(combine(Rule.KRUM, vectors, 28).value, vectors[20])
    assert np.array_equal(combine(Rule.MULTI_KRUM, vectors, 28).value, vectors[20:50].mean(axis=0))


@pytest.mark.parametrize("rule", ROBUST)
def test_lies_whose_squares_are_beyond_the_floats_are_borne_without_a_warning(rule):
    vectors = means()
    vectors[:SPOILT] = 1e200
    value = combine(rule, vectors, SPOILT).value
    assert np.abs(value).max() < 20


def test_a_geometric_median_holds_back_who_would_leave_it():
    """Steps from vector to vector would go there and back a thousand times, and end nearby."""
    vectors = [[1.0, 2.0, 0.0], [-1.0, 0.0, -1.0], [1.0, 2.0, -2.0], [1.0, 2.0, -1.0]]
    np.testing.assert_allclose(combine(Rule.GEOMETRIC_MEDIAN, vectors, 1).value, vectors[3], atol=1e-12)


@pytest.mark.parametrize("rule", Rule)
def test_noise_grows_as_the_plan_says(rule):
    groups, spoilt = (25, 0) if rule is Rule.SUM else (25, 5)
    rng = np.random.default_rng(3)
    noise = rng.normal(size=(groups, 40_000))  # of a group's mean; of one sum over all it is 1 / groups of that
    parts = np.split(noise, 100 if rule in (Rule.KRUM, Rule.MULTI_KRUM) else 1, axis=1)
    given = {"radius": 1e9} if rule.clips else {}
    measured = np.std(np.concatenate([combine(rule, part, spoilt, **given).value for part in parts])) * groups
    planned = rule.estimated_noise_factor(groups, spoilt)
    assert measured < planned * 1.02
    if rule not in (Rule.TRIMMED_MEAN, Rule.GEOMETRIC_MEDIAN, Rule.KRUM, Rule.MULTI_KRUM):
        assert measured > planned * 0.95


@pytest.mark.parametrize(
    ("rule", "given", "says"),
    [
        (Rule.SUM, {"spoilt": 1}, "sum of 11 groups bears 0"),
        (Rule.MEDIAN, {"spoilt": 6}, "median of 11 groups bears 5"),
        (Rule.KRUM, {"spoilt": 5}, "krum of 11 groups bears 4"),
        (Rule.MEDIAN, {"spoilt": -1}, "spoilt"),
        (Rule.MEDIAN, {"weights": [1] * 11}, "weighs all groups alike"),
        (Rule.MEDIAN, {"radius": 1.0}, "has no radius"),
        (Rule.NORM_CLIPPED_MEAN, {"radius": 0.0}, "radius"),
        (Rule.NORM_CLIPPED_MEAN, {"centre": np.zeros(LENGTH)}, "has no centre"),
        (Rule.CENTRED_CLIPPING, {"centre": np.zeros(3)}, "centre has 3 numbers"),
        (Rule.SUM, {"weights": [1] * 10}, "10 weights for 11 groups"),
        (Rule.SUM, {"weights": [0] * 11}, "no group has a say"),
        (Rule.SUM, {"weights": [-1] + [1] * 10}, "a weight"),
        (Rule.SUM, {"means": [[1.0, math.nan]]}, "finite"),
        (Rule.SUM, {"means": [1.0, 2.0]}, "a row for each group"),
        (Rule.SUM, {"means": np.zeros((0, 3))}, "a row for each group"),
        (Rule.SUM, {"means": [["a"]]}, "means: floats or integers"),
        (Rule.SUM, {"means": [[True]]}, "finite numbers"),
        (Rule.SUM, {"means": [[1.0], [1.0, 2.0]]}, "means: a list cannot be read"),
        (Rule.MEDIAN, {"means": np.ma.masked_greater(means(), 3)}, "means: a masked array hides"),
        (Rule.MEDIAN, {"means": [*means()[:2], np.ma.masked_greater(means()[2], 3)]}, "means: a masked array hides"),
        (Rule.CENTRED_CLIPPING, {"centre": np.ma.masked_equal(np.zeros(LENGTH), 0)}, "centre: a masked array hides"),
        (Rule.CENTRED_CLIPPING, {"centre": np.full(LENGTH, math.inf)}, "centre: .* finite numbers, one for each coord"),
        (Rule.CENTRED_CLIPPING, {"centre": 1.0}, r"centre: float64 of shape \(\), but must be finite numbers"),
    ],
)
def test_what_is_not_combined(rule, given, says):
    with pytest.raises(ParameterError, match=says):
        combine(rule, **({"means": means(), "spoilt": 0} | given))


def test_a_geometric_median_at_one_of_the_vectors_is_found_however_slowly_steps_get_there():
    """The others draw with a force just below 1: Weiszfeld's own steps end a thousandth away."""
    honest = np.array([[0.3, 0.1], [1.3, 0.1], [0.5, -2.0]])
    units = (honest[1:] - honest[0]) / np.linalg.norm(honest[1:] - honest[0], axis=1)[:, None]
    drawn = units.sum(axis=0)
    across = np.array([-drawn[1], drawn[0]]) / np.linalg.norm(drawn)
    towards = drawn / 2 + np.sqrt(1 - drawn @ drawn / 4) * across - drawn
    for far in (0.5, 3.0, 1e3):
        vectors = [*honest, honest[0] + far * towards]
        assert np.array_equal(combine(Rule.GEOMETRIC_MEDIAN, vectors, 1).value, honest[0])


def test_what_is_next_to_nothing_away_makes_no_geometric_median_undefined():
    for tiny in (5e-324, 1e-310):
        vectors = [np.zeros(3), np.zeros(3), np.zeros(3), np.full(3, tiny)]
        assert np.array_equal(combine(Rule.GEOMETRIC_MEDIAN, vectors, 1).value, np.zeros(3))
