"""How the `secagg` commands end: exit codes, and sentences about what went wrong.

1 is missing on purpose: it is Python's own, for what nobody foresaw.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from dp.errors import DpError, LedgerError
from secagg.errors import ParameterError, SecAggError

EXIT_IMPOSSIBLE = 2
"""The command or its parameters are impossible."""
EXIT_NO_SUM = 3
"""The round ended without a sum, or a ledger refuses to spend or cannot be used."""
EXIT_WRONG = 4
"""The sum is not the plain one; noise, an audit or a benchmark fails its check; or a ledger contradicts its trail."""
EXIT_INCOMPLETE = 5
"""An audit refuted nothing, but a check could not run, or none did: there is no verdict."""
EXIT_INTERRUPTED = 130
"""Ctrl-C, as shells have it."""


_AS_JSON = "as_json"


class Commands(TyperGroup):
    """Commands that end in a sentence also when people interrupt them, or the machine has no more to give."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Remember whether machines listen."""
        ctx.meta[_AS_JSON] = "--json" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named."""
        as_json = ctx.meta[_AS_JSON]
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except KeyboardInterrupt:
            tell("interrupted", as_json)
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except MemoryError as error:
            tell("this takes more memory than there is: ask for less", as_json, error)
            raise typer.Exit(EXIT_IMPOSSIBLE) from None
        except BrokenPipeError:
            raise
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            tell(f"{where}{error.strerror or error}", as_json, error)
            raise typer.Exit(EXIT_IMPOSSIBLE) from None
        return result


def tell(text: str, as_json: bool, error: Exception | None = None) -> None:
    """Say on standard error what went wrong; as JSON on standard output, too, if machines listen."""
    if as_json:
        typer.echo(json.dumps({"error": type(error).__name__ if error else "Error", "message": text}, indent=2))
    # As Text, so that brackets in what people have typed are not taken for markup.
    Console(stderr=True).print(Text.assemble(("secagg:", "bold red"), " ", text), soft_wrap=True)


def check_writable(folder: Path | None) -> None:
    """Refuse what cannot be written before minutes are spent on it."""
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".secagg-report"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ParameterError(f"cannot write into {folder}: {error.strerror}") from None


@contextmanager
def exit_on_errors(as_json: bool) -> Iterator[None]:
    """Turn what the library raises on purpose into a sentence and an exit code."""
    try:
        yield
    except ParameterError as error:
        tell(str(error), as_json, error)
        raise typer.Exit(EXIT_IMPOSSIBLE) from None
    except LedgerError as error:
        tell(str(error), as_json, error)
        raise typer.Exit(EXIT_NO_SUM) from None
    except DpError as error:
        tell(str(error), as_json, error)
        raise typer.Exit(EXIT_IMPOSSIBLE) from None
    except SecAggError as error:
        tell(str(error), as_json, error)
        raise typer.Exit(EXIT_NO_SUM) from None
