"""What every protocol is made of, and what knows none of them: threat models, frames, dumps, identities in files."""

from .threat_model import Adversary, ThreatModel

__all__ = ["Adversary", "ThreatModel"]
