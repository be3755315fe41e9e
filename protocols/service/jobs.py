"""The server's side of what sessions are for: how one is prepared, taken up again, and what is kept of its sum."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from secagg.errors import ParameterError

from ..core.framing import printable
from ..core.listener import Listener
from ..core.machine import Coordinator
from ..core.participants import Participants
from ..core.threat_model import ThreatModel
from ..inputs.vectors import PrivateSpec, VectorSpec
from ..masking import wire
from ..masking.config import RoundConfig
from ..masking.result import RoundResult
from ..masking.server import Server
from ..masking.transitions import ServerPhase
from ..paillier.aggregator import Aggregator
from ..paillier.parameters import RoundParameters
from ..paillier.result import PaillierResult
from ..paillier.state import AggregatorPhase
from ..privacy.payment import Payable
from ..statistics.answer import answer_of
from ..statistics.facts import answer_facts
from ..statistics.plan import Plan
from ..statistics.query import Query
from ..statistics.release import ReleasePolicy
from .errors import DamagedStoreError
from .owning import Loaded
from .sessions import Audience, Kind, Orders, Payment, SessionSpec, Terms, read_terms
from .store import NewSession

RESULT_VERSION = 1


def asking(
    title: str,
    query: Query,
    model: ThreatModel,
    participants: Participants,
    release: ReleasePolicy | None = None,
    **more: Any,
) -> SessionSpec:
    """Return a session that answers a query.

    Args:
        title: of the session.
        query: what is asked of every site.
        model: who takes part, and what may go wrong.
        participants: the sites.
        release: what is shown; `ReleasePolicy()` when None. Totals that it hides are kept nowhere.
        **more: as of `SessionSpec`.
    """
    config = RoundConfig(model, Plan(query).vectors)
    return SessionSpec(
        title, config, participants, Kind.STATISTICS, query=query, release=release or ReleasePolicy(), **more
    )


def summing(
    title: str, vectors: Iterable[VectorSpec], model: ThreatModel, participants: Participants, **more: Any
) -> SessionSpec:
    """Return a session that sums named vectors; `more` as of `SessionSpec`."""
    return SessionSpec(title, RoundConfig(model, tuple(vectors)), participants, **more)


def paid(title: str, plan: Payable, budget: str, participants: Participants, **more: Any) -> SessionSpec:
    """Return a private session by a plan, paid from a budget of the desk's ledger; `more` as of `SessionSpec`."""
    return SessionSpec(title, plan.config, participants, payment=Payment.of(plan, budget), **more)


@dataclass
class Work:
    """A session as a process runs it.

    Attributes:
        terms: what was asked.
        orders: what is between operator and service.
        coordinator: of the session.
    """

    terms: Terms
    orders: Orders
    coordinator: Coordinator

    def needed(self, phase: str) -> int:
        """Return how many answers a phase needs at least."""
        proposed = self.terms.proposed
        if isinstance(proposed, RoundParameters):
            of_members = phase in (AggregatorPhase.ENDORSEMENTS, AggregatorPhase.OPENINGS)
            return proposed.key.threshold if of_members else proposed.min_contributors
        after = (ServerPhase.CONSISTENCY_CHECK, ServerPhase.UNMASKING)
        return proposed.topology.threshold if phase in after else proposed.min_survivors

    def kept(self, result: Any) -> bytes:
        """Return what is kept of a result, as JSON.

        Raises:
            SecAggError: the sum is of no inputs that there can be.
        """
        facts: dict[str, Any] = {"version": RESULT_VERSION, "kind": str(self.terms.kind)}
        query = self.terms.asked
        if query is not None:
            answer = answer_of(Plan(query), result, self.orders.release)
            facts |= answer_facts(answer)
        elif isinstance(result, PaillierResult):
            facts |= {
                "survivors": sorted(result.survivors),
                "total_weight": result.total_weight,
                "sums": {"update": result.sums.tolist()},
                "levels": {"update": result.levels.tolist()},
                "liars": sorted(result.liars),
            }
        else:
            facts |= _sums(result, self.terms.proposed)
        return json.dumps(facts, separators=(",", ":"), allow_nan=False).encode()


def _sums(result: RoundResult, config: RoundConfig | RoundParameters) -> dict[str, Any]:
    private = [spec for spec in getattr(config, "vectors", ()) if isinstance(spec, PrivateSpec)]
    num = len(result.survivors)
    noise = {spec.name: spec.local_sigma * math.sqrt(num) / spec.scale for spec in private}
    return {
        "survivors": sorted(result.survivors),
        "total_weight": result.total_weight,
        "sums": {name: result.sum(name).tolist() for name in result.levels},
        "levels": {name: levels.tolist() for name, levels in result.levels.items()},
        "clipped": dict(result.num_clipped),
        "liars": sorted(result.liars),
        **({"noise_deviation": noise} if noise else {}),
    }


def prepared(spec: SessionSpec, *, job: str | None = None, number: int | None = None) -> NewSession:
    """Make a session's coordinator, and return what is to be kept of it.

    Args:
        spec: of the session.
        job: of which it is a session, and `number` which one.
        number: the same.
    """
    if isinstance(spec.config, RoundParameters):
        coordinator: Server | Aggregator = Aggregator(spec.config)
        adversary, most = "semi-malicious-server", spec.config.max_message_bytes
    else:
        coordinator = Server(spec.config, spec.participants)
        adversary, most = str(spec.config.threat_model.adversary), wire.max_bytes(spec.config)
    return NewSession(
        coordinator.session_id.hex(),
        spec.title,
        str(spec.terms.protocol),
        adversary,
        spec.terms.encoded,
        tuple(spec.names),
        Orders.of(spec).encoded,
        spec.results_to is Audience.MEMBERS,
        most,
        coordinator.dump(),
        job,
        number,
    )


def taken_up(loaded: Loaded, listener: Listener, threads: int) -> Work:
    """Return a session as of the beginning of its phase.

    Raises:
        StateError: its dump was damaged.
        DamagedStoreError: its terms or orders were.
    """
    try:
        terms, orders = read_terms(loaded.terms), read_orders(loaded.orders)
    except ParameterError as error:
        raise DamagedStoreError(f"the store holds terms that are none: {error}") from None
    proposed = terms.proposed
    if isinstance(proposed, RoundParameters):
        # Several threads may be processes there, which nobody ends when this one is killed.
        return Work(terms, orders, Aggregator.load(loaded.dump, proposed, listener=listener))
    return Work(terms, orders, Server.load(loaded.dump, listener=listener, threads=threads))


def read_orders(data: bytes) -> Orders:
    """Return orders that the store kept; raise DamagedStoreError where they are none."""
    try:
        return msgspec.json.decode(data, type=Orders)
    except (msgspec.MsgspecError, ValueError) as error:
        raise DamagedStoreError(f"the store holds orders that are none: {printable(error)}") from None
