"""Many small secure sums in place of one: groups that nobody chooses, and rules that bear spoilt ones among them."""

from .client import DrawPhase, GroupClient
from .drawing import Groups, Terms, deal
from .past_draws import PastDraws
from .plan import GroupPlan
from .rounds import GroupedResult, GroupedRounds, member_policy
from .rules import Combined, Rule, combine
from .server import GroupServer, ServerDrawPhase

__all__ = [
    "Combined",
    "DrawPhase",
    "GroupClient",
    "GroupPlan",
    "GroupServer",
    "GroupedResult",
    "GroupedRounds",
    "Groups",
    "PastDraws",
    "Rule",
    "ServerDrawPhase",
    "Terms",
    "combine",
    "deal",
    "member_policy",
]
