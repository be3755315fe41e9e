"""Replays every vector: python -m tests.checker (from the repository's root)."""

import sys
import time
from pathlib import Path

from .findings import Disagreement
from .replay import check_file

failed = False
for path in sorted((Path(__file__).parents[2] / "protocols/audit/vectors").glob("*.json")):
    start = time.perf_counter()
    try:
        verdict = f"{check_file(path):5} agree"
    except Disagreement as disagreement:
        verdict, failed = f"DISAGREES: {disagreement}", True
    print(f"{path.name:32} {verdict}  ({time.perf_counter() - start:.1f} s)")
sys.exit(failed)
