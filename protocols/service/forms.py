"""Forms: bodies of requests that are no letters, a JSON object of texts each; and queries."""

from __future__ import annotations

import json
import re

from .limits import Refusal

MAX_WAIT_SECONDS = 30.0
MAX_REASON = 500
_AWAITED = re.compile(r"after=(0|[1-9][0-9]{0,17})&wait=([0-9]{1,3}(?:\.[0-9]{1,3})?)")


def read_form(body: bytes, *keys: str) -> dict[str, str]:
    """Return a JSON object of printable texts with exactly these keys; raise Refusal for anything else."""
    try:
        pairs = json.loads(body, object_pairs_hook=list)
        given = dict(pairs)
        # What no line of text has, half a character or a zero, is none that a store could keep.
        well = len(given) == len(pairs) and all(isinstance(text, str) and text.isprintable() for text in given.values())
    except (ValueError, TypeError, RecursionError):
        given, well = {}, False
    if not well or given.keys() != set(keys):
        raise Refusal("bad-request", f"the body must be a JSON object of printable texts: {', '.join(keys)}")
    return given


def read_refusal(body: bytes) -> tuple[str, str]:
    """Return of which kind a member's refusal is, and its reason; raise Refusal for anything else."""
    given = read_form(body, "kind", "reason")
    if not re.fullmatch(r"[A-Za-z][A-Za-z-]{0,59}", given["kind"]):
        raise Refusal("bad-request", "the kind of a refusal is a word of at most 60 letters")
    if len(given["reason"]) > MAX_REASON:
        raise Refusal("bad-request", f"the reason of a refusal is a line of at most {MAX_REASON} characters")
    return given["kind"], given["reason"]


def read_awaited(query: str) -> tuple[int, float]:
    """Return after which letter the next one is asked for, and for how many seconds it is waited for."""
    found = _AWAITED.fullmatch(query)
    if found is None:
        raise Refusal("bad-request", "the query must be after=N&wait=S, whole numbers and seconds")
    return int(found[1]), min(float(found[2]), MAX_WAIT_SECONDS)
