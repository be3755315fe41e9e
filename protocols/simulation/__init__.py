"""Everyone on one machine: what commands, the audit, tests and benchmarks drive."""

from .driver import Session
from .masked import Simulation, run_locally
from .workers import LostWorkerError

__all__ = ["LostWorkerError", "Session", "Simulation", "run_locally"]
