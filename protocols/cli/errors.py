"""How the `secagg` commands end: ONE table from errors to exit codes, and sentences about what went wrong.

1 is missing on purpose: it is Python's own, for what nobody foresaw.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, get_type_hints

from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup
from typer.models import ArgumentInfo

from dp.errors import DpError, LedgerCorruptError, LedgerError, UnknownBudgetError
from secagg.errors import MissingDependencyError, ParameterError, SecAggError

from .streams import UnwrittenError

EXIT_IMPOSSIBLE = 2
"""The command, its parameters or what it begins with are impossible."""
EXIT_NO_SUM = 3
"""A round ended without a sum, or a ledger, a store or a service refuses or cannot be used."""
EXIT_WRONG = 4
"""The sum is not the plain one; noise, an audit or a benchmark fails its check; or a ledger contradicts its trail."""
EXIT_INCOMPLETE = 5
"""An audit refuted nothing, but a check could not run, or none did: there is no verdict."""
EXIT_UNTOLD = 6
"""The command did what it was told, but standard output could not be written."""
EXIT_INTERRUPTED = 130
"""Ctrl-C, as shells have it."""
EXIT_UNREAD = 141
"""Nobody reads standard output any more, as shells have it."""


class NotBegunError(Exception):
    """Holds the error by which a command that lasts could not even begin."""


Endings = Mapping[type[BaseException], tuple[int, str]]
"""Error -> exit code and sentence, in which {} stands for the error's own text."""

ENDINGS: Endings = {
    KeyboardInterrupt: (EXIT_INTERRUPTED, "interrupted"),
    NotBegunError: (EXIT_IMPOSSIBLE, "{}"),
    MemoryError: (EXIT_IMPOSSIBLE, "this takes more memory than there is: ask for less"),
    OSError: (EXIT_IMPOSSIBLE, "{}"),
    ParameterError: (EXIT_IMPOSSIBLE, "{}"),
    MissingDependencyError: (EXIT_IMPOSSIBLE, "{}"),
    SecAggError: (EXIT_NO_SUM, "{}"),
    LedgerCorruptError: (EXIT_WRONG, "{}"),
    UnknownBudgetError: (EXIT_IMPOSSIBLE, "{}"),
    LedgerError: (EXIT_NO_SUM, "{}"),
    DpError: (EXIT_IMPOSSIBLE, "{}"),
}


@contextmanager
def exit_on_errors(as_json: bool, endings: Endings | None = None) -> Iterator[None]:
    """Turn what is raised on purpose, or comes from outside, into a sentence and an exit code.

    Args:
        as_json: whether machines listen.
        endings: what this command says otherwise than `ENDINGS`. An error's nearest class decides.

    Raises:
        SystemExit: with the exit code.
    """
    known = {**ENDINGS, **(endings or {})}
    try:
        yield
    except (BrokenPipeError, UnwrittenError):
        raise  # to `Commands.main`
    except tuple(known) as error:
        code, sentence = next(known[kind] for kind in type(error).__mro__ if kind in known)
        told = error.args[0] if isinstance(error, NotBegunError) else error
        tell(sentence.format(_text(told)), as_json, told if isinstance(told, Exception) else None)
        raise SystemExit(code) from None


@contextmanager
def beginning() -> Iterator[None]:
    """Have a service, a store or a ledger that cannot be used end the command by `EXIT_IMPOSSIBLE`: nothing has begun.

    Raises:
        NotBegunError: holds the error; of a ledger that contradicts its trail it is that error itself.
    """
    try:
        yield
    except LedgerCorruptError:
        raise
    except (SecAggError, DpError) as error:
        raise NotBegunError(error) from None


class Commands(TyperGroup):
    """Commands that end in a sentence whatever ends them, and with a code that tells whether they were heard."""

    def main(self, args: Any = None, *rest: Any, **options: Any) -> Any:
        """Run the command that was named; what it did stands, even if standard output takes no more."""
        as_json = "--json" in (sys.argv[1:] if args is None else args)
        code: Any = 0
        try:
            try:
                super().main(args, *rest, obj=as_json, **options)
            except SystemExit as end:
                # No command ends with 1 on purpose: it is how typer and rich end when nobody reads on.
                code = EXIT_UNREAD if end.code == 1 else end.code
                sys.stdout.flush()
                raise SystemExit(code) from None
        except BrokenPipeError:
            _silence_stdout()
            raise SystemExit(code or EXIT_UNREAD) from None
        except UnwrittenError as error:
            _silence_stdout()
            tell(f"standard output cannot be written: {error.strerror}; what the command did stands", False)
            raise SystemExit(code or EXIT_UNTOLD) from None

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command; its arguments have their help again, which click from 8.5 on overwrites in typer's."""
        command = super().get_command(ctx, cmd_name)
        callback = getattr(command, "callback", None)
        hints = {} if callback is None else get_type_hints(inspect.unwrap(callback), include_extras=True)
        for parameter in getattr(command, "params", ()):
            for told in getattr(hints.get(parameter.name), "__metadata__", ()):
                if isinstance(told, ArgumentInfo) and not parameter.help:
                    parameter.help = told.help
        return command

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named."""
        with exit_on_errors(bool(ctx.obj)):
            return super().invoke(ctx)


def _text(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror and not isinstance(error, (SecAggError, DpError)):
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _silence_stdout() -> None:
    """Send what is still to be written nowhere, or Python complains about it when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def tell(text: str, as_json: bool, error: Exception | None = None) -> None:
    """Say on standard error what went wrong; as JSON on standard output, too, if machines listen."""
    if as_json:
        facts = {"error": type(error).__name__ if error else "Error", "message": text}
        with suppress(OSError):  # told when the command ends
            sys.stdout.write(json.dumps(facts) + "\n")  # one line, also where output is lines of JSON
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


def check_place(file: Path, option: str) -> None:
    """Return if a file can be written there, as far as can be told before it is; else raise ParameterError."""
    folder = file.absolute().parent
    if not folder.is_dir():
        raise ParameterError(f"{option} is {file}, but there is no folder {folder}")
    if file.is_dir():
        raise ParameterError(f"{option} is {file}, but that is a folder; name a file in it")
    there = file.exists()
    try:
        file.open("ab").close()
    except OSError as error:
        raise ParameterError(f"{option} is {file}, but nothing can be written there: {error.strerror}") from None
    if not there:
        file.unlink()
