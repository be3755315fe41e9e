"""An answer in plain numbers, texts and lists: what is written as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from .answer import Answer
from .estimates.estimate import upwards
from .finding import Finding


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
    """Return a finding as JSON has it; errors are rounded upwards."""
    error = finding.error
    facts = {
        "statistic": str(finding.statistic),
        "columns": list(finding.columns),
        "group": finding.group,
        "value": _plain(finding.value),
        "error": upwards(error) if isinstance(error, Fraction) else error,
        "n": finding.n,
        "suppressed": _plain(finding.suppressed),
        "reason": finding.reason,
    }
    return facts | ({"interval": list(finding.interval)} if finding.interval else {})


def _plain(value: Any) -> Any:
    if isinstance(value, Fraction):
        return float(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
