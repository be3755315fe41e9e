"""Private rounds end to end: what is summed, what is promised, what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dp.accounting import epsilon_of
from dp.audit import audit_epsilon
from dp.distributed import NoiseShare
from dp.events import Repeated
from dp.preparation import Preparation
from dp.sensitivity import Adjacency
from protocols.core import framing
from protocols.core.participants import Participants
from protocols.core.threat_model import Adversary, ThreatModel
from protocols.inputs.noisy_counts import NoisyCounts
from protocols.inputs.noisy_floats import NoisyFloats, rotation_seed
from protocols.inputs.vectors import FloatVector, IntegerVector, PrivateCounts, PrivateVector
from protocols.masking import wire
from protocols.masking.client import Client
from protocols.masking.config import RoundConfig
from protocols.masking.messages import ToClient
from protocols.masking.policy import ClientPolicy, PrivacyDemand
from protocols.masking.server import Server, closing
from protocols.masking.topology import GraphKind
from protocols.masking.transitions import ServerPhase
from protocols.privacy.explanation import explain
from protocols.privacy.plans import HistogramPlan, PrivatePlan
from protocols.simulation.masked import Simulation
from secagg.errors import EncodingError, MalformedMessage, ParameterError, ThresholdError
from secagg.randomness import SYSTEM

PHASES = (ServerPhase.ADVERTISE_KEYS, ServerPhase.SHARE_KEYS, ServerPhase.MASKED_INPUT, ServerPhase.UNMASKING)


def small_plan(num_clients: int = 12, **changes: Any) -> PrivatePlan:
    plan = {
        "threat_model": ThreatModel(num_clients, 0.1, 0.25),
        "length": 20,
        "l2_clip": 1.0,
        "epsilon": 2.0,
        "delta": 1e-5,
        "min_participants": 2,
    }
    return PrivatePlan(**(plan | changes))


LENIENT = ClientPolicy.permissive()


def run(
    config: RoundConfig, values: Mapping[int, np.ndarray], drops: Any = None, policy: ClientPolicy = LENIENT
) -> Any:
    (spec,) = config.vectors
    names = Participants.numbered(config.num_clients)
    silent = {phase: names.named(numbers) for phase, numbers in (drops or {}).items()}
    inputs = lambda name: {spec.name: values[names.number(name)]}  # noqa: E731
    return Simulation(config, inputs, silent, policy, threads=1).run()


def exchange(server: Server, clients: dict[str, Client], values: Callable[[str], np.ndarray]) -> None:
    """Run one phase."""
    for name, message in server.outgoing().items():
        server.receive(name, clients[name].respond(message, lambda name=name: {"update": values(name)}))  # type: ignore[misc]
    server.close_phase()


def joining(config: RoundConfig) -> dict[str, Client]:
    return {name: Client(policy=LENIENT) for name in Participants.numbered(config.num_clients)}


def invitation(config: RoundConfig) -> bytes:
    return next(iter(Server(config).outgoing().values()))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """All noise that is drawn, kept."""
    kept: list[np.ndarray] = []
    honest = NoiseShare.draw

    def draw(self: NoiseShare, **given: Any) -> np.ndarray:
        kept.append(honest(self, **given))
        return kept[-1].copy()

    monkeypatch.setattr(NoiseShare, "draw", draw)
    return kept


@pytest.mark.parametrize("adversary", list(Adversary))
@pytest.mark.parametrize("phase", [None, *PHASES])
def test_the_sum_is_exactly_the_prepared_vectors_and_their_noise(
    drawn: list[np.ndarray], monkeypatch: pytest.MonkeyPatch, adversary: Adversary, phase: ServerPhase | None
) -> None:
    prepared: list[np.ndarray] = []
    honest = Preparation.prepare_with

    def prepare(self: Preparation, values: np.ndarray, seed: bytes, source: Any) -> tuple[np.ndarray, bool]:
        levels, clipped = honest(self, values, seed, source)
        prepared.append(levels.copy())
        return levels, clipped

    monkeypatch.setattr(Preparation, "prepare_with", prepare)
    plan = small_plan(threat_model=ThreatModel(12, 0.1, 0.25, adversary))
    rng = np.random.default_rng(1)
    values = {i: rng.normal(size=20) for i in range(1, 13)}
    report = run(plan.config, values, {phase: {3, 7, 11}} if phase else {})
    in_sum = 12 if phase in (None, ServerPhase.UNMASKING) else 9
    assert len(report.result.survivors) == len(prepared) == len(drawn) == in_sum
    assert np.array_equal(report.result.levels["update"], sum(prepared) + sum(drawn))
    exact = sum(
        v / max(1.0, float(np.linalg.norm(v))) for i, v in values.items() if f"client-{i:02}" in report.result.survivors
    )
    off = report.result.sum("update") - exact
    assert np.abs(off).max() < 8 * plan.sum_deviation(12)
    assert np.abs(off).max() > 0.01 * plan.sum_deviation(9)
    assert report.result.mean("update") == pytest.approx(report.result.sum("update") / in_sum)


def test_the_result_says_what_it_cost_and_more_survivors_cost_less() -> None:
    plan = small_plan()
    values = {i: np.zeros(20) for i in range(1, 13)}
    everyone = run(plan.config, values).result
    fewest = run(plan.config, values, {ServerPhase.MASKED_INPUT: {1, 2, 3}}).result
    assert everyone.event().clients == 11  # one of twelve may be corrupt
    assert fewest.event().clients == 8 == plan.honest
    assert everyone.epsilon(1e-5) < fewest.epsilon(1e-5) <= 2.0
    assert fewest.event() == plan.event()
    assert epsilon_of(plan.event(), 1e-5) == pytest.approx(2.0, rel=1e-6)


def test_a_server_that_sums_too_few_gets_no_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    # The server's own check is switched off; the clients' is what must hold.
    monkeypatch.setattr(closing, "_check_minimum", lambda state, have: None)
    # On the ring, as in the complete graph the server's own threshold would be missed first.
    model = ThreatModel(12, 0.1, 0.25, Adversary.CURIOUS_SERVER)
    plan = small_plan(threat_model=model, graph=GraphKind.RING_FOR_RANDOM_DROPOUTS)
    server, clients = Server(plan.config), joining(plan.config)
    while server.phase is not ServerPhase.MASKED_INPUT:
        exchange(server, clients, lambda name: np.zeros(20))
    for name, message in list(server.outgoing().items())[:8]:
        server.receive(name, clients[name].respond(message, {"update": np.zeros(20)}))
    server.close_phase()
    asked = server.outgoing()
    assert len(asked) == 8
    for name, message in asked.items():
        with pytest.raises(ThresholdError) as refusal:
            clients[name].respond(message)
        assert (refusal.value.needed, refusal.value.have) == (9, 8)
    with pytest.raises(ThresholdError):
        server.close_phase()


# What a client demands, whatever the server proposes.


def demand(**changes: Any) -> ClientPolicy:
    return ClientPolicy.permissive(PrivacyDemand(**({"epsilon": 2.0, "delta": 1e-5} | changes)))


def accepts(config: RoundConfig, policy: ClientPolicy) -> bool:
    try:
        Client(policy=policy).respond(invitation(config))
    except ParameterError:
        return False
    return True


def test_a_client_checks_the_noise_by_itself() -> None:
    plan = small_plan()
    assert accepts(plan.config, demand())
    assert not accepts(plan.config, demand(epsilon=1.99))
    assert not accepts(plan.config, demand(delta=9e-6))
    assert not accepts(plan.config, demand(rounds=2))
    assert not accepts(plan.config, demand(adjacency=Adjacency.REPLACE_ONE))
    assert accepts(small_plan(rounds=2).config, demand(rounds=2))
    assert accepts(small_plan(adjacency=Adjacency.REPLACE_ONE).config, demand(adjacency=Adjacency.REPLACE_ONE))


def test_a_client_believes_neither_fewer_colluders_nor_fewer_survivors_nor_less_noise() -> None:
    config = small_plan().config
    (spec,) = config.vectors
    weaker = [
        RoundConfig(config.threat_model, (spec,), min_survivors=config.min_survivors - 1),
        RoundConfig(ThreatModel(12, 0.25, 0.25), (spec,), min_survivors=config.min_survivors),
        RoundConfig(config.threat_model, (less(spec, local_sigma=0.99),), min_survivors=config.min_survivors),
        RoundConfig(config.threat_model, (less(spec, l2_clip=1.01),), min_survivors=config.min_survivors),
        RoundConfig(config.threat_model, (less(spec, scale=1.01),), min_survivors=config.min_survivors),
        RoundConfig(config.threat_model, (spec, less(spec)), min_survivors=config.min_survivors),
        RoundConfig(config.threat_model, (FloatVector("update", 20),)),
    ]
    for proposal in weaker:
        assert not accepts(proposal, demand()), proposal
    trusting = RoundConfig(ThreatModel(12, 0.0, 0.25), (spec,), min_survivors=config.min_survivors)
    assert accepts(trusting, demand())  # more honest survivors, if none is corrupt ...
    sceptic = replace(demand(), corrupt_fraction=0.1)
    assert not accepts(trusting, sceptic)  # ... which this client does not believe


@pytest.mark.parametrize("scale", [2.0**15, 2.0**29])
def test_a_client_that_demands_privacy_is_not_worn_out_by_an_absurd_invitation(scale: float) -> None:
    # The first vector is accounted as Gaussian noise, with a loss beyond all grids; the second has no distribution.
    vectors = PrivateVector("u", 1, 1.0, scale, 3.0), PrivateVector("v", 1, 1.0, 8.0, 0.5)
    assert not accepts(RoundConfig(ThreatModel(20, 0.1, 0.2), vectors, min_survivors=16), demand())


def less(spec: PrivateVector, **factors: float) -> PrivateVector:
    values = {name: getattr(spec, name) for name in ("length", "l2_clip", "scale", "local_sigma")}
    values |= {name: values[name] * factor for name, factor in factors.items()}
    return PrivateVector("update" if factors else "second", **values)


def test_a_stricter_policy_holds_for_a_restored_session_too() -> None:
    plan = small_plan()
    client = Client(policy=LENIENT)
    client.respond(invitation(plan.config))
    assert Client.load(client.dump()).phase == client.phase
    with pytest.raises(ParameterError, match="demands at most 1"):
        Client.load(client.dump(), policy=demand(epsilon=1.0))


def test_private_rounds_have_ten_participants_unless_a_client_says_otherwise() -> None:
    assert small_plan(30).min_survivors >= 10
    nine = small_plan()  # may sum nine
    assert nine.min_survivors == 9
    assert not accepts(nine.config, ClientPolicy())
    assert accepts(nine.config, ClientPolicy(min_participants=9))
    assert accepts(small_plan(min_participants=10).config, ClientPolicy())
    plain = RoundConfig(ThreatModel(5, 0.1, 0.2), (FloatVector("update", 2),))
    assert accepts(plain, ClientPolicy())


def test_the_demand_survives_a_dump() -> None:
    plan = small_plan()
    client = Client.load(Client(policy=demand(epsilon=1.0)).dump())
    with pytest.raises(ParameterError, match="demands at most 1"):
        client.respond(invitation(plan.config))


# What no configuration may say.


@pytest.mark.parametrize(
    ("vectors", "changes", "words"),
    [
        ((PrivateVector("u", 4, 1.0, 8.0, 2.0), FloatVector("loss", 1)), {}, "'loss' has no noise"),
        ((PrivateVector("u", 4, 1.0, 8.0, 2.0), IntegerVector("n", 1)), {}, "'n' has no noise"),
        ((PrivateVector("u", 0, 1.0, 8.0, 2.0),), {}, "at least one coordinate"),
        ((PrivateVector("u", 4, 1.0, 8.0, 0.4),), {}, "below 1/2"),
        ((PrivateVector("u", 4, math.nan, 8.0, 2.0),), {}, "l2_clip"),
        ((PrivateVector("u", 4, 1.0, math.inf, 2.0),), {}, "scale"),
        ((PrivateVector("u", 4, 1.0, 8.0, 1e18),), {}, "above 2"),
        ((PrivateVector("u", 4, 1.0, 8.0, 1e308),), {}, "above 2"),
        ((PrivateCounts("c", 4, 0, 1, 2.0),), {}, "max_total"),
        ((PrivateCounts("c", 4, 1, 0, 2.0),), {}, "scale"),
        ((PrivateCounts("c", 4, 1 << 30, 1 << 30, 2.0),), {}, "steps"),
        ((PrivateVector("u", 4, 1.0, 8.0, 2.0),), {"min_survivors": 3}, "two more than may be corrupt"),
        ((PrivateVector("u", 4, 1.0, 8.0, 2.0),), {"max_weight": 5}, "no vector is weighted"),
    ],
)
def test_impossible_private_configurations_are_named(vectors: Any, changes: dict[str, int], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        RoundConfig(ThreatModel(20, 0.1, 0.2), vectors, **({"min_survivors": 16} | changes))


def test_noise_beyond_64_bits_is_refused() -> None:
    with pytest.raises(ParameterError, match="takes 65 bits"):
        NoisyFloats(PrivateVector("u", 1 << 20, 1.0, 8.0, 2.0**50), 1_000_000)


def test_small_groups_on_sparse_graphs_are_not_left_to_a_server_that_may_equivocate() -> None:
    model = ThreatModel(1000, 0.05, 0.05, Adversary.SEMI_MALICIOUS_SERVER)
    vector = PrivateVector("u", 4, 1.0, 8.0, 2.0)
    with pytest.raises(ParameterError, match=r"GraphKind\.COMPLETE"):
        RoundConfig(model, (vector,), min_survivors=950, graph=GraphKind.RANDOM_CYCLES)
    assert RoundConfig(model, (vector,), min_survivors=950).graph is GraphKind.COMPLETE
    assert small_plan(threat_model=model).config.graph is GraphKind.COMPLETE


@pytest.mark.parametrize(
    ("name", "value"),
    [("local_sigma", 0.1), ("scale", -1.0), ("l2_clip", math.nan), ("length", -3), ("length", 1 << 40)],
)
def test_hostile_noise_parameters_are_malformed_messages(name: str, value: float) -> None:
    good = invitation(small_plan().config)
    start, body = framing.HEADER_BYTES, msgspec.msgpack.decode(good[framing.HEADER_BYTES :])
    assert wire.decode(good, ToClient, max_bytes=1 << 20) is not None
    body[2][1][0][name] = value
    changed = msgspec.msgpack.encode(body)
    data = good[: start - framing.DIGEST_BYTES] + framing.digest(changed) + changed
    with pytest.raises(MalformedMessage, match="cannot be decoded"):
        wire.decode(data, ToClient, max_bytes=1 << 20)


# Encoding.


@given(
    length=st.integers(1, 40),
    num_clients=st.integers(4, 40),
    survivors=st.integers(1, 40),
    scale=st.floats(0.6, 1e4),
    sigma=st.floats(0.5, 1e4),
)
def test_noisy_sums_decode_exactly(length: int, num_clients: int, survivors: int, scale: float, sigma: float) -> None:
    survivors = min(survivors, num_clients)
    codec = NoisyFloats(PrivateVector("u", length, 1.0, scale, sigma), num_clients)
    rng = np.random.default_rng(length)
    total = np.zeros(codec.length, dtype=np.uint64)
    plain = np.zeros(codec.length, dtype=object)
    for _ in range(survivors):
        encoded = codec.encode(rng.normal(size=length), session_id=bytes(32))
        residues = encoded.residues.astype(np.uint64)
        total += residues
        half, full = 1 << (codec.modulus_bits - 1), 1 << codec.modulus_bits
        plain += np.array([int(r) - full if int(r) >= half else int(r) for r in residues], dtype=object)
    total &= np.uint64((1 << codec.modulus_bits) - 1)
    dtype = np.uint32 if codec.modulus_bits <= 32 else np.uint64
    levels = codec.decode(total.astype(dtype), num_summands=survivors)
    assert levels.tolist() == plain.tolist()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros(19), "shape"),
        (np.zeros(20, dtype=int), "floats"),
        ([0.0] * 20, "list"),
    ],
)
def test_bad_private_vectors_are_refused_and_can_be_corrected(values: Any, words: str) -> None:
    config = small_plan().config
    with pytest.raises(EncodingError, match=words):
        config.encode({"update": values}, session_id=bytes(32))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_vector_that_is_not_finite_is_sent_as_zeros(drawn: list[np.ndarray], bad: float) -> None:
    plan = small_plan()
    values = {i: np.full(20, 0.1) for i in range(1, 13)} | {4: np.array([0.1] * 19 + [bad])}
    result = run(plan.config, values).result
    exact = plan.codec.release(result.levels["update"] - sum(drawn), session_id=result._session_id)
    assert exact == pytest.approx(np.full(20, 1.1), abs=20 / plan.codec.spec.scale)
    assert plan.config.encode({"update": values[4]}, session_id=bytes(32))[0].num_clipped == 20


def test_the_rotation_is_the_sessions_and_the_vectors_own() -> None:
    seeds = {rotation_seed(s, n) for s in (bytes(32), b"1" * 32) for n in ("update", "other")}
    assert len(seeds) == 4


def test_clipping_is_told_to_the_client_alone() -> None:
    plan = small_plan()
    server, clients = Server(plan.config), joining(plan.config)
    while not server.ended:
        exchange(server, clients, lambda name: np.full(20, 1.0 if name == "client-04" else 0.01))
    assert clients["client-04"].num_clipped == {"update": 20}
    assert clients["client-05"].num_clipped == {"update": 0}


# Histograms.


def test_histograms_are_noisy_and_few_people_are_not_told_from_none() -> None:
    plan = HistogramPlan(threat_model=ThreatModel(60, 0.1, 0.1), bins=4, epsilon=8.0, delta=1e-5, least_count=10)
    votes = {i: np.eye(1, 4, 0 if i <= 50 else 1, dtype=np.int64)[0] for i in range(1, 61)}
    result = run(plan.config, votes).result
    counts = result.sum("counts")
    assert counts.dtype == np.int64
    assert abs(counts[0] - 50) < 8 * plan.sum_deviation(60)
    assert all(count == 0 or count >= 10 for count in counts)
    assert counts[2:].max() < 10
    assert not np.array_equal(result.levels["counts"], np.array([50, 10, 0, 0]) * plan.codec.spec.scale)
    assert result.epsilon(1e-5) <= 8.0


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([0.5, 0, 0, 0]), "array of integers"),
        (np.array([1, 0, 0]), "shape"),
    ],
)
def test_bad_counts_are_refused(values: np.ndarray, words: str) -> None:
    plan = HistogramPlan(threat_model=ThreatModel(60, 0.1, 0.1), bins=4, epsilon=8.0, delta=1e-5)
    with pytest.raises(EncodingError, match=words):
        plan.config.encode({"counts": values}, session_id=bytes(32))


@given(
    counts=st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 8), min_size=1, max_size=6),
    max_total=st.integers(1, 2**20),
    scale=st.integers(1, 2**20),
)
def test_counts_beyond_max_total_are_scaled_down_to_it(counts: list[int], max_total: int, scale: int) -> None:
    codec = NoisyCounts(PrivateCounts("c", len(counts), max_total, scale, 0.5), 2)
    levels, changed = codec.levels(np.array(counts, dtype=np.int64), b"", random=SYSTEM)
    positive = [max(0, count) for count in counts]
    total = sum(positive)
    assert levels.min() >= 0
    assert int(levels.sum()) <= max_total * scale
    assert changed == (total > max_total or min(counts) < 0)
    if total <= max_total:
        assert levels.tolist() == [count * scale for count in positive]
    else:
        assert int(levels.sum()) > max_total * scale - len(counts)  # each loses less than a step
        assert all(
            abs(level * total - count * max_total * scale) < total
            for level, count in zip(levels.tolist(), positive, strict=True)
        )


def test_unsigned_counts_beyond_64_bits_in_all_do_not_wrap() -> None:
    codec = NoisyCounts(PrivateCounts("c", 2, 4, 8, 0.5), 2)
    levels, changed = codec.levels(np.array([2**64 - 1, 2**64 - 1], dtype=np.uint64), b"", random=SYSTEM)
    assert (levels.tolist(), changed) == ([16, 16], True)


def test_counts_that_are_scaled_down_are_told_to_the_client_alone() -> None:
    plan = HistogramPlan(threat_model=ThreatModel(60, 0.1, 0.1), bins=4, epsilon=8.0, delta=1e-5)
    many, few = (
        plan.config.encode({"counts": np.array(c)}, session_id=bytes(32))[0] for c in ([1, 1, 0, 0], [1, 0, 0, 0])
    )
    assert (many.num_clipped, few.num_clipped) == (4, 0)


# The plan.


@given(
    num_clients=st.integers(12, 2000),
    corrupt=st.sampled_from([0.0, 0.05, 0.1, 0.3]),
    dropout=st.sampled_from([0.0, 0.05, 0.1, 0.3]),
    length=st.integers(1, 200_000),
    epsilon=st.floats(0.1, 16),
    rounds=st.integers(1, 50),
    adjacency=st.sampled_from(Adjacency),
)
@settings(max_examples=25)
def test_every_plan_keeps_its_promise(
    num_clients: int, corrupt: float, dropout: float, length: int, epsilon: float, rounds: int, adjacency: Adjacency
) -> None:
    model = ThreatModel(num_clients, corrupt, dropout)
    plan = PrivatePlan(
        threat_model=model,
        length=length,
        l2_clip=0.7,
        epsilon=epsilon,
        delta=1e-6,
        rounds=rounds,
        adjacency=adjacency,
    )
    assert plan.honest == max(10, model.min_survivors) - model.max_corrupt
    assert plan.epsilon_total <= epsilon
    worst = plan.config.event(plan.config.min_survivors, adjacency)
    assert epsilon_of(Repeated(worst, rounds), 1e-6) <= epsilon
    policy = PrivacyDemand(epsilon, 1e-6, rounds, adjacency, corrupt_fraction=0.0)  # the plan's, if greater
    policy.check(plan.config)
    with pytest.raises(ParameterError, match="demands at most"):
        PrivacyDemand(0.98 * epsilon, 1e-6, rounds, adjacency, 0.0).check(plan.config)


def test_a_narrow_modulus_costs_noise_or_says_what_would_do() -> None:
    wide = small_plan(100, length=1000, min_participants=10)
    narrow = small_plan(100, length=1000, min_participants=10, max_modulus_bits=wide.config.modulus_bits - 2)
    assert narrow.config.modulus_bits <= wide.config.modulus_bits - 2
    assert narrow.sum_deviation(100) > wide.sum_deviation(100)
    assert narrow.epsilon_total <= 2.0
    with pytest.raises(ParameterError, match=r"raise max_modulus_bits to \d+") as refusal:
        small_plan(100, length=1000, min_participants=10, max_modulus_bits=6)
    bits = int(str(refusal.value).split("raise max_modulus_bits to ")[1].split()[0])
    assert small_plan(100, length=1000, min_participants=10, max_modulus_bits=bits).epsilon_total <= 2.0
    with pytest.raises(ParameterError, match=r"epsilon to \d+") as refusal:
        small_plan(100, length=64, epsilon=0.05, min_participants=10, max_modulus_bits=12)
    epsilon = float(str(refusal.value).split("epsilon to ")[1])
    assert small_plan(100, length=64, epsilon=epsilon, min_participants=10, max_modulus_bits=12).codec


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"min_participants": 13}, "invite more"),
        ({"min_participants": 0}, "min_participants"),
        ({"epsilon": 0.0}, "epsilon"),
        ({"epsilon": None}, "either epsilon or noise_multiplier"),
        ({"delta": 1.0}, "delta"),
        ({"length": 0}, "length"),
        ({"l2_clip": -1.0}, "l2_clip"),
        ({"rounds": 0}, "rounds"),
        ({"max_modulus_bits": 64}, "max_modulus_bits"),
    ],
)
def test_impossible_plans_are_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        small_plan(**changes)


def test_a_plan_explains_itself() -> None:
    text = "\n".join(explain(small_plan(rounds=3)))
    for words in (
        "at least 9 inputs of 12",
        "8 honest",
        "clipped to an L2 norm of 1",
        "3 such rounds cost each client epsilon 2",
    ):
        assert words in text
    multiplier = small_plan(epsilon=None, noise_multiplier=3.0)
    assert multiplier.epsilon_total == pytest.approx(epsilon_of(multiplier.event(), 1e-5))


# An audit of the whole: many tiny rounds on neighbouring inputs.


def _audit(factor: float, runs: int) -> float:
    """Return a lower bound on epsilon, with confidence 1 - 1e-6, for rounds with `factor` times the planned noise."""
    model = ThreatModel(3, 0.0, 0.0)
    plan = small_plan(threat_model=model, length=1, epsilon=1.0, delta=1e-3, min_participants=2)
    (spec,) = plan.config.vectors
    config = RoundConfig(model, (less(spec, local_sigma=factor),), min_survivors=3)

    def on(there: float) -> Callable[[int], list[float]]:
        values = {1: np.array([there]), 2: np.zeros(1), 3: np.zeros(1)}
        return lambda count: [float(run(config, values).result.sum("update")[0]) for _ in range(count)]

    return audit_epsilon(on(1.0), on(0.0), runs=runs, delta=1e-3, confidence=1 - 1e-6).epsilon_lower


def test_an_audit_finds_no_more_than_was_promised() -> None:
    assert _audit(1.0, 200) <= 1.0


def test_an_audit_finds_rounds_with_a_thirteenth_of_the_noise() -> None:
    # None of 400 simulated audits found less than 1.39; with a tenth, 200 runs find too little once in 40 times.
    assert _audit(0.075, 250) > 1.0


@pytest.mark.parametrize(("bins", "more"), [(1, 1.0), (2, math.sqrt(2)), (50, math.sqrt(2))])
def test_replaced_counts_take_no_more_noise_than_they_move(bins: int, more: float) -> None:
    model = ThreatModel(200, 0.0, 0.1, Adversary.CURIOUS_SERVER)
    least, replaced = (
        HistogramPlan(threat_model=model, bins=bins, delta=1e-6, epsilon=1.0, adjacency=adjacency)
        for adjacency in Adjacency
    )
    assert replaced.sum_deviation(200) / least.sum_deviation(200) == pytest.approx(more, rel=0.02)
    assert replaced.epsilon_total <= 1.0
