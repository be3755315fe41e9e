"""Statistics with noise: differentially private for each record or client, paid for, with intervals that say so."""

from .answer import PrivateAnswer, PrivateFinding, noisy_bracket, private_answer
from .intervals import Doubt, Noisy
from .levels import LevelSearch, named_levels
from .plan import NoisyPlan, NoisyTotals
from .question import PrivateQuestion, read_question
from .site import PrivateSite

__all__ = [
    "Doubt",
    "LevelSearch",
    "Noisy",
    "NoisyPlan",
    "NoisyTotals",
    "PrivateAnswer",
    "PrivateFinding",
    "PrivateQuestion",
    "PrivateSite",
    "named_levels",
    "noisy_bracket",
    "private_answer",
    "read_question",
]
