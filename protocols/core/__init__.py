"""What every protocol is made of, and knows none of them: roles, participants, listeners, threat models, dumps."""

from .identity_files import read_identity, read_participants, write_identity, write_participants
from .listener import (
    Listener,
    MessageAccepted,
    ParticipantExcluded,
    PhaseClosed,
    PhaseOpened,
    SessionEnded,
    Transition,
)
from .machine import Coordinator, GivenInputs, Inputs, Participant, Receipt, once
from .participants import Participants
from .threat_model import Adversary, ThreatModel

__all__ = [
    "Adversary",
    "Coordinator",
    "GivenInputs",
    "Inputs",
    "Listener",
    "MessageAccepted",
    "Participant",
    "ParticipantExcluded",
    "Participants",
    "PhaseClosed",
    "PhaseOpened",
    "Receipt",
    "SessionEnded",
    "ThreatModel",
    "Transition",
    "once",
    "read_identity",
    "read_participants",
    "write_identity",
    "write_participants",
]
