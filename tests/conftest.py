"""Hypothesis profiles: "ci" (the default) tries the same examples on every run, "deep" many fresh ones.

Choose with the environment variable HYPOTHESIS_PROFILE.
"""

from __future__ import annotations

import os

from hypothesis import settings

# No deadlines anywhere: the first call of a kernel compiles it, and no test asserts on time.
settings.register_profile("ci", derandomize=True, deadline=None, max_examples=40, print_blob=True)
settings.register_profile("deep", deadline=None, max_examples=2000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
