"""Forms: bodies of requests that are no letters, a JSON object of texts each."""

from __future__ import annotations

import json

from .limits import Refusal


def read_form(body: bytes, *keys: str) -> dict[str, str]:
    """Return a JSON object of texts with exactly these keys; raise Refusal for anything else."""
    try:
        pairs = json.loads(body, object_pairs_hook=list)
        given = dict(pairs)
        well = len(given) == len(pairs) and all(isinstance(value, str) for value in given.values())
    except (ValueError, TypeError, RecursionError):
        given, well = {}, False
    if not well or given.keys() != set(keys):
        raise Refusal("bad-request", f"the body must be a JSON object of texts: {', '.join(keys)}")
    return given
