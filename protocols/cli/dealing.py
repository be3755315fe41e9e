"""`secagg paillier`: the files of encrypted sums: a dealt key with its shares, and the parameters of a round."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from secagg.encoding import FixedPoint, Rounding
from secagg.errors import ParameterError
from secagg.paillier import deal

from ..core.identity_files import read_participants
from ..core.participants import Participants
from ..paillier.files import read_key, read_round, write_key, write_round, write_share
from ..paillier.parameters import RoundParameters, check_quorum
from .errors import Commands, check_place
from .tables import AsJson, print_json

KEY_NAME = "committee.json"
CorruptMembers = Annotated[
    int | None, typer.Option(help="Members who may be corrupt; a third of them.", metavar="N", show_default=False)
]
paillier_app = typer.Typer(cls=Commands, help="Keys and rounds of encrypted sums, as files.", no_args_is_help=True)


@paillier_app.command("deal")
def deal_key(
    members: Annotated[list[str], typer.Argument(help="The committee, by name.", metavar="NAME...")],
    out: Annotated[Path, typer.Option(help="Folder for the files; made if it is not there.", metavar="DIR")],
    threshold: Annotated[int, typer.Option(help="Members who open sums; above half of all plus corrupt.", metavar="N")],
    key_bits: Annotated[int, typer.Option(help="Bits of the modulus: 2048 or 3072.", metavar="N")] = 3072,
    corrupt_members: CorruptMembers = None,
    one_session: Annotated[
        bool, typer.Option("--one-session", help="For a single round, without proofs: faster for the committee.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Deal a key to a committee: a share for each member, and the public key with their names.

    Whoever runs this knows the key while it runs, and is trusted to forget it:
    send each share to its member alone, and delete it here. Nothing is
    overwritten; if it fails, nothing is left behind.
    """
    if key_bits not in (2048, 3072):
        raise ParameterError(f"--key-bits is {key_bits}, but must be 2048 or 3072")
    for each in members:
        if not each.replace("-", "").replace("_", "").isalnum():
            raise ParameterError(f"a name is {each!r:.60}, but may have letters, digits, - and _ only")
    committee = Participants(members)
    check_quorum(threshold, len(committee), corrupt_members)
    try:
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ParameterError(f"{out} cannot be made: {error.strerror}") from None
    public, files = out / KEY_NAME, {name: out / f"{name}.share" for name in committee}
    for path in (public, *files.values()):
        if path.exists():
            raise ParameterError(f"{path} exists: keys are never overwritten; name another folder")
    key, shares = deal(threshold, len(committee), key_bits=key_bits, one_session_without_proofs=one_session)
    written: list[Path] = []
    try:
        write_key(public, key, committee)
        written.append(public)
        for share in shares:
            name = committee.name(share.member)
            write_share(files[name], share, name)
            written.append(files[name])
    except BaseException:
        for path in written:
            path.unlink()
        raise
    if as_json:
        print_json({"key": str(public), "shares": {name: str(path) for name, path in files.items()}})
        return
    typer.echo(f"the public key: {public}")
    for name, path in files.items():
        typer.echo(f"the share of {name}, for it alone: {path}")


@paillier_app.command("round")
def make_round(
    key: Annotated[Path, typer.Argument(help="The public key that `deal` wrote.", metavar="KEY")],
    rosters: Annotated[
        list[Path], typer.Argument(help="Public keys of all, as `keygen` writes them.", metavar="ROSTER...")
    ],
    length: Annotated[int, typer.Option(help="Numbers in an update.", metavar="N")],
    clip: Annotated[float, typer.Option(help="Largest absolute value of a number.", metavar="F")],
    min_contributors: Annotated[int, typer.Option(help="The committee opens no sum of fewer.", metavar="N")],
    out: Annotated[Path, typer.Option(help="File to write.", metavar="FILE")],
    contributor: Annotated[
        list[str] | None,
        typer.Option(help="Who contributes; else all in the rosters who hold no share.", metavar="NAME"),
    ] = None,
    value_bits: Annotated[int, typer.Option(help="Bits of a number.", metavar="N")] = 16,
    max_weight: Annotated[int, typer.Option(help="Largest weight; 1: without weights.", metavar="N")] = 1,
    rounding: Annotated[
        Rounding, typer.Option(help=f"How numbers become whole: {', '.join(Rounding)}.", metavar="NAME")
    ] = Rounding.STOCHASTIC,
    corrupt_members: CorruptMembers = None,
    corrupt_contributors: Annotated[
        int | None,
        typer.Option(help="Contributors who may; a third of them.", metavar="N", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the parameters of one round, which all parties must be given: hand them over where nobody alters them.

    Each round has a file of its own. Make it once the round before has ended.
    """
    dealt, committee = read_key(key)
    keys: dict[str, bytes] = {}
    for roster in rosters:
        for name, public in read_participants(roster).keys.items():
            if keys.setdefault(name, public) != public:
                raise ParameterError(f"{name!r:.60} has another key in {roster} than in a roster before")
    contributors = contributor or [name for name in keys if name not in committee]
    for name in (*committee, *contributors):
        if name not in keys:
            raise ParameterError(f"{name!r:.60} is in no roster: name the file with its public key, too")
    parameters = RoundParameters(
        dealt,
        FixedPoint(clip, value_bits, len(contributors), max_weight, rounding),
        length,
        Participants({name: keys[name] for name in contributors}),
        Participants({name: keys[name] for name in committee}),
        min_contributors,
        os.urandom(32),
        corrupt_members,
        corrupt_contributors,
    )
    check_place(out, "--out")
    write_round(out, parameters)
    _tell(parameters, as_json)


@paillier_app.command("show")
def show_round(
    file: Annotated[Path, typer.Argument(help="The parameters that `round` wrote.", metavar="FILE")],
    as_json: AsJson = False,
) -> None:
    """Tell what a round's parameters say; parties compare its number with each other."""
    _tell(read_round(file), as_json)


def facts(parameters: RoundParameters) -> dict[str, Any]:
    """Return what a round's parameters say, for people."""
    key, codec = parameters.key, parameters.codec
    return {
        "round": parameters.session.hex(),
        "length": parameters.length,
        "clip": codec.clip,
        "value_bits": codec.value_bits,
        "max_weight": codec.max_weight,
        "rounding": str(codec.rounding),
        "contributors": list(parameters.contributors),
        "min_contributors": parameters.min_contributors,
        "corrupt_contributors": parameters.max_corrupt_contributors,
        "committee": list(parameters.members),
        "threshold": key.threshold,
        "corrupt_members": parameters.max_corrupt_members,
        "key_bits": key.public_key.key_bits,
        "one_session": key.one_session_without_proofs,
    }


def _tell(parameters: RoundParameters, as_json: bool) -> None:
    told = facts(parameters)
    if as_json:
        print_json(told)
        return
    for name, value in told.items():
        typer.echo(f"{name.replace('_', ' ')}: {', '.join(value) if isinstance(value, list) else value}")
