"""`secagg keygen`: identities for malicious-server rounds, as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from secagg.errors import ParameterError
from secagg.signatures import Identity

from ..core.identity_files import write_identity, write_participants
from ..core.participants import Participants
from .errors import EXIT_IMPOSSIBLE, tell

ROSTER_NAME = "roster.json"


def keygen(
    out: Annotated[Path, typer.Option(help="Folder for the files; made if it is not there.")],
    count: Annotated[int, typer.Option(help="How many identities.", min=1, max=100_000)] = 1,
    name: Annotated[str, typer.Option(help="What they are called, before their number.")] = "node",
    as_json: Annotated[bool, typer.Option("--json", help="Print the names of the files as JSON.")] = False,
) -> None:
    """Make Ed25519 identities: a private key file for each node, and one roster of all public keys.

    Give each node its own private key and the roster. Nothing is overwritten.
    """
    try:
        if not name.replace("-", "").replace("_", "").isalnum():
            raise ParameterError(f"--name is {name!r}, but may have letters, digits, - and _ only")
        width = len(str(count))
        names = [f"{name}-{number:0{width}}" for number in range(1, count + 1)]
        _make_folder(out)
        taken = [path for path in (out / ROSTER_NAME, *(out / f"{each}.pem" for each in names)) if path.exists()]
        if taken:
            raise ParameterError(f"{taken[0]} exists: keys are never overwritten; name another folder")
        identities = {each: Identity.generate() for each in names}
        for each, identity in identities.items():
            write_identity(out / f"{each}.pem", identity)
        keys_by_name = {each: identity.public_bytes for each, identity in identities.items()}
        write_participants(out / ROSTER_NAME, Participants(keys_by_name))
    except ParameterError as error:
        tell(str(error), as_json, error)
        raise typer.Exit(EXIT_IMPOSSIBLE) from None
    keys = [str(out / f"{each}.pem") for each in names]
    if as_json:
        typer.echo(json.dumps({"private_keys": keys, "roster": str(out / ROSTER_NAME)}, indent=2))
        return
    typer.echo(f"{count} private key{'' if count == 1 else 's'}: {keys[0]}{'' if count == 1 else f' to {keys[-1]}'}")
    typer.echo(f"public keys of all: {out / ROSTER_NAME}")


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ParameterError(f"{out} cannot be made: {error.strerror}") from None
