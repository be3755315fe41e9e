"""`secagg members`: who may take part in a service: invitations, keys, revocation."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from secagg.errors import ParameterError

from ..core.files import write_whole
from ..core.identity_files import read_identity, write_participants
from .errors import Commands
from .options import option
from .service_options import check_installed, run_until_told
from .tables import AsJson, print_json

if TYPE_CHECKING:
    from ..service.members import Members

members_app = typer.Typer(cls=Commands, help="Who may take part in a service.", no_args_is_help=True)

StoreUrl = Annotated[str, typer.Option(help="The service's: a path, or a PostgreSQL URL.", metavar="URL")]
_STORE = "secagg-service.db"


@contextmanager
def _members(store: str, *, create: bool = False) -> Iterator[Members]:
    check_installed()
    from ..service.members import Members
    from ..service.store import Store

    opened = Store(store, create=create)
    try:
        yield Members(opened)
    finally:
        opened.close()


@members_app.command()
def invite(
    names: Annotated[list[str], typer.Argument(help="Whom.", metavar="NAME...")],
    store: StoreUrl = _STORE,
    hours: Annotated[float, typer.Option(help="For which it holds.", metavar="H")] = 168.0,
    out: Annotated[Path | None, option("Folder to write them to, a file each.", "DIR")] = None,
    as_json: AsJson = False,
) -> None:
    """Make one-time invitations. Whoever has one can enrol by that name once: send it to its owner alone."""
    if len(set(names)) != len(names):
        raise ParameterError("a name stands twice: once is enough")
    if out is not None:  # before earlier invitations are void
        for name in names:
            if Path(name).name != name or (out / name).is_dir():
                raise ParameterError(f"{name!r:.60} is no name of a file in {out}: leave --out away")
        try:
            out.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=out):
                pass
        except OSError as error:
            raise ParameterError(f"invitations cannot be written into {out}: {error.strerror}") from None
    with _members(store, create=True) as members:
        tokens = members.invite_all(names, seconds=hours * 3600)
    if out is None:
        if as_json:
            print_json({"invitations": tokens})
            return
        for name, token in tokens.items():
            typer.echo(f"{name} {token}")
        return
    files = {name: out / name for name in names}
    try:
        for name, token in tokens.items():
            write_whole(files[name], token + "\n", mode=0o600)
    except OSError as error:
        raise ParameterError(f"invitations cannot be written into {out}: {error.strerror}") from None
    if as_json:
        print_json({"files": {name: str(path) for name, path in files.items()}})
        return
    for name, path in files.items():
        typer.echo(f"{name} {path}")


@members_app.command("list")
def list_members(
    store: StoreUrl = _STORE,
    roster: Annotated[
        Path | None,
        option("Write a roster of their keys, too.", "FILE"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show who has enrolled, and who was invited."""
    with _members(store) as members:
        views, invited = members.views(), members.invited()
        if roster is not None:
            write_participants(roster, members.participants())
    if as_json:
        facts = [
            {
                "name": view.name,
                "fingerprint": view.fingerprint,
                "seen": view.seen,
                "wire": view.wire,
                "revoked": view.revoked,
            }
            for view in views
        ]
        print_json({"members": facts, "invited": invited})
        return
    table = Table(box=None, padding=(0, 2))
    for title in ("member", "key", "seen", "wire version", ""):
        table.add_column(title)
    for view in views:
        seen = "never" if view.seen is None else _ago(time.time() - view.seen)
        table.add_row(
            view.name, view.fingerprint, seen, "" if view.wire is None else str(view.wire), "revoked" * view.revoked
        )
    for name, until in invited.items():
        table.add_row(name, "", "", "", f"invited, for {_hours(until - time.time())}")
    Console().print(table)


@members_app.command()
def revoke(
    names: Annotated[list[str], typer.Argument(help="Whom.", metavar="NAME...")],
    store: StoreUrl = _STORE,
    as_json: AsJson = False,
) -> None:
    """Let members take part no more: their keys are refused from the next request on."""
    with _members(store) as members:
        known = {view.name for view in members.views()}
        for name in names:
            if name not in known:
                raise ParameterError(f"{name!r:.60} is no member: nobody was revoked")
        for name in names:
            members.revoke(name)
    if as_json:
        print_json({"revoked": names})
        return
    typer.echo(f"revoked: {', '.join(names)}")


@members_app.command()
def rotate(
    url: Annotated[str, typer.Argument(help="Of the service.", metavar="URL")],
    name: Annotated[str, option("Of the member.", "NAME")],
    identity: Annotated[Path, option("Its key file.", "FILE")],
    new: Annotated[Path, option("The key file that is to follow.", "FILE")],
    ca: Annotated[Path | None, option("Certificates to trust, in PEM.", "FILE")] = None,
    insecure_loopback: Annotated[
        bool, typer.Option("--insecure-loopback", help="Without TLS, on this machine, for trials.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Replace a member's own key by another; make it with `secagg keygen`. Join by the new one from then on."""
    check_installed()
    from ..service.connection import Connection

    old, following = read_identity(identity), read_identity(new)

    async def run() -> bool:
        async with Connection(url, old, ca=ca, patience=30, insecure_loopback=insecure_loopback) as connection:
            await connection.rotate(name, following)
        return True

    if not run_until_told(run()):
        raise ParameterError("told to end before the service answered: the same command, once more, tells")
    if as_json:
        print_json({"name": name, "public_key": following.public_bytes.hex()})
        return
    typer.echo(f"{name} has another key now: join with --identity {new}")


def _ago(seconds: float) -> str:
    return "just now" if seconds < 60 else f"{_hours(seconds)} ago"


def _hours(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
