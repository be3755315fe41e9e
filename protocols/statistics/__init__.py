"""Statistics over data that stay with their owners: a question, answered exactly by the sum of one masked session."""

from .answer import Answer, Finding, answer_of
from .columns import Levels, Number, even_edges
from .consent import Consent
from .plan import Plan
from .query import Kind, Operator, Query, Statistic, Where, asked, read_query
from .query_file import query_from_toml
from .release import ReleasePolicy, Rule
from .site import Site, SitePolicy

__all__ = [
    "Answer",
    "Consent",
    "Finding",
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
    "asked",
    "even_edges",
    "query_from_toml",
    "read_query",
]
