"""Every error that dp raises on purpose. Facts are attributes; texts name the value, the limit and the remedy."""

from __future__ import annotations

from fractions import Fraction


class DpError(Exception):
    """The root: catch this to catch everything that dp raises on purpose."""


class PrivacyParameterError(DpError, ValueError):
    """An impossible or unsafe privacy parameter; no noise was drawn."""


class MissingDependencyError(DpError, ImportError):
    """An optional package is not installed; the text says which extra brings it."""


class LedgerError(DpError):
    """The root of what a privacy ledger raises; whatever is raised, nothing was spent beyond what the trail says."""


class BudgetExceededError(LedgerError):
    """A reservation would exceed its budget; nothing was reserved.

    `asked`, `left` and `limit` map the name of each amount (such as "epsilon") to an exact Fraction.
    """

    def __init__(
        self,
        text: str,
        *,
        budget: str,
        asked: dict[str, Fraction],
        left: dict[str, Fraction],
        limit: dict[str, Fraction],
    ) -> None:
        super().__init__(text)
        self.budget = budget
        self.asked = asked
        self.left = left
        self.limit = limit


class BudgetExpiredError(LedgerError):
    """The budget's time is over; what was reserved before can still be committed or released."""


class UnknownBudgetError(LedgerError, LookupError):
    """The ledger has no such budget, or the budget no such reservation."""


class LedgerConflictError(LedgerError):
    """The same name or id was used before for something else, or what is asked for contradicts what was done."""


class LedgerClockError(LedgerError):
    """The clock is too far ahead of the last record to be believed; nothing was written."""


class LedgerBusyError(LedgerError):
    """Others kept the ledger locked for longer than the time limit; nothing was written, and trying again is safe."""


class LedgerStorageError(LedgerError):
    """The database cannot be reached, read or written; repeating the call with the same id is safe."""


class LedgerCorruptError(LedgerError):
    """Rows of the ledger contradict its audit trail. `seq` is the record where that shows, None if it is none's."""

    def __init__(self, text: str, *, seq: int | None = None) -> None:
        super().__init__(text)
        self.seq = seq
