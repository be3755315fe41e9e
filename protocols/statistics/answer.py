"""What an analyst gets: each statistic with the error that rounding of the inputs leaves, or the rule that hides it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from secagg.errors import EncodingError, ParameterError

from ..masking.result import RoundResult
from .families.family import hidden
from .families.registry import FAMILIES
from .finding import Finding
from .gate import Gate
from .kinds import BINNED, Key
from .plan import Plan
from .query import Query, Statistic
from .release import ReleasePolicy
from .rules import Rule


@dataclass(frozen=True)
class Answer:
    """What comes of a query.

    Attributes:
        digest: of the query.
        sites: how many are in the sum.
        records: rows in the sum; None where fewer than the policy's least, or of some cells alone.
        findings: in the order of the query's statistics, groups within each.
        policy: what was shown.
    """

    digest: bytes
    sites: int
    records: int | None
    findings: tuple[Finding, ...]
    policy: ReleasePolicy


def answer_of(plan: Plan, result: RoundResult, policy: ReleasePolicy | None = None) -> Answer:
    """Return what an analyst is shown of a session's sum.

    Args:
        plan: of the query.
        result: of a session over `plan.vectors`.
        policy: `ReleasePolicy()` when None.

    Raises:
        ParameterError: the session was about another query.
        EncodingError: totals that no data have: some input was none.
    """
    return release(plan, plan.decode(result), len(result.survivors), policy)


def release(plan: Plan, totals: Mapping[Key, int], sites: int, policy: ReleasePolicy | None = None) -> Answer:
    """Return what an analyst is shown of totals over so many sites. Raises as `answer_of`."""
    policy = policy or ReleasePolicy()
    try:
        gate = Gate(plan.query, totals, sites, policy, FAMILIES)
        # Bins last: they are decided about beside the statuses that moments show.
        for one in sorted(plan.query.statistics, key=lambda one: one.kind in BINNED):
            FAMILIES[one.kind].decide(gate, one)
        few = gate.records < policy.least_records
        rule = Rule.SITES if sites < policy.min_sites else Rule.RECORDS if few else None
        findings = tuple(_withheld(plan.query, rule) if rule else _found(gate))
    except ParameterError as error:
        raise EncodingError(f"the totals are of no data, some input was none: {error}") from None
    records = None if rule or plan.query.cells else gate.records  # of some cells: it would tell of hidden ones
    return Answer(plan.query.digest, sites, records, findings, policy)


def findings_by(query: Query, answer: Answer) -> dict[tuple[Statistic, str | None], Finding]:
    """Return an answer's findings by statistic, with its parameters, and group."""
    return dict(zip(product(query.statistics, query.groups), answer.findings, strict=True))


def _withheld(query: Query, rule: Rule) -> Iterator[Finding]:
    for one in query.statistics:
        for group in query.groups:
            yield hidden(one, rule, group=group)


def _found(gate: Gate) -> Iterator[Finding]:
    for one in gate.query.statistics:
        yield from FAMILIES[one.kind].findings(gate, one)
