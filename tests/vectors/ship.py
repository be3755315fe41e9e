"""Copies the vectors that `secagg audit` needs into its package, and pins them: python -m tests.vectors.ship.

The files here are the source; a wheel has no tests, so the audit brings copies, and a test checks that they are equal
and that the manifest has their digests.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from protocols.audit.checks import known_answers
from protocols.audit.replay import replay

HERE = Path(__file__).parent
AUDIT = HERE.parent.parent / "protocols" / "audit"
SHIPPED = AUDIT / "vectors"
NAMES = (*known_answers.PRIMITIVES, "protocol", *replay.FILES)
_HEAD = '''"""The files in `vectors`: SHA-256 and number of cases. Written by `python -m tests.vectors.ship`."""

from __future__ import annotations

FILES: dict[str, tuple[str, int]] = {
'''


def manifest() -> str:
    """Return the contents of the manifest."""
    rows = []
    for name in NAMES:
        data = (HERE / f"{name}.json").read_bytes()
        vector = json.loads(data)
        cases = replay.size(name, vector) if name in replay.FILES else known_answers.size(vector)
        rows.append(f'    "{name}": ("{hashlib.sha256(data).hexdigest()}", {cases}),\n')
    return f"{_HEAD}{''.join(rows)}}}\n"


if __name__ == "__main__":
    for name in NAMES:
        (SHIPPED / f"{name}.json").write_bytes((HERE / f"{name}.json").read_bytes())
    (AUDIT / "manifest.py").write_text(manifest())
