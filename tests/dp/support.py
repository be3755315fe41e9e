"""What the tests of dp share. No time limits (the machine may be busy) and the same examples every time."""

from __future__ import annotations

from hypothesis import settings

calm = settings(deadline=None, derandomize=True, max_examples=60)
