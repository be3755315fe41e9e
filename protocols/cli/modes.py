"""Options that one way of using a command does not read: refused where they were typed, and never ignored."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields

import typer

from secagg.errors import ParameterError


def names_of(group: type) -> tuple[str, ...]:
    """Return the parameters that a dataclass of options brings."""
    return tuple(field.name for field in fields(group))


def refuse_typed(ctx: typer.Context, unread: Collection[str], mode: str) -> None:
    """Raise ParameterError if an option was typed that is not read in the mode at hand; the text names both.

    Args:
        ctx: the command's.
        unread: names of its parameters.
        mode: completes "--clip is not read ...".
    """
    typed = [
        parameter.opts[0]
        for parameter in ctx.command.params
        if parameter.name in unread and getattr(ctx.get_parameter_source(parameter.name), "name", "") == "COMMANDLINE"
    ]
    if typed:
        told = f"{', '.join(typed)} is not read" if len(typed) == 1 else f"{', '.join(typed)} are not read"
        raise ParameterError(f"{told} {mode}: leave {'it' if len(typed) == 1 else 'them'} out")
