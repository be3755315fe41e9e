"""What the texts of errors must be, whoever's words they repeat."""

from __future__ import annotations

MAX_TEXT = 2000


def check_text(text: str) -> None:
    """Errors go to logs and terminals, and may repeat what a stranger sent: visible characters, and not without end."""
    if not text.replace("\n", "").isprintable() or len(text) > MAX_TEXT:
        raise ValueError(f"a text that is not fit to be shown: {text!r}")
