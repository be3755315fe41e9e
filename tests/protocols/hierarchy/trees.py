"""Small hierarchies: terms, inputs that follow from a name, and what they come to in clear."""

import zlib
from functools import cache

import numpy as np

from protocols import ClientPolicy, FloatVector, Inputs, IntegerVector, RoundConfig, ThreatModel
from protocols.hierarchy import Consent, Hierarchy, Level
from protocols.simulation.masked import run_locally

VECTORS = (
    FloatVector("update", 7, clip=2.0, value_bits=12, weighted=True, rounding="nearest"),
    FloatVector("metrics", 2, clip=1.0, value_bits=8, rounding="nearest"),
    IntegerVector("counts", 3, max_value=9, min_value=-3),
)
MAX_WEIGHT = 6
ANY = {"policy": ClientPolicy.permissive(), "consent": Consent(min_honest=0)}


def hierarchy_of(*sizes, vectors=VECTORS, max_weight=MAX_WEIGHT, **fields):
    """Levels of so many members at most; a size may be a pair of least and most."""
    bounds = [size if isinstance(size, tuple) else (size, size) for size in sizes]
    fields = {"dropout_fraction": 0.25} | fields
    levels = (Level(f"level-{place}", most, least, **fields) for place, (least, most) in enumerate(bounds))
    return Hierarchy(tuple(levels), vectors, max_weight)


@cache
def inputs(name):
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    values = {
        "update": rng.normal(size=7) * 1.5,
        "metrics": rng.normal(size=2),
        "counts": rng.integers(-3, 10, size=3),
    }
    return Inputs(values, weight=int(rng.integers(0, MAX_WEIGHT + 1)))


def flat(names):
    """The result of one session over these clients."""
    model = ThreatModel(len(names), 0.0, 0.0)
    return run_locally(RoundConfig(model, VECTORS, max_weight=MAX_WEIGHT), {name: inputs(name) for name in names})


def assert_same(total, names):
    """A total must be, bit by bit, the result of one session over these clients."""
    one = flat(names)
    assert total.num_clients == len(names)
    assert total.total_weight == one.total_weight
    assert total.num_clipped == one.num_clipped
    assert total.levels.keys() == one.levels.keys()
    for name in one.levels:
        assert total.levels[name].tobytes() == one.levels[name].tobytes()
        assert total.levels[name].dtype == one.levels[name].dtype
        assert total.sum(name).tobytes() == one.sum(name).tobytes()
        assert total.mean(name).tobytes() == one.mean(name).tobytes()
