"""Copies the vectors that `secagg audit` needs into its package: python -m tests.vectors.ship.

The files here are the source; a wheel has no tests, so the audit brings copies, and a test checks that they are equal.
"""

from __future__ import annotations

from pathlib import Path

from protocols.audit.known_answers import PRIMITIVES

HERE = Path(__file__).parent
SHIPPED = HERE.parent.parent / "protocols" / "audit" / "vectors"
NAMES = (*PRIMITIVES, "protocol")

if __name__ == "__main__":
    for name in NAMES:
        (SHIPPED / f"{name}.json").write_bytes((HERE / f"{name}.json").read_bytes())
