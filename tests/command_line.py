"""A runner for commands that keeps standard output and standard error apart, whatever click's version."""

from typer.testing import CliRunner


def separating_runner() -> CliRunner:
    try:
        return CliRunner(mix_stderr=False)  # click before 8.2 mixes them otherwise
    except TypeError:
        return CliRunner()
