"""An answer in plain numbers, texts and lists: what is written as JSON, and read from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from .answer import Answer
from .estimates.estimate import upwards
from .finding import Finding
from .kinds import Kind


def answer_facts(answer: Answer) -> dict[str, Any]:
    """Return an answer as JSON has it."""
    return {
        "sites": answer.sites,
        "records": answer.records,
        "query": answer.digest.hex(),
        "policy": dict(vars(answer.policy)),
        "results": [finding_facts(finding) for finding in answer.findings],
    }


def finding_facts(finding: Finding) -> dict[str, Any]:
    """Return a finding as JSON has it: errors are rounded upwards, and None where there is no bound."""
    error = finding.error
    facts = {
        "statistic": str(finding.statistic),
        "columns": list(finding.columns),
        "group": finding.group,
        "value": _plain(finding.value),
        "error": _plain(upwards(error) if isinstance(error, Fraction) else error),
        "n": finding.n,
        "suppressed": _plain(finding.suppressed),
        "reason": _plain(finding.reason),
    }
    return facts | ({"interval": list(finding.interval)} if finding.interval else {})


def finding_of(facts: Any) -> Finding | None:
    """Return a finding from what `finding_facts` has written of it; None where that is none.

    A value whose error is None has one without bound, `inf`.
    """
    try:
        interval = facts.get("interval")
        ends = None if interval is None else (float(interval[0]), float(interval[1]))
        columns, group, error, n = tuple(map(str, facts["columns"])), facts["group"], facts["error"], facts["n"]
        kind = Kind(facts["statistic"])
        value, suppressed, reason = (facts[name] for name in ("value", "suppressed", "reason"))
        error = math.inf if error is None and value is not None else error
        return Finding(kind, columns, group, value, error, n, suppressed, ends, reason)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, Fraction):
        value = float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None  # JSON has no infinity
    if isinstance(value, Mapping):
        parts = {
            key: upwards(each) if key == "error" and isinstance(each, Fraction) else each for key, each in value.items()
        }
        return {str(key): _plain(each) for key, each in parts.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
