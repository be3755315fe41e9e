"""Secure aggregation in a Flower app: `SecAgg` around the server's strategy, `secagg_mod` in the client's mods.

`ask` asks the nodes' sites for statistics.

Flower's own engines carry the messages. Extra: `flower`.
"""

try:
    import flwr  # noqa: F401
except ImportError as error:
    msg = "the Flower adapter needs Flower: in a checkout of secagg, pip install '.[flower]'"
    raise ImportError(msg) from error

from .asking import ask
from .grid import SecAggGrid
from .mod import SecAggMod, secagg_mod
from .numpy_client import by_fit
from .privacy import Privacy
from .report import RoundReport, SessionReport
from .settings import SecAggSettings, SessionSettings
from .strategies import SecAgg, check_strategy

__all__ = [
    "Privacy",
    "RoundReport",
    "SecAgg",
    "SecAggGrid",
    "SecAggMod",
    "SecAggSettings",
    "SessionReport",
    "SessionSettings",
    "ask",
    "by_fit",
    "check_strategy",
    "secagg_mod",
]
