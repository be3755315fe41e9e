"""`secagg stats --epsilon`: a question that is answered with noise, and how the answer is shown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dp.sensitivity import Unit
from secagg.errors import ParameterError

from ..masking.policy import ClientPolicy, PrivacyDemand
from ..privacy.plans import MIN_PARTICIPANTS
from ..simulation.queried_privately import PrivatelyQueriedSites, ask_sites_privately
from ..statistics.grids import number
from ..statistics.private import PrivateQuestion, PrivateSite
from ..statistics.private.intervals import Noisy
from ..statistics.query import Query
from ..statistics.site import Site
from .options import option

_PANEL = "Noise"


@dataclass(frozen=True, kw_only=True)
class Price:
    """What an answer with noise may tell of one unit."""

    epsilon: Annotated[float | None, option("Answer with noise: epsilon.", "F", _PANEL)] = None
    delta: Annotated[float | None, option("delta, below one over the units.", "F", _PANEL)] = None
    unit: Annotated[Unit, option(f"Of whom: {', '.join(Unit)}.", "NAME", _PANEL)] = Unit.RECORD

    @property
    def wanted(self) -> bool:
        """Whether noise is asked for; raises ParameterError where it is by half."""
        if (self.epsilon is None) is not (self.delta is None):
            raise ParameterError("noise needs both --epsilon and --delta, such as 1 and 1e-6")
        return self.epsilon is not None

    def ask(self, query: Query, sites: Mapping[str, Site], **session: Any) -> PrivatelyQueriedSites:
        """Ask all sites; each demands no less noise than these options name, and keeps no ledger.

        Noise is shared out for as many sites as `session["drops"]` leave, but for ten at most.
        """
        question = PrivateQuestion(query, float(self.epsilon or 0), float(self.delta or 0), self.unit)
        left = math.floor(len(sites) * (1 - sum(session["drops"].values())))
        least = max(2, min(MIN_PARTICIPANTS, left))
        demand = PrivacyDemand(question.epsilon, question.delta, unit=self.unit)
        client = ClientPolicy(min_participants=least)
        return ask_sites_privately(
            question,
            {name: PrivateSite(site, demand, None, client=client) for name, site in sites.items()},
            min_participants=least,
            **session,
        )


def private_facts(asked: PrivatelyQueriedSites, levels_read: list[str]) -> dict[str, Any]:
    """Return what the command prints as JSON."""
    answer = asked.answer
    return {
        "sites": answer.sites,
        "noise": {
            "epsilon": answer.epsilon,
            "delta": answer.delta,
            "unit": str(answer.unit),
            "adjacency": str(answer.adjacency),
            "confidence": answer.confidence,
            "as_promised": asked.as_promised,
        },
        "query": answer.digest.hex(),
        "refused": dict(asked.refused),
        "levels_from_data": levels_read,
        "results": [
            {
                "statistic": str(each.statistic),
                "columns": list(each.columns),
                "group": each.group,
                "value": _plain(each.value),
                "n": _plain(each.n),
            }
            for each in answer.findings
        ],
        "seconds": asked.report.wall_seconds,
        "bytes": {"site_sent_max": max(cost.sent_bytes for cost in asked.report.clients.values())},
    }


def show_private(asked: PrivatelyQueriedSites) -> None:
    """Print an answer for people, a line a number."""
    answer, console = asked.answer, Console()
    promised = "as promised" if asked.as_promised else "NOT AS PROMISED"
    console.print(Text(f"{answer.sites} sites; the noise is {promised}"))
    console.print(Text(f"epsilon {answer.epsilon:g}, delta {answer.delta:g} for each {answer.unit}"))
    for name, reason in asked.refused.items():
        console.print(Text(f"  {name} refused: {reason}"))
    table = Table(box=None, padding=(0, 2), pad_edge=False)
    for name in ("statistic", "value", "from", "to"):
        table.add_column(name, justify="left" if name == "statistic" else "right", overflow="fold")
    for finding in answer.findings:
        of = ", ".join(finding.columns) or "rows"
        name = f"{finding.statistic} of {of}" + ("" if finding.group is None else f" | {finding.group}")
        if isinstance(finding.value, Noisy):
            table.add_row(Text(name), *_shown(finding.value))
            continue
        table.add_row(Text(name), "", "", "")
        for label, value in _lines(finding.value):
            table.add_row(Text(f"  {label}"), *_shown(value))
    console.print(table)
    share = f"{100 * answer.confidence:g} in 100"
    console.print(Text(f"from, to: hold the pooled rows' own value {share} times, each by itself"))


def _shown(value: Noisy | Mapping[str, Any]) -> tuple[str, str, str]:
    if isinstance(value, Noisy):
        middle = "too noisy" if value.value is None else f"{value.value:.6g}"
        return f"{middle}{' (impossible)' if value.doubt == 'impossible' else ''}", _end(value.low), _end(value.high)
    low, high = ("none" if value[end] is None else number(value[end]) for end in ("low", "high"))
    return "", low, high


def _end(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else "none"


def _lines(value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the name of each number in a finding of several parts."""
    match value:
        case {"rows": rows, "columns": columns, "counts": counts}:
            for i, row in zip(rows, counts, strict=True):
                yield from ((f"{i}, {j}", each) for j, each in zip(columns, row, strict=True))
        case {"edges": edges, "counts": counts}:
            yield "below", value["below"]
            pairs = zip(edges, edges[1:], counts, strict=False)
            yield from ((f"[{low:g}, {high:g})", each) for low, high, each in pairs)
            yield from ((name, value[name]) for name in ("above", "missing"))
        case {"edges": edges, "shares": shares}:
            yield from ((f"below {edge:g}", each) for edge, each in zip(edges, shares, strict=True))
        case {"quantiles": quantiles, "brackets": brackets}:
            yield from ((f"{quantile:g}", each) for quantile, each in zip(quantiles, brackets, strict=True))
        case _:
            yield from value.items()


def _plain(value: Any) -> Any:
    if isinstance(value, Noisy):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
