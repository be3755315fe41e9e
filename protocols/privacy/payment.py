"""Paying for a private round from a ledger: the most it may cost before it runs, what it did cost before its result.

The server decides what a failure costs. Before `Server.revealed` nobody was asked for anything that opens the sum, so
the reservation is released; from then on it stays, and counts as spent.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, final

from dp.errors import LedgerConflictError
from secagg.errors import StateError
from secagg.randomness import SYSTEM, RandomBytes

from ..core.listener import Listener, PhaseOpened, SessionEnded, Transition, ignore
from ..core.participants import Participants
from ..masking.config import RoundConfig
from ..masking.result import RoundResult
from ..masking.server import Server
from ..masking.transitions import ServerPhase

if TYPE_CHECKING:
    from dp.distributed import Goal
    from dp.events import Event
    from dp.ledger import Budget, Ledger, Reservation
    from dp.sensitivity import Adjacency, Unit

Keep = Callable[[bytes], object]
"""Makes a server's dump durable, in place of the one before."""


def round_id_of(session_id: bytes) -> str:
    """Return what a ledger calls a session's round: 16 hexadecimal digits, which still fit into a column of a table."""
    return session_id.hex()[:16]


@final
class PaidRound:
    """A context in which one round runs, from `Payable.reserving` or `Payable.resuming`.

    Entering it reserves the most that the round may cost. The round id in the ledger is the session id in hex, so that
    a session that is resumed finds its own reservation. Leaving it without a commitment releases the reservation where
    it is certain that nothing was revealed: the server says so, and the session has ended or no dump of it was kept.
    Otherwise the reservation stays, and counts as spent until `resuming` or `Ledger.resolve` settles it. It stays, too,
    where a resumed session failed: a restored server does not know what was sent after its dump.

    Threads that drive the server must have stopped when the context is left.

    Raises:
        LedgerError: on entering, the budget does not allow the round, which must not run. On leaving, the reservation
            could not be released, and stays.
        StateError: on leaving, the server has a result that was not committed.
    """

    def __init__(
        self,
        plan: Payable,
        make_server: Callable[..., Server],
        ledger: Ledger,
        subject: str,
        keep: Keep | None,
        listener: Listener,
        *,
        resumed: bool,
    ) -> None:
        self._plan = plan
        self._make_server = make_server
        self._ledger = ledger
        self._subject = subject
        self._keep = keep
        self._keeping = threading.Lock()
        self._listener = listener
        self._resumed = self._may_be_old = resumed
        self._server: Server | None = None
        self._reservation: Reservation | None = None
        self._committed = False

    def __enter__(self) -> Self:
        server = self._server = self._make_server(listener=self._listen)
        self._may_be_old = self._may_be_old and not server.ended
        self._keep_server()  # before the reservation, so that none is without a session that can go on
        round_id, names = round_id_of(server.session_id), server.participants.names
        try:
            reserved = self._ledger.reserve(
                self._subject,
                self._plan.event(),
                round_id=round_id,
                participants=names,
                unit=self._plan.unit,
                again=self._resumed,
            )
        except LedgerConflictError:
            reserved = self._ledger.reservation(self._subject, round_id)
            if reserved.status != "committed":  # what was committed may be committed again: nothing changes
                raise
        self._reservation = reserved
        return self

    @property
    def reservation(self) -> Reservation:
        """What the ledger holds for this round. Raises StateError before the context is entered."""
        if self._reservation is None:
            raise StateError("nothing is reserved for this round yet: enter it by `with`")
        return self._reservation

    def server(self) -> Server:
        """Return the round's server, for any transport to drive. Raises StateError before the context is entered."""
        if self._server is None or self._reservation is None:
            raise StateError("nothing is reserved for this round yet: enter it by `with`")
        return self._server

    def commit(self) -> RoundResult:
        """Commit what the round has cost and whose inputs are in the sum, and only then return the sum.

        It may be repeated, and changes nothing then.

        Raises:
            StateError: the session has no result.
            LedgerError: the ledger refuses or fails: there is nothing to publish, and the reservation stays.
        """
        result = self.server().result
        actual = self._plan.sampled(result.event(self._plan.adjacency))
        self._reservation = self._ledger.commit(self.reservation, actual, participants=result.survivors)
        self._committed = True
        return result

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        server = self.server()
        if self._committed:
            return
        if not server.ended:
            self._keep_server()
        if not server.revealed and not self._may_be_old and (server.ended or self._keep is None):
            self._ledger.release(self.reservation, "ended before anything was asked for that opens the sum")
        elif error is None and server.phase is ServerPhase.COMPLETED:
            raise StateError(
                f"round {self.reservation.round_id} has a result that was not committed: use what `commit` returns; "
                "its reservation stays, and counts as spent"
            )

    def _listen(self, transition: Transition) -> None:
        if isinstance(transition, PhaseOpened | SessionEnded):
            self._keep_server()
        self._listener(transition)

    def _keep_server(self) -> None:
        if self._keep is not None and self._server is not None:
            with self._keeping:  # so that no older dump replaces a newer one
                self._keep(self._server.dump())


class Payable(ABC):
    """What a round is paid for by: a plan."""

    @property
    @abstractmethod
    def config(self) -> RoundConfig:
        """The configuration that the server proposes."""

    @property
    @abstractmethod
    def adjacency(self) -> Adjacency:
        """What may differ of one unit."""

    @property
    @abstractmethod
    def unit(self) -> Unit:
        """Whose loss the noise bounds: a client's, or one record's."""

    @property
    @abstractmethod
    def goal(self) -> Goal:
        """What all rounds may cost."""

    @abstractmethod
    def event(self, survivors: int | None = None) -> Event:
        """Return what one sum reveals: of so many inputs, or of the fewest that it may have."""

    @abstractmethod
    def sampled(self, event: Event) -> Event:
        """Return what a sum's event comes to where clients sample their records as planned."""

    def budget(self, name: str, **terms: Any) -> Budget:
        """Return a budget that affords the plan's rounds, for `Ledger.create`; see `dp.ledger.budget_for`.

        Args:
            name: of the budget.
            **terms: `kind`, `renews` and `expires`, as of `dp.ledger.Budget`.
        """
        from dp.ledger import budget_for

        return budget_for(name, self.event(), self.goal.rounds, self.goal.delta, self.goal.epsilon, **terms)

    def reserving(
        self,
        ledger: Ledger,
        subject: str,
        participants: Participants,
        *,
        keep: Keep | None = None,
        listener: Listener = ignore,
        random: RandomBytes = SYSTEM,
        threads: int | None = None,
    ) -> PaidRound:
        """Return one round between reservation and commitment, to be entered by `with`.

        Args:
            ledger: pays.
            subject: the budget in it.
            participants: who is invited; the ledger has them by these names.
            keep: makes the server's dump durable before it returns. It is called before the reservation, whenever a
                phase begins or the session ends, and when the context is left in between. `resuming` goes on from what
                was kept last. Where it is None, a crash ends the round, and its reservation counts as spent.
            listener: of the server.
            random: of the server.
            threads: of the server.

        Security: what is kept is as secret as the server's memory.
        """
        server = partial(Server, self.config, participants, random=random, threads=threads)
        return PaidRound(self, server, ledger, subject, keep, listener, resumed=False)

    def resuming(
        self,
        ledger: Ledger,
        subject: str,
        dumped: bytes,
        *,
        keep: Keep | None = None,
        listener: Listener = ignore,
        threads: int | None = None,
    ) -> PaidRound:
        """Return a round of `reserving` that was cut short, to be entered by `with`.

        It goes on with the reservation that it had. It reserves if there is none yet, and where the round was committed
        before, `commit` returns the result once more. Clients get the phase's messages again, and repeat their answers.

        Args:
            ledger: pays.
            subject: the budget in it.
            dumped: what was kept last.
            keep: as for `reserving`.
            listener: of the server.
            threads: of the server.

        Raises:
            StateError: on entering, the bytes are no dump, or damaged.
            LedgerConflictError: on entering, the reservation was released, or another plan made it.
        """
        return PaidRound(
            self, partial(Server.load, dumped, threads=threads), ledger, subject, keep, listener, resumed=True
        )
