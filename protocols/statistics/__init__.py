"""Statistics over data that stay with their owners: a question, answered exactly by the sum of one masked session."""

from .answer import Answer, answer_of
from .beginnings import beginnings_of
from .columns import Levels, Number, even_edges
from .consent import Consent
from .finding import Finding
from .kinds import Kind
from .newton import Fit, fit
from .plan import Plan
from .query import Operator, Query, Statistic, Where, asked, read_query
from .query_file import query_from_toml
from .release import ReleasePolicy
from .rules import Rule
from .site import Site, SitePolicy
from .two_rounds import ask_twice

__all__ = [
    "Answer",
    "Consent",
    "Finding",
    "Fit",
    "Kind",
    "Levels",
    "Number",
    "Operator",
    "Plan",
    "Query",
    "ReleasePolicy",
    "Rule",
    "Site",
    "SitePolicy",
    "Statistic",
    "Where",
    "answer_of",
    "ask_twice",
    "asked",
    "beginnings_of",
    "even_edges",
    "fit",
    "query_from_toml",
    "read_query",
]
