"""The audit: what a relying party can check for itself on an installed copy, and a report of it."""

from .outcome import Check, Outcome, Status
from .runner import Audit, Verdict, all_checks, chosen, run

__all__ = ["Audit", "Check", "Outcome", "Status", "Verdict", "all_checks", "chosen", "run"]
