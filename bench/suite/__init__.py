"""The benchmark: ours against peers and physical limits on this machine, in one run, and a report of it."""

from .findings import Curve, Finding, Line, Ratio, Rival, Row
from .parts import PARTS, Part, chosen
from .results import PartResult, Results
from .runner import find_suite, run

__all__ = [
    "PARTS",
    "Curve",
    "Finding",
    "Line",
    "Part",
    "PartResult",
    "Ratio",
    "Results",
    "Rival",
    "Row",
    "chosen",
    "find_suite",
    "run",
]
