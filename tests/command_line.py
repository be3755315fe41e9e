"""A runner for commands that keeps standard output and standard error apart, whatever click's version."""

from __future__ import annotations

from functools import cache
from typing import Any

import typer
from typer.main import get_command
from typer.testing import CliRunner

from protocols.cli.app import app as application

command_of = cache(get_command)
"""The tree of commands, which typer makes anew for each command that it runs: that takes longer than most of them."""


def context_of(*words: str) -> typer.Context:
    """The context of a command of ours in whose line nothing stands, for a test that calls the function itself."""
    command: Any = command_of(application)
    for word in words:
        command = command.commands[word]
    return typer.Context(command)


class _Runner(CliRunner):
    def invoke(self, app: Any, *arguments: Any, **more: Any) -> Any:
        return super(CliRunner, self).invoke(command_of(app), *arguments, **more)


def separating_runner() -> CliRunner:
    try:
        return _Runner(mix_stderr=False)  # click before 8.2 mixes them otherwise
    except TypeError:
        return _Runner()
