"""`secagg keygen`: identities for malicious-server rounds, as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secagg.errors import ParameterError
from secagg.signatures import Identity

from ..core.identity_files import write_identity, write_participants
from ..core.participants import Participants
from .modes import refuse_typed
from .tables import AsJson, print_json

ROSTER_NAME = "roster.json"


def keygen(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder for the files; made if it is not there.", metavar="DIR")],
    names: Annotated[
        list[str] | None, typer.Argument(help="Who they are for; numbered, if left out.", metavar="[NAME]...")
    ] = None,
    count: Annotated[int, typer.Option(help="How many, if numbered.", metavar="N", min=1, max=100_000)] = 1,
    name: Annotated[str, typer.Option(help="What stands before the numbers.", metavar="TEXT")] = "node",
    as_json: AsJson = False,
) -> None:
    """Make Ed25519 identities: a private key file for each node, and one roster of all public keys.

    Give each node its own private key and the roster. Nothing is overwritten; if it fails, nothing is left behind.
    """
    if names:
        refuse_typed(ctx, ("count", "name"), "where names are given")
    for each in names or [name]:
        if not each.replace("-", "").replace("_", "").isalnum():
            raise ParameterError(f"a name is {each!r}, but may have letters, digits, - and _ only")
    identities = {
        each: Identity.generate() for each in (Participants(names) if names else Participants.numbered(count, name))
    }
    files = {each: out / f"{each}.pem" for each in identities}
    roster, written = out / ROSTER_NAME, list[Path]()
    try:
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ParameterError(f"{out} cannot be made: {error.strerror}") from None
    try:
        for each, identity in identities.items():
            write_identity(files[each], identity)
            written.append(files[each])
        write_participants(roster, Participants({each: one.public_bytes for each, one in identities.items()}))
    except BaseException:
        for path in written:
            path.unlink()
        raise
    keys = [str(path) for path in files.values()]
    if as_json:
        print_json({"private_keys": keys, "roster": str(roster)})
        return
    only = len(keys) == 1
    typer.echo(f"{len(keys)} private key{'' if only else 's'}: {keys[0]}{'' if only else f' to {keys[-1]}'}")
    typer.echo(f"public keys of all: {roster}")
