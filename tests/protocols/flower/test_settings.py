"""What a server may state: numbers of every kind that means one, words for choices, and precision that is kept."""

from pathlib import Path

import numpy as np
import pytest
from flwr.app import ArrayRecord
from flwr.serverapp import strategy as flower

from dp.sensitivity import Adjacency
from protocols.flower import Privacy, SecAgg, SecAggGrid, SecAggMod, SecAggSettings
from protocols.inputs.vectors import FloatVector
from secagg.encoding import Rounding
from secagg.errors import ParameterError, StateError

from .in_process import METRICS, MODEL, make_app, make_grid, train_messages, usual_training

GOAL = {"l2_clip": 1.0, "epsilon": 8.0, "delta": 1e-5}


def run(grid, settings):
    secure = SecAggGrid(grid, settings)
    replies = list(secure.send_and_receive(train_messages(nodes=list(grid.nodes)), timeout=5))
    return replies, secure.reports[-1]


# --- numbers and words ----------------------------------------------------------------------------------------------

WHOLE = ("min_survivors", "value_bits", "max_weight")
REAL = (
    "corrupt_fraction",
    "dropout_fraction",
    "clip",
    "metric_limit",
    "max_clipped_fraction",
    "max_step",
    "stage_timeout",
)


@pytest.mark.parametrize("name", [*WHOLE, *REAL])
def test_numpy_numbers_are_taken_as_numbers(name):
    plain = getattr(SecAggSettings(), name)
    kinds = (np.int64, np.uint32) if name in WHOLE else (np.float64, np.float32)
    for kind in kinds:
        settings = SecAggSettings(**{name: kind(plain)})
        assert getattr(settings, name) == pytest.approx(plain)
        assert type(getattr(settings, name)) is type(plain)
        settings.round_config(6, 3, 1, bytes(32))


@pytest.mark.parametrize("name", [*WHOLE, *REAL])
@pytest.mark.parametrize("value", ["0.3", True, np.True_, None, [1], np.array([1, 2]), 1j, np.nan])
def test_what_is_no_number_is_refused_by_name(name, value):
    with pytest.raises(ParameterError, match=rf"{name} is "):
        SecAggSettings(**{name: value})


@pytest.mark.parametrize("name", WHOLE)
def test_a_fraction_is_no_whole_number(name):
    with pytest.raises(ParameterError, match=rf"{name} is 2\.5"):
        SecAggSettings(**{name: 2.5})


@pytest.mark.parametrize(("name", "value"), [("graph", "no"), ("roster", 5), ("metrics", [np.str_("")])])
def test_other_fields_are_held_to_their_kinds(name, value):
    with pytest.raises(ParameterError):
        SecAggSettings(**{name: value})


def test_a_roster_may_be_a_path():
    settings = SecAggSettings(adversary="malicious-server", roster=Path("keys") / "roster.json")
    assert settings.roster == str(Path("keys") / "roster.json")


@pytest.mark.parametrize("given", ["replace-one", Adjacency.REPLACE_ONE])
def test_a_word_for_an_adjacency_is_that_adjacency(given):
    """A look-alike halved the noise, and claimed the epsilon all the same."""
    wanted = SecAggSettings(privacy=Privacy(**GOAL, adjacency=Adjacency.REPLACE_ONE))
    settings = SecAggSettings(privacy=Privacy(**GOAL, adjacency=given))
    plans = [each.private_plan(20, 10, bytes(32)) for each in (settings, wanted)]
    assert settings.privacy.adjacency is Adjacency.REPLACE_ONE
    assert plans[0].codec.share.local_sigma == plans[1].codec.share.local_sigma


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("adjacency", "replace_one"),
        ("adjacency", 1),
        ("epsilon", "8"),
        ("epsilon", True),
        ("delta", None),
        ("l2_clip", "1"),
        ("rounds", 2.5),
        ("rounds", True),
        ("min_participants", 0.5),
        ("noise_multiplier", "1"),
        ("budget", 5),
    ],
)
def test_what_privacy_cannot_be_is_refused_at_once_and_by_name(field, value):
    with pytest.raises(ParameterError, match=f"{field} is"):
        Privacy(**(GOAL | {"subject": "s"} if field == "budget" else GOAL) | {field: value})


def test_privacy_takes_numpy_numbers():
    numpy = Privacy(l2_clip=np.float32(1), epsilon=np.float64(8), delta=np.float64(1e-5), rounds=np.int64(2))
    plain = Privacy(**GOAL, rounds=2)
    assert numpy == plain
    assert SecAggSettings(privacy=numpy).private_plan(20, 10, bytes(32)) is not None


# --- precision ------------------------------------------------------------------------------------------------------


def half(arrays, partition):
    return [array + 0.5 if array.dtype.kind == "f" else array for array in arrays], {"num-examples": 10}


def test_a_mean_that_rounding_has_eaten_is_an_error_with_the_right_remedy():
    """It was 0.0 in the place of 0.5, without a word."""
    strategy = SecAgg(flower.FedAvg(fraction_evaluate=0.0), max_weight=10**9)
    with pytest.raises(StateError, match=r"lower max_weight to the most .*10 on average.*or raise value_bits"):
        strategy.start(make_grid(make_app(half)), ArrayRecord(MODEL), num_rounds=1, timeout=5)


def test_the_remedies_help():
    for remedy in ({"max_weight": 10}, {"value_bits": 37}):
        (reply,), report = run(make_grid(make_app(half)), SecAggSettings(**({"max_weight": 10**9} | remedy)))
        assert report.step <= 0.01
        np.testing.assert_allclose(reply.content["arrays"].to_numpy_ndarrays()[1], MODEL[1] + 0.5, atol=report.step)


def test_the_step_is_known_beforehand_and_bounds_what_rounding_does():
    settings = SecAggSettings(metrics=METRICS, value_bits=14, max_step=1.0)
    (reply,), report = run(make_grid(make_app(usual_training)), settings)
    assert report.step == pytest.approx(settings.step(sum(range(10, 16)) / 6))
    assert settings.step(10_000) == pytest.approx(1 / (2**13 - 1))
    moved = reply.content["arrays"].to_numpy_ndarrays()[1] - MODEL[1]
    weights = np.arange(10, 16)
    exact = -0.05 * (weights * np.arange(6)).sum() / weights.sum()
    assert np.abs(moved - exact).max() <= report.step


@pytest.mark.parametrize(("bits", "step"), [(7, 0.01), (22, 1e-9)])
def test_a_step_that_no_weights_reach_is_refused_at_once(bits, step):
    with pytest.raises(ParameterError, match="raise value_bits"):
        SecAggSettings(value_bits=bits, max_step=step)


# --- what a node lets a server choose -------------------------------------------------------------------------------


def test_a_server_cannot_have_most_of_an_update_clipped():
    """With a tiny clip that is the sign of each coordinate; with one heavy node, that node's."""
    settings = SecAggSettings(metrics=METRICS, clip=1e-9, max_clipped_fraction=1.0)
    with pytest.raises(ParameterError, match=r"lets 1 of an update be clipped, but this app 0\.01"):
        run(make_grid(make_app(usual_training)), settings)
    app = make_app(usual_training, mods=[SecAggMod(max_clipped_fraction=1.0)])
    (reply,), report = run(make_grid(app), settings)
    assert reply.has_content()
    assert report.num_clipped > 0


def test_a_server_cannot_have_updates_rounded_to_the_nearest(monkeypatch):
    """Two bits and a large clip would tell which coordinates are beyond half the clip."""
    honest = SecAggSettings._vectors

    def nearest(self, *numbers):
        first, *others = honest(self, *numbers)
        changed = FloatVector(first.name, first.length, first.clip, first.value_bits, rounding=Rounding.NEAREST)
        return (changed, *others)

    monkeypatch.setattr(SecAggSettings, "_vectors", nearest)
    with pytest.raises(ParameterError, match="other limits than this adapter knows"):
        run(make_grid(make_app(usual_training)), SecAggSettings(metrics=METRICS))
