"""Rounds between reservation and commitment: which ends cost what, and crashes between any two steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dp.errors import BudgetExceededError, LedgerBusyError, LedgerConflictError, PrivacyParameterError
from dp.events import Repeated
from dp.ledger import Budget, Composition, Ledger, Reservation, ReservationStatus
from dp.sensitivity import Adjacency, Unit
from protocols.core.listener import PhaseOpened, Transition
from protocols.core.participants import Participants
from protocols.core.threat_model import ThreatModel
from protocols.masking.client import Client
from protocols.masking.policy import ClientPolicy
from protocols.masking.server import Server
from protocols.masking.transitions import ServerPhase
from protocols.privacy.payment import PaidRound, round_id_of
from protocols.privacy.plans import HistogramPlan, PrivatePlan
from protocols.simulation.masked import Simulation
from protocols.simulation.paid import pay
from secagg.errors import StateError, ThresholdError

NAMES = Participants(f"clinic-{i:02}" for i in range(1, 13))


FEW = Participants(f"clinic-{i:02}" for i in range(1, 5))
"""Enough to be first, last and between where every step is a case of its own."""


def plan_for(epsilon: float, num_clients: int = 12) -> PrivatePlan:
    model = ThreatModel(num_clients, 0.1, 0.25)
    return PrivatePlan(threat_model=model, length=3, l2_clip=1.0, epsilon=epsilon, delta=1e-5, min_participants=2)


PLAN = plan_for(4.0)
PLAN_OF_FEW = plan_for(4.0, len(FEW))
COLLECTED = (
    ServerPhase.ADVERTISE_KEYS,
    ServerPhase.SHARE_KEYS,
    ServerPhase.MASKED_INPUT,
    ServerPhase.CONSISTENCY_CHECK,
    ServerPhase.UNMASKING,
)
UNREVEALED = COLLECTED[:4]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(tmp_path) as opened:
        yield opened


def open_ledger(folder: Path, epsilon: float = 8.0) -> Ledger:
    ledger = Ledger.open(str(folder / "ledger.sqlite"), create=True)
    ledger.create(Budget("study", epsilon, "1e-5", adjacency=Adjacency.ADD_REMOVE, composition=Composition.RENYI))
    return ledger


def clients() -> dict[str, Client]:
    return {name: Client(policy=ClientPolicy.permissive()) for name in NAMES}


def drive(server: Server, those: dict[str, Client], silent: dict[ServerPhase, int] | None = None) -> None:
    """Run to the end; in a phase, so many of the first clients say nothing."""
    while not server.ended:
        step(server, those, (silent or {}).get(server.phase, 0))


def step(server: Server, those: dict[str, Client], silent: int = 0) -> None:
    for name, message in list(server.outgoing().items())[silent:]:
        server.receive(name, those[name].respond(message, {"update": np.full(3, 0.1)}))
    server.close_phase()


def within(paid: PaidRound, action: Callable[[PaidRound], object]) -> None:
    with paid:
        action(paid)


def only(ledger: Ledger) -> Reservation:
    """Return the budget's one reservation, and check that the trail holds."""
    ledger.verify()
    (round_id,) = {record.round_id for record in ledger.history("study")} - {""}
    return ledger.reservation("study", round_id)


# What is committed.


def test_the_sum_comes_after_its_cost_and_its_survivors_names(ledger: Ledger) -> None:
    with PLAN.reserving(ledger, "study", NAMES) as paid:
        server = paid.server()
        assert only(ledger).round_id == round_id_of(server.session_id) == paid.reservation.round_id
        assert only(ledger).participants == 12
        drive(server, clients(), {ServerPhase.MASKED_INPUT: 1})
        assert only(ledger).status is ReservationStatus.RESERVED
        result = paid.commit()
        assert only(ledger).status is ReservationStatus.COMMITTED
        assert paid.commit() == result  # repeated, for the same cost
    assert result is server.result
    assert result.survivors == set(NAMES) - {"clinic-01"}
    opened, closed = ledger.history("study")[1:]
    assert closed.amounts("charge") < opened.amounts("charge")  # eleven survived, nine were promised
    assert ledger.participant("study", "clinic-01").epsilon == 0
    assert ledger.participant("study", "clinic-02").epsilon > 0


def test_histograms_are_paid_for_as_well(ledger: Ledger) -> None:
    plan = HistogramPlan(threat_model=PLAN.threat_model, bins=2, epsilon=4.0, delta=1e-5, min_participants=2)
    those = clients()
    with plan.reserving(ledger, "study", NAMES) as paid:
        while not paid.server().ended:
            for name, message in paid.server().outgoing().items():
                paid.server().receive(name, those[name].respond(message, {"counts": np.array([1, 0])}))
            paid.server().close_phase()
        assert paid.commit().sum("counts").shape == (2,)


def test_a_budget_that_is_too_small_has_no_round(tmp_path: Path) -> None:
    with open_ledger(tmp_path, epsilon=0.5) as ledger:
        paid = PLAN.reserving(ledger, "study", NAMES)
        with pytest.raises(BudgetExceededError), paid:
            pytest.fail("the round ran")
        with pytest.raises(StateError, match="nothing is reserved"):
            paid.server()
        with pytest.raises(StateError, match="nothing is reserved"):
            paid.commit()


def test_a_ledger_that_refuses_the_commitment_gives_no_result(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> Reservation:
        raise PrivacyParameterError("too much")

    def run(paid: PaidRound) -> None:
        drive(paid.server(), clients())
        paid.commit()

    monkeypatch.setattr(ledger, "commit", refuse)
    with pytest.raises(PrivacyParameterError, match="too much"):
        within(PLAN.reserving(ledger, "study", NAMES), run)
    assert only(ledger).status is ReservationStatus.RESERVED


def test_a_commitment_may_be_tried_again(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: object, **__: object) -> Reservation:
        raise LedgerBusyError("later")

    with PLAN.reserving(ledger, "study", NAMES) as paid:
        drive(paid.server(), clients())
        with monkeypatch.context() as patch:
            patch.setattr(ledger, "commit", busy)
            with pytest.raises(LedgerBusyError):
                paid.commit()
        paid.commit()
    assert only(ledger).status is ReservationStatus.COMMITTED


def test_simulated_rounds_are_paid_for_as_others_are(ledger: Ledger) -> None:
    inputs = lambda name: {"update": np.zeros(3)}  # noqa: E731
    report = pay(ledger, "study", PLAN, Simulation(PLAN.config, inputs, policy=ClientPolicy.permissive()))
    assert only(ledger).status is ReservationStatus.COMMITTED
    assert only(ledger).round_id == round_id_of(report.session_id) == report.session_id.hex()[:16]
    asked: list[str] = []
    unrun = Simulation(PLAN.config, inputs, on_progress=lambda phase, done, total: asked.append(phase))
    with pytest.raises(BudgetExceededError):
        pay(ledger, "study", plan_for(50.0), unrun)
    assert asked == []


# What other ends cost.


@pytest.mark.parametrize("phase", UNREVEALED)
@pytest.mark.parametrize("kept", [False, True])
def test_too_few_before_shares_are_asked_for_cost_nothing(ledger: Ledger, phase: ServerPhase, kept: bool) -> None:
    keep = [].append if kept else None
    paid = PLAN.reserving(ledger, "study", NAMES, keep=keep)
    with pytest.raises(ThresholdError), paid:
        drive(paid.server(), clients(), {phase: 8})
    assert not paid.server().revealed
    assert only(ledger).status is ReservationStatus.RELEASED
    assert ledger.status("study").fraction_taken == 0


@pytest.mark.parametrize("error", [OSError("the network is gone"), KeyboardInterrupt(), None])
@pytest.mark.parametrize("phase", COLLECTED)
def test_a_session_that_is_left_costs_something_once_shares_were_asked_for(
    ledger: Ledger, phase: ServerPhase, error: BaseException | None
) -> None:
    def leave() -> None:
        with PLAN.reserving(ledger, "study", NAMES) as paid:
            those = clients()
            while paid.server().phase is not phase:
                step(paid.server(), those)
            if error is not None:
                raise error

    if error is None:
        leave()
    else:
        with pytest.raises(type(error)):
            leave()
    released = ReservationStatus.RELEASED if phase in UNREVEALED else ReservationStatus.RESERVED
    assert only(ledger).status is released


def test_too_few_after_shares_were_asked_for_cost_all_that_was_reserved(ledger: Ledger) -> None:
    paid = PLAN.reserving(ledger, "study", NAMES)
    with pytest.raises(ThresholdError), paid:
        drive(paid.server(), clients(), {ServerPhase.UNMASKING: 11})
    assert only(ledger).status is ReservationStatus.RESERVED
    assert ledger.status("study").fraction_taken > 0


def test_a_result_that_is_not_committed_is_an_error_and_costs_all_that_was_reserved(ledger: Ledger) -> None:
    with pytest.raises(StateError, match="was not committed"), PLAN.reserving(ledger, "study", NAMES) as paid:
        drive(paid.server(), clients())
    assert only(ledger).status is ReservationStatus.RESERVED


def test_what_goes_wrong_before_the_commitment_is_what_is_raised(ledger: Ledger) -> None:
    def run(paid: PaidRound) -> None:
        drive(paid.server(), clients())
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        within(PLAN.reserving(ledger, "study", NAMES), run)
    assert only(ledger).status is ReservationStatus.RESERVED


def test_there_is_nothing_to_commit_before_the_end(ledger: Ledger) -> None:
    with PLAN.reserving(ledger, "study", NAMES) as paid, pytest.raises(StateError, match="no result"):
        paid.commit()


def test_a_reservation_that_cannot_be_released_stays(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: object, **__: object) -> Reservation:
        raise LedgerBusyError("later")

    monkeypatch.setattr(ledger, "release", busy)
    with pytest.raises(LedgerBusyError) as refusal, PLAN.reserving(ledger, "study", NAMES) as paid:
        drive(paid.server(), clients(), {ServerPhase.SHARE_KEYS: 8})
    assert isinstance(refusal.value.__context__, ThresholdError)
    assert only(ledger).status is ReservationStatus.RESERVED


# Crashes. A process that dies runs no exit: what it held is dropped, and what it kept is there.


class Crashed(BaseException):
    """The process is gone."""


@dataclass
class World:
    """What outlives the server's process: its folder, and the clients. It dies at a step of the caller's choice."""

    folder: Path
    dies_at: int = -1
    steps: int = 0
    clients: dict[str, Client] = field(default_factory=clients)

    def tick(self) -> None:
        if self.steps == self.dies_at:
            raise Crashed
        self.steps += 1

    def keep(self, dumped: bytes) -> None:
        self.tick()
        (self.folder / "round").write_bytes(dumped)
        self.tick()

    def ledger(self) -> Ledger:
        """Return a ledger that may die before and after each of its transactions."""
        ledger = Ledger.open(str(self.folder / "ledger.sqlite"))
        for name in ("reserve", "commit"):
            setattr(ledger, name, self._mortal(getattr(ledger, name)))
        return ledger

    def _mortal(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **named: Any) -> Any:
            self.tick()
            outcome = method(*arguments, **named)
            self.tick()
            return outcome

        return called

    def session(self, paid: PaidRound) -> np.ndarray:
        """Run a round to its published sum, and clear up; its context is not left by a crash."""
        server = paid.__enter__().server()
        while not server.ended:
            for name, message in server.outgoing().items():
                self.tick()
                answer = self.clients[name].respond(message, {"update": np.full(3, 0.1)})
                self.tick()
                server.receive(name, answer)
            self.tick()
            server.close_phase()
        published = paid.commit().levels["update"]
        self.tick()
        paid.__exit__(None, None, None)
        return published

    def process(self) -> np.ndarray:
        """What the server's program does whenever it is started: go on with what was kept, or begin."""
        ledger = self.ledger()
        try:
            kept = self.folder / "round"
            if kept.exists():
                return self.session(PLAN_OF_FEW.resuming(ledger, "study", kept.read_bytes(), keep=self.keep))
            return self.session(PLAN_OF_FEW.reserving(ledger, "study", FEW, keep=self.keep))
        finally:
            ledger.close()


def how_many_steps(folder: Path) -> int:
    open_ledger(folder).close()
    world = World(folder)
    world.process()
    return world.steps


def test_a_crash_between_any_two_steps_loses_no_session_and_is_paid_for_once(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    steps = how_many_steps(tmp_path / "whole")
    with open_ledger(tmp_path / "whole") as ledger:
        whole = only(ledger)
    assert steps > 4 * len(FEW) * 2
    for dies_at in range(steps):
        folder = tmp_path / str(dies_at)
        folder.mkdir()
        open_ledger(folder).close()
        world = World(folder, dies_at)
        with pytest.raises(Crashed):
            world.process()
        world.dies_at = -1
        sum_of_all = world.process()
        with open_ledger(folder) as ledger:
            assert ledger.open_reservations("study") == []
            assert (only(ledger).status, only(ledger).charge) == (whole.status, whole.charge), dies_at
            assert ledger.status("study").spent == whole.charge
        # Whoever dies after the commitment publishes the same sum when it is started once more.
        assert np.array_equal(world.process(), sum_of_all)


def test_a_crash_in_every_phase_of_one_session_is_gone_through_as_well(tmp_path: Path) -> None:
    open_ledger(tmp_path).close()
    world = World(tmp_path, dies_at=10)
    crashes = 0
    while True:
        try:
            world.process()
            break
        except Crashed:
            crashes += 1
            world.steps = 0
            world.dies_at += 2
    assert crashes > 3
    with open_ledger(tmp_path) as ledger:
        assert only(ledger).status is ReservationStatus.COMMITTED


def test_a_resumed_round_that_fails_stays_reserved(ledger: Ledger) -> None:
    # What was kept may be older than what was sent, so that nobody here knows that nothing was revealed.
    kept: list[bytes] = []
    paid = PLAN.reserving(ledger, "study", NAMES, keep=kept.append).__enter__()
    those = clients()
    drive(paid.server(), those)
    assert paid.server().revealed
    old = kept[2]
    assert not Server.load(old).revealed
    again = PLAN.resuming(ledger, "study", old)
    with pytest.raises(ThresholdError), again:
        again.server().close_phase()
    assert only(ledger).status is ReservationStatus.RESERVED
    ledger.resolve(only(ledger), spent=True, reason="the log says that shares were asked for")
    with pytest.raises(LedgerConflictError), PLAN.resuming(ledger, "study", kept[-1]) as late:
        late.commit()


def test_a_crash_before_the_release_is_made_up_for(ledger: Ledger) -> None:
    kept: list[bytes] = []
    paid = PLAN.reserving(ledger, "study", NAMES, keep=kept.append).__enter__()
    with pytest.raises(ThresholdError):
        drive(paid.server(), clients(), {ServerPhase.SHARE_KEYS: 8})
    assert only(ledger).status is ReservationStatus.RESERVED
    with PLAN.resuming(ledger, "study", kept[-1]) as resumed:
        assert resumed.server().ended
    assert only(ledger).status is ReservationStatus.RELEASED
    with pytest.raises(LedgerConflictError, match="released"), PLAN.resuming(ledger, "study", kept[-1]):
        pytest.fail("a released round ran")


def test_a_context_that_is_left_meanwhile_keeps_what_was_received(ledger: Ledger) -> None:
    kept: list[bytes] = []
    those = clients()

    def run(paid: PaidRound) -> None:
        for name, message in list(paid.server().outgoing().items())[:5]:
            paid.server().receive(name, those[name].respond(message))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        within(PLAN.reserving(ledger, "study", NAMES, keep=kept.append), run)
    assert only(ledger).status is ReservationStatus.RESERVED
    with PLAN.resuming(ledger, "study", kept[-1], keep=kept.append) as resumed:
        assert resumed.server().num_awaited == 7
        drive(resumed.server(), those)
        resumed.commit()
    assert only(ledger).status is ReservationStatus.COMMITTED


def test_another_plan_does_not_take_over_a_session(ledger: Ledger) -> None:
    kept: list[bytes] = []
    PLAN.reserving(ledger, "study", NAMES, keep=kept.append).__enter__()
    with pytest.raises(LedgerConflictError), plan_for(2.0).resuming(ledger, "study", kept[-1]):
        pytest.fail("another plan's round ran")


def test_what_is_kept_is_kept_before_listeners_hear_of_it(ledger: Ledger) -> None:
    order: list[str] = []

    def listen(transition: Transition) -> None:
        if isinstance(transition, PhaseOpened):
            order.append(transition.phase)

    def keep(dumped: bytes) -> None:
        order.append(f"kept in {Server.load(dumped).phase}")

    with PLAN.reserving(ledger, "study", NAMES, keep=keep, listener=listen) as paid:
        drive(paid.server(), clients())
        paid.commit()
    assert order == [
        *("advertise-keys", "kept in advertise-keys", "kept in share-keys", "share-keys", "kept in masked-input"),
        *("masked-input", "kept in consistency-check", "consistency-check", "kept in unmasking"),
        *("unmasking", "kept in completed"),
    ]


def test_a_phase_that_cannot_be_kept_is_not_sent(ledger: Ledger) -> None:
    def keep(dumped: bytes) -> None:
        if Server.load(dumped).phase is ServerPhase.UNMASKING:
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"), PLAN.reserving(ledger, "study", NAMES, keep=keep) as paid:
        drive(paid.server(), clients())
    assert only(ledger).status is ReservationStatus.RESERVED


# Budgets of plans, and whose loss they count.


def run_round(plan: PrivatePlan, ledger: Ledger, subject: str) -> None:
    with plan.reserving(ledger, subject, NAMES) as paid:
        server, those = paid.server(), clients()
        while not server.ended:
            step(server, those) if plan.unit is Unit.CLIENT else step_with_records(server, those)
        paid.commit()


def step_with_records(server: Server, those: dict[str, Client]) -> None:
    for name, message in list(server.outgoing().items()):
        server.receive(name, those[name].respond(message, {"update": np.full((2, 3), 0.1)}))
    server.close_phase()


def records_plan(**changed: Any) -> PrivatePlan:
    terms: dict[str, Any] = {"length": 3, "l2_clip": 1.0, "epsilon": 4.0, "delta": 1e-5, "min_participants": 2}
    return PrivatePlan(**terms | {"threat_model": PLAN.threat_model, "unit": Unit.RECORD, "max_records": 2} | changed)


@pytest.mark.parametrize("plan", [plan_for(4.0), records_plan()], ids=["client", "record"])
def test_a_plans_own_budget_pays_its_rounds(ledger: Ledger, plan: PrivatePlan) -> None:
    budget = plan.budget("own", kind="data-set")
    assert (budget.unit, budget.composition, str(budget.kind)) == (plan.unit, Composition.GAUSSIAN, "data-set")
    assert (budget.epsilon, budget.delta) == (4, Fraction("0.00001"))
    ledger.create(budget)
    run_round(plan, ledger, "own")
    assert 0 < ledger.status("own").epsilon <= 4
    with pytest.raises(BudgetExceededError):
        run_round(plan, ledger, "own")


@pytest.mark.parametrize("rounds", [1, 3, 20])
def test_a_plan_of_so_many_rounds_has_a_budget_that_affords_them(ledger: Ledger, rounds: int) -> None:
    model = ThreatModel(50)
    histogram = HistogramPlan(threat_model=model, bins=4, epsilon=2.0, delta=1e-6, rounds=rounds)
    given = PrivatePlan(threat_model=model, length=9, l2_clip=0.5, noise_multiplier=3.0, delta=1e-6, rounds=rounds)
    for number, plan in enumerate((histogram, given, records_plan(rounds=rounds, epsilon=8.0))):
        ledger.create(plan.budget(str(number)))
        ledger.spend(str(number), Repeated(plan.event(), rounds), round_id="all")
        with pytest.raises(BudgetExceededError):
            ledger.spend(str(number), plan.event(), round_id="more")


def test_a_round_is_not_paid_from_a_budget_of_another_unit(ledger: Ledger) -> None:
    """What bounds the loss of a record says nothing of a client, who was promised more."""
    terms = {"adjacency": Adjacency.REPLACE_ONE, "composition": Composition.GAUSSIAN}
    ledger.create(Budget("records", "9", "1e-5", unit=Unit.RECORD, **terms))
    ledger.create(Budget("clients", "9", "1e-5", **terms))
    whole = PrivatePlan(
        threat_model=PLAN.threat_model, length=3, l2_clip=1.0, epsilon=4.0, delta=1e-5, adjacency="replace-one"
    )
    ledger.spend("records", whole.event(), round_id="the event alone would be taken")
    remedy = r"count for one client, .* what one record loses: .*plan\.budget\(name\)"
    with pytest.raises(PrivacyParameterError, match=remedy), whole.reserving(ledger, "records", NAMES):
        pytest.fail("the round ran")
    part = records_plan(adjacency="replace-one")
    with pytest.raises(PrivacyParameterError, match="count for one record"), part.reserving(ledger, "clients", NAMES):
        pytest.fail("the round ran")
    assert [record.kind for record in ledger.history("clients")] == ["create"]


@pytest.mark.parametrize(
    ("epsilon", "delta", "rounds"), [(1.0, 1e-5, 1), (4.0, 1e-6, 3), (8.0, 1e-5, 10), (1.0, 1e-6, 20), (4.0, 1e-5, 100)]
)
def test_a_plan_on_samples_has_a_budget_that_affords_its_rounds_and_no_more(
    ledger: Ledger, epsilon: float, delta: float, rounds: int
) -> None:
    plan = records_plan(epsilon=epsilon, delta=delta, rounds=rounds, sampling_rate=0.05)
    ledger.create(plan.budget("own"))
    found = ledger.status("own")
    assert (found.budget.composition, found.limit["releases"]) == (Composition.RELEASES, rounds)
    ledger.spend("own", Repeated(plan.event(), rounds), round_id="all")
    assert 0.999 * epsilon < ledger.status("own").epsilon <= epsilon
    with pytest.raises(BudgetExceededError):
        ledger.spend("own", plan.event(), round_id="more")


def test_rounds_on_samples_are_paid_at_their_rate(ledger: Ledger) -> None:
    plan = records_plan(rounds=3, sampling_rate=0.25)
    ledger.create(plan.budget("own"))
    assert ledger.status("own").budget.event == plan.event()
    run_round(plan, ledger, "own")
    assert ledger.history("own")[-1].facts()["cost"]["type"] == "PoissonSampled"
    (spent,) = ledger.participant("own", "clinic-02").rounds
    assert spent.cost == plan.event(12)
