"""Whether a client answers a private round must say nothing of its data: each bisection here once read a value exactly.

The server chooses what values are held against (a model with huge weights, `max_total`) and watches who answers. No
noise covers that.
"""

from collections.abc import Callable

import numpy as np
import pytest

from protocols import ClientPolicy, PrivacyDemand
from protocols.core.threat_model import ThreatModel
from protocols.flower import Privacy, SecAggGrid, SecAggMod, SecAggSettings
from protocols.masking.client import Client
from protocols.masking.config import RoundConfig
from protocols.masking.server import Server
from protocols.masking.transitions import ServerPhase
from protocols.privacy.plans import HistogramPlan, PrivatePlan
from secagg.errors import EncodingError, ParameterError

from ..protocols.flower.conftest import flower_home  # noqa: F401 - a home of the test's own
from ..protocols.flower.in_process import NODE_IDS, make_app, make_grid, train_messages

MODEL = ThreatModel(12, 0.1, 0.25)
LENIENT = ClientPolicy(min_participants=2)


def bisected(answers: Callable[[int], bool], low: int, high: int) -> int:
    """Find the least limit that is answered, as a server would that has nothing but answers and silences."""
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if answers(middle) else (middle + 1, high)
    return low


def answer(config: RoundConfig, vector: np.ndarray) -> bytes | None:
    """Bring one client to its masked input; None where it stays silent."""
    server, (spec,) = Server(config), config.vectors
    clients = {name: Client(policy=LENIENT) for name in server.participants.names}
    while server.phase is not ServerPhase.MASKED_INPUT:
        for name, message in server.outgoing().items():
            server.receive(name, clients[name].respond(message))
        server.close_phase()
    name, message = next(iter(server.outgoing().items()))
    try:
        return clients[name].respond(message, {spec.name: vector})
    except EncodingError:
        return None


def test_the_most_that_counts_may_sum_to_does_not_tell_what_they_sum_to():
    counts = np.array([100, 20, 3, 0])

    def answers(max_total: int) -> bool:
        plan = HistogramPlan(
            threat_model=MODEL, bins=4, max_total=max_total, epsilon=0.1, delta=1e-5, min_participants=2
        )
        return answer(plan.config, counts) is not None

    assert bisected(answers, 1, 1024) == 1  # it was 123


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_values_that_overflow_are_no_silence(bad):
    plan = PrivatePlan(threat_model=MODEL, length=20, l2_clip=1.0, epsilon=2.0, delta=1e-5, min_participants=2)
    finite = answer(plan.config, np.zeros(20))
    with np.errstate(over="ignore"):
        got = answer(plan.config, np.full(20, bad, dtype=np.float32))
    assert got is not None
    assert len(got) == len(finite)


DATA = np.array([3.0, 4.0, 12.0])  # a sum of squares of 169
EPSILON, DELTA = 8.0, 1e-5


def overflowing(arrays, partition):
    """A model whose update grows with the data: beyond the floats where the server's weight is large enough."""
    with np.errstate(over="ignore", invalid="ignore"):
        return [arrays[0] * np.float32(DATA @ DATA)], {"num-examples": 1}


def raising(arrays, partition):
    """As scikit-learn does, which refuses infinities by an exception."""
    moved, metrics = overflowing(arrays, partition)
    if not np.isfinite(moved[0]).all():
        raise ValueError("Input X contains infinity")
    return moved, metrics


def other_shape(arrays, partition):
    """As many rows as the data have classes."""
    moved, metrics = overflowing(arrays, partition)
    return [moved[0] if np.isfinite(moved[0]).all() else np.zeros((2, 3))], metrics


def leaving(arrays, partition):
    """As scripts do that have found something wrong."""
    moved, metrics = overflowing(arrays, partition)
    if not np.isfinite(moved[0]).all():
        raise SystemExit(1)
    return moved, metrics


@pytest.mark.parametrize("training", [overflowing, raising, leaving, other_shape])
def test_a_weight_that_makes_training_overflow_does_not_tell_at_which_data(training):
    """A bisection read 169 from who answered, and none of its rounds counted as one that the node takes part in."""
    demand = PrivacyDemand(EPSILON, DELTA, rounds=5)
    mod = SecAggMod(policy=ClientPolicy(min_participants=6, privacy=demand))
    grid = make_grid(make_app(training, mods=(mod,)), 10)
    privacy = Privacy(l2_clip=1.0, epsilon=EPSILON, delta=DELTA, rounds=5, min_participants=6)
    settings = SecAggSettings(corrupt_fraction=0.1, dropout_fraction=0.3, privacy=privacy)
    largest = float(np.finfo(np.float32).max)

    def finite(sum_of_squares: int) -> bool:
        secure = SecAggGrid(grid, settings)
        content = train_messages([np.full(5, largest / (sum_of_squares + 0.5), dtype=np.float32)], NODE_IDS)
        list(secure.send_and_receive(content, timeout=5))
        return not secure.reports[-1].failures

    assert bisected(finite, 160, 191) == 160  # it was 169
    with pytest.raises(ParameterError, match="5 private rounds, in all runs together"):
        finite(160)
    assert b"infinity" not in b"".join(grid.from_nodes)
