"""An answer costs what its question says: the law of a whole release on small cases, and what the plan states."""

import math

import numpy as np
import pytest

from dp import Adjacency, Unit, delta_of
from dp.randomness import WordStream
from dp.rotation import rotate
from protocols.core.threat_model import Adversary, ThreatModel
from protocols.statistics.columns import Number
from protocols.statistics.private import NoisyPlan, PrivateQuestion
from protocols.statistics.private.features import Features
from protocols.statistics.private.plan import LEAST_STEPS, ROOM, ROUNDING_SHARE
from protocols.statistics.query import Query, asked
from protocols.statistics.rows import Table
from secagg.errors import ParameterError

from ...privacy.exact_mechanism import Floats, delta_between, released
from ..tables_of_sites import query, rows

MODEL = ThreatModel(6, 0.17, 0.17, Adversary.CURIOUS_SERVER)
COUNT = query(asked("count"), max_rows=3)
MIXED = query(asked("count"), asked("variance", "age"), asked("correlation", "age", "mass"), asked("histogram", "age"))


def plan(asked_query=COUNT, epsilon=4.0, delta=0.01, unit=Unit.RECORD, model=MODEL, **rest):
    question = PrivateQuestion(asked_query, epsilon, delta, unit, **rest)
    return NoisyPlan(question=question, threat_model=model, min_participants=2)


def deltas_of_neighbours(made, less=1.0):
    """The greatest delta at the question's epsilon between a release with a row and without it, over whole laws."""
    spec = made.rounds.codec.spec
    kind = Floats(spec.l2_clip, spec.scale, spec.max_records)
    sigma = spec.local_sigma * less
    half = math.ceil(9 * 2 * sigma + 8 * kind.bound)
    found = []
    for clients in ([[], [], [], []], [[1.0], [1.0, 1.0], [], [1.0]], [[1.0, 1.0, 1.0], [], [], []]):
        with_row = [[*clients[0], 1.0], *clients[1:]]  # of the last ones, the fourth row is beyond max_rows, and cut
        laws = [
            released(kind, data, rate=1.0, local_sigma=sigma, noisy=4, entries=1, half=half)
            for data in (clients, with_row)
        ]
        found.append(delta_between(*laws, made.question.epsilon))
    return found


@pytest.mark.parametrize(("epsilon", "delta"), [(4.0, 0.01), (2.0, 0.05)])
def test_the_law_of_a_released_count_costs_what_is_stated_and_hardly_less(epsilon, delta, monkeypatch):
    monkeypatch.setattr("protocols.statistics.private.plan.LEAST_STEPS", 400.0)  # so that laws are short
    made = plan(epsilon=epsilon, delta=delta)
    assert made.rounds.honest == 4
    found = deltas_of_neighbours(made)
    assert max(found) <= delta
    assert max(found) > 0.88 * delta  # the room in which nothing is rounded anew, and steps, take so little
    assert max(deltas_of_neighbours(made, less=0.96)) > delta  # a little less noise is found out


def test_what_is_stated_follows_from_the_configuration_alone():
    made = plan(MIXED, 1.0, 1e-5)
    event = made.config.event(made.rounds.min_survivors, Adjacency.ADD_REMOVE, Unit.RECORD)
    assert delta_of(event, 1.0) <= 1e-5
    assert delta_of(event, 0.99) > 1e-5
    assert made.rounds.epsilon_total <= 1.0


@pytest.mark.parametrize("unit", Unit)
def test_rows_stay_below_the_clip_with_room(unit):
    """None is clipped, so that sums are true; and the bound is no greater than it must be."""
    made = plan(MIXED, unit=unit)
    spec, norm = made.rounds.codec.spec, made.rounds.codec.preparation.norm
    bound = made.features.sensitivity * (1 if unit is Unit.RECORD else MIXED.max_rows)
    assert norm >= LEAST_STEPS
    assert norm - bound * spec.scale == pytest.approx(ROOM, rel=1e-6)
    assert spec.l2_clip <= bound * 1.0041


def test_a_smaller_clip_would_draw_rows_towards_zero():
    """What `ROOM` is for: at the bound itself, roundings that come out long are tried again, and sums are too short."""
    made = plan(MIXED)
    prepared = made.rounds.codec.preparation
    row = made.features.weights * 0
    for block, place in made.features.places.items():
        row[place.start] = made.features.weights[place.start] * (-1 if block[0] == "product" else 1)
    at_bound = row / np.linalg.norm(row) * prepared.l2_clip
    assert np.linalg.norm(row) == pytest.approx(made.features.sensitivity)

    def length(vector):
        """Along the row, in steps: by how much roundings are off in the mean, and the deviation of that."""
        words = WordStream(prepared.dimension, random=np.random.default_rng(3).bytes)
        levels, _ = prepared.prepare_rows(np.repeat(vector[None], 2000, axis=0), bytes(32), words)
        along = levels @ rotate(vector, bytes(32)) / np.linalg.norm(vector)
        return along.mean() - np.linalg.norm(vector) * prepared.scale, along.std() / math.sqrt(len(along))

    off, deviation = length(row)
    assert abs(off) < 6 * deviation  # false alarm 2e-9
    off, deviation = length(at_bound)
    assert off < -6 * deviation


def test_rounding_of_as_many_rows_as_there_may_be_adds_little():
    for most in (1, 1000, 1 << 20, 1 << 30):
        one = query(asked("mean", "age"), max_rows=most)
        made = plan(one, 1.0, 1e-5, model=ThreatModel(12, 0.1, 0.1))
        noise = made.rounds.sum_deviation(10) / made.features.weights
        assert np.all(noise <= made.deviations(10))
        assert np.all(made.deviations(10) <= noise * math.sqrt(1 + ROUNDING_SHARE))
    with pytest.raises(ParameterError, match="how many rows"):
        plan(query(asked("mean", "age"), max_rows=(1 << 40) - 1), 1.0, 1e-5)


def test_replacing_takes_twice_the_noise():
    add, replaced = plan(MIXED), plan(MIXED, adjacency=Adjacency.REPLACE_ONE)
    assert replaced.deviations(6)[0] == pytest.approx(2 * add.deviations(6)[0], rel=0.01)


def test_for_clients_noise_grows_with_the_rows_that_one_may_bring():
    one, many = (plan(query(asked("mean", "age"), max_rows=most), unit=Unit.CLIENT) for most in (1, 10))
    assert many.deviations(6)[0] == pytest.approx(10 * one.deviations(6)[0], rel=0.01)
    record = plan(query(asked("mean", "age"), max_rows=10))
    assert record.deviations(6)[0] == pytest.approx(one.deviations(6)[0], rel=0.01)


def test_encoded_rows_are_within_the_bound_that_noise_is_made_for():
    made = plan(MIXED)
    columns = rows(np.random.default_rng(5), 300)
    of = Features(MIXED)
    assert of == made.features

    table = Table(MIXED, columns)
    codec = made.rounds.codec
    changed = 0
    for block in of.rows(table, table.selected(300)):
        for row in block:
            levels, clipped = codec.levels(row[None], bytes(32), random=np.random.default_rng(1).bytes)
            assert np.linalg.norm(levels) <= codec.share.l2_bound
            changed += clipped
    assert changed == 0


def test_bounds_of_any_size_are_taken():
    huge = Query("d", (Number("x", -1e100, 1e100), Number("y", 0, 1e-100)), (asked("mean", "x"), asked("mean", "y")))
    assert plan(huge).features.sensitivity == pytest.approx(2)
