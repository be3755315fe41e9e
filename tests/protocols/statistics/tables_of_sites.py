"""Synthetic tables of several sites, and a question to them."""

import numpy as np

from protocols.core.threat_model import ThreatModel
from protocols.masking.config import RoundConfig
from protocols.statistics.columns import Levels, Number, even_edges
from protocols.statistics.plan import Plan
from protocols.statistics.query import Query, asked
from protocols.statistics.site import Site, SitePolicy

AGE = Number("age", 0, 120, 16, even_edges(0, 120, 12))
MASS = Number("mass", 30.0, 200.0, 20)
SEX = Levels("sex", ("f", "m"))
WARD = Levels("ward", ("east", "north", "south"))
COLUMNS = (AGE, MASS, SEX, WARD)
NAMES = frozenset(column.name for column in COLUMNS)


def rows(rng, count):
    """Columns of a site: in part missing, out of bounds, of other levels."""
    age = rng.normal(60, 25, count)
    mass = 40 + age / 2 + rng.normal(0, 20, count)
    mass[rng.random(count) < 0.1] = np.nan
    sex = rng.choice(["f", "m", "x", ""], count, p=[0.45, 0.45, 0.05, 0.05]).astype(object)
    return {"age": age, "mass": mass, "sex": sex, "ward": rng.choice(["east", "north", "south"], count)}


def sites(seed, counts, **policy):
    rng = np.random.default_rng(seed)
    given = SitePolicy(
        **({"columns": NAMES, "least_difference": 1, "max_cells_fraction": 1.0, "max_dominance": 1.0} | policy)
    )
    return {f"site-{at}": Site(rows(rng, count), given, "hospitals", None) for at, count in enumerate(counts)}


def query(*statistics, columns=COLUMNS, **rest):
    return Query("hospitals", columns, statistics or (asked("count"),), **rest)


def session(plan, count, **model):
    return RoundConfig(ThreatModel(count, **({"corrupt_fraction": 0.1, "dropout_fraction": 0.0} | model)), plan.vectors)


__all__ = ["AGE", "COLUMNS", "MASS", "NAMES", "SEX", "WARD", "Plan", "query", "rows", "session", "sites"]
