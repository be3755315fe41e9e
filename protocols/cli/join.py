"""`secagg join`: take part in a service's sessions, with what this member gives, until told to end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import numpy as np
import typer

from dp.sensitivity import Unit
from secagg.errors import ParameterError
from secagg.signatures import Identity

from ..core.identity_files import read_identity, read_participants, write_identity
from .errors import EXIT_NO_SUM, beginning, tell
from .modes import refuse_typed
from .options import option
from .service_options import check_installed, run_until_told, saying

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ..masking.policy import PrivacyDemand
    from ..paillier.key_use import KeyUse
    from ..service.client import Ended
    from ..service.parties import PaillierParty
    from ..service.sessions import Terms
    from ..statistics.site import Site

MAX_VALUES_BYTES = 1 << 30
_GIVEN, _DEMANDED, _PAGE = "What is given", "What is demanded of sums", "The participant's page"
_ENCRYPTED = "One encrypted sum, instead of sums under masks"


def join(
    ctx: typer.Context,
    url: Annotated[str, typer.Argument(help="Of the service, such as https://sums.example:8443.", metavar="URL")],
    name: Annotated[str, option("Of this member.", "NAME")],
    state: Annotated[Path, option("Its folder; keep it.", "DIR")],
    identity: Annotated[Path | None, option("Its key; else DIR/identity.pem.", "FILE")] = None,
    invitation: Annotated[Path | None, option("For the first time; - is standard input.", "FILE")] = None,
    ca: Annotated[Path | None, option("Certificates to trust, in PEM; else the system's.", "FILE")] = None,
    site: Annotated[Path | None, option("Table, policy and journal, in TOML: answers queries.", "FILE", _GIVEN)] = None,
    data: Annotated[Path | None, option("CSV or Parquet, instead of the site's table.", "FILE", _GIVEN)] = None,
    values: Annotated[Path | None, option("Vectors, NPZ or JSON: adds to sums.", "FILE", _GIVEN)] = None,
    training: Annotated[str | None, option("Trains: gets terms, returns vectors.", "MODULE:FUNCTION", _GIVEN)] = None,
    weight: Annotated[int, option("Of values in weighted sums: 1.", "N", _GIVEN, min=0)] = 1,
    min_clients: Annotated[int | None, option("Fewer are not summed with: 5.", "N", _DEMANDED)] = None,
    min_survivors: Annotated[int | None, option("Sums have so many inputs at least: 4.", "N", _DEMANDED)] = None,
    corrupt: Annotated[float | None, option("Fraction that may be corrupt: 0.1.", "F", _DEMANDED)] = None,
    epsilon: Annotated[float | None, option("Noise: for this epsilon at most.", "F", _DEMANDED)] = None,
    delta: Annotated[float | None, option("And at this delta.", "F", _DEMANDED)] = None,
    unit: Annotated[Unit, option(f"Of each: {', '.join(Unit)} (a row of --values).", "NAME", _DEMANDED)] = Unit.CLIENT,
    rounds: Annotated[int, option("In so many private sessions, and no more: 1.", "N", _DEMANDED)] = 1,
    min_participants: Annotated[int | None, option("Private sums have so many at least: 10.", "N", _DEMANDED)] = None,
    roster: Annotated[
        Path | None, option("Public keys of all, for malicious-server sessions.", "FILE", _DEMANDED)
    ] = None,
    parameters: Annotated[Path | None, option("Of the encrypted sum, from whom you trust.", "FILE", _ENCRYPTED)] = None,
    share: Annotated[Path | None, option("Of its key, for a committee member.", "FILE", _ENCRYPTED)] = None,
    sessions: Annotated[int | None, option("End when so many have ended.", "N", min=1)] = None,
    patience: Annotated[float | None, option("Seconds that a service may be away.", "S", min=0)] = None,
    page: Annotated[
        int | None, option("Show on this port what was asked and given.", "PORT", _PAGE, min=1, max=65535)
    ] = None,
    page_token: Annotated[Path | None, option("Its token; else DIR/page-token.", "FILE", _PAGE)] = None,
    log_json: Annotated[bool, typer.Option("--log-json", help="Log to standard error, as lines of JSON.")] = False,
    insecure_loopback: Annotated[
        bool, typer.Option("--insecure-loopback", help="Without TLS, for trials here.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A line of JSON for each ended session.")] = False,
) -> None:
    """Take part in a service's sessions: answer queries by a site's table, add values to sums, or train in rounds.

    The folder holds the member's key and what is under way. Killed at any time
    and started again, it sends what it would have sent. Never restore an older
    copy of it.
    """
    check_installed()
    from ..masking.policy import ClientPolicy
    from ..service.client import take_part
    from ..service.connection import Connection
    from ..service.consents import Consents

    if (site, values, training, share) == (None, None, None, None):
        raise ParameterError(
            "there is nothing to give: name a --site, --values, --training, or the --share of a committee member"
        )
    _check_typed(ctx, {"site": site, "values": values, "epsilon": epsilon, "page": page})
    demands: dict[str, Any] = {
        "min_clients": min_clients,
        "min_survivors": min_survivors,
        "corrupt_fraction": corrupt,
        "min_participants": min_participants,
        "privacy": _noise(epsilon, delta, unit, rounds, corrupt),
    }
    demanded = {what: demand for what, demand in demands.items() if demand is not None}
    policy = ClientPolicy(**demanded) if demanded else None
    say = saying(log_json)
    read = None if site is None else _site(site, data, say)
    if read is not None and demanded:
        raise ParameterError("a site's policy demands by itself: write min_sites into its file")
    answers: dict[str, Any] = {} if read is None else {"statistics": read}
    if values is not None:
        given = read_values(values, rows=unit is Unit.RECORD)
        answers["sum"] = lambda terms: _inputs(given, weight, terms)
    if training is not None:
        answers["training"] = _training(training, say, log_json)
    demands_else = bool(demanded) or roster is not None or site is not None or training is not None
    if (parameters is not None and demands_else) or (share is not None and parameters is None):
        raise ParameterError(
            "--parameters is one encrypted sum, and says itself what it demands: give --values, or the --share of a "
            "committee member, and nothing else of sums"
        )
    _make(state)
    own = _identity(identity or state / "identity.pem")
    party = None if parameters is None else _encrypted(parameters, share, name, own, answers, say)
    token = None if invitation is None else _invitation(invitation)
    consents = Consents(state)
    shown = None if page is None else _page(consents, page, page_token or state / "page-token", name, url, say)
    noting: Any = consents
    if log_json:
        from ..service.observing import Logged

        noting = Logged(consents)

    async def run() -> list[Ended]:
        async with Connection(
            *(url, own),
            ca=ca,
            patience=patience,
            insecure_loopback=insecure_loopback,
            told=say,
        ) as connection:
            with beginning():
                if token is not None:
                    await connection.enrol(name, token)
                await connection.confirm(name)
            say(f"{name} takes part at {url}, and waits for sessions")
            taking = take_part(
                connection,
                name,
                answers,
                state=state,
                policy=policy,
                participants=None if roster is None else read_participants(roster),
                party=party,
                consents=noting,
                sessions=sessions,
                warm=sessions is None,  # who goes after a few sessions does without
                told=lambda ended: _print(ended, as_json, quiet=log_json, out=printed),
            )
            if shown is None:
                return await taking
            return await _beside_page(taking, shown())

    printed = sys.stdout
    with contextlib.nullcontext() if training is None else _prints_aside(log_json):
        ended = run_until_told(run())
    if ended is not None and any(each.phase != "completed" for each in ended):
        raise typer.Exit(EXIT_NO_SUM)


def _check_typed(ctx: typer.Context, given: Mapping[str, object]) -> None:
    """Raise ParameterError for an option that was typed without the one by which alone it is read."""
    for name, options in (
        ("site", ("data",)),
        ("values", ("weight",)),
        ("epsilon", ("unit", "rounds")),
        ("page", ("page_token",)),
    ):
        if given[name] is None:
            refuse_typed(ctx, options, f"without --{name}")


def _noise(
    epsilon: float | None, delta: float | None, unit: Unit, rounds: int, corrupt: float | None
) -> PrivacyDemand | None:
    """Return the demand on noise that options make, if they do."""
    from ..masking.policy import PrivacyDemand

    if (epsilon is None) is not (delta is None):
        raise ParameterError("a demand on noise needs both --epsilon and --delta, such as 1 and 1e-6")
    if epsilon is None or delta is None:
        return None
    return PrivacyDemand(epsilon, delta, rounds, corrupt_fraction=0.1 if corrupt is None else corrupt, unit=unit)


def _page(consents: Any, port: int, token_file: Path, name: str, url: str, say: Callable[[str], None]) -> Any:
    """Return what serves the page, once its token is there."""
    from ..service.pages.joining import serve_page
    from ..service.tokens import Token

    token = Token.in_file(token_file)

    def served() -> None:
        say(f"the page is http://127.0.0.1:{port}, its token in {token_file}")

    return lambda: serve_page(consents, port=port, token=token, name=name, service=url, told=served)


async def _beside_page(taking: Any, shown: Any) -> list[Ended]:
    serving, working = asyncio.create_task(shown), asyncio.create_task(taking)
    try:
        await asyncio.wait({serving, working}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done() and not working.done():
            await serving  # which says why it cannot be served
        ended: list[Ended] = await working
        return ended
    finally:
        for task in (serving, working):
            task.cancel()
        await asyncio.gather(serving, working, return_exceptions=True)


def _make(state: Path) -> None:
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ParameterError(f"--state is {state}, but it cannot be made: {error.strerror}") from None


def _training(named: str, say: Callable[[str], None], log_json: bool) -> Any:
    from ..service import training

    with _prints_aside(log_json):
        loaded = training.load(named)
    return training.training(loaded, named, say)


@contextlib.contextmanager
def _prints_aside(log_json: bool) -> Iterator[None]:
    """Have what a function prints go to standard error, or nowhere, where that is lines of JSON."""
    with Path(os.devnull).open("w", encoding="utf-8", errors="replace") as nowhere:
        aside = nowhere if log_json else sys.stderr
        with contextlib.redirect_stdout(aside):
            yield


def _encrypted(
    path: Path, share: Path | None, name: str, own: Identity, answers: dict[str, Any], say: Callable[[str], None]
) -> PaillierParty:
    """Return this member's part in a round of encrypted sums; one of the committee gives nothing to it."""
    from ..paillier.files import read_round, read_share
    from ..service.parties import PaillierParty

    parameters = read_round(path)
    owner, held = (name, None) if share is None else read_share(share, parameters)[::-1]
    known = (parameters.contributors if held is None else parameters.members).keys
    if owner != name or known.get(name) != own.public_bytes:
        role = "a contributor" if held is None else "of the committee"
        remedy = ": give its --share" if held is None and name in parameters.members else ""
        raise ParameterError(f"{name!r:.60}, by its key, is not {role} in the round of {path}{remedy}")
    if (held is None) is not bool(answers):
        raise ParameterError("a contributor gives --values to an encrypted sum, and a committee member nothing")
    answers.setdefault("sum", lambda terms: {})
    say(
        f"round {parameters.session.hex()[:16]}: {parameters.length} numbers of {parameters.min_contributors} at least "
        f"of {', '.join(parameters.contributors)}; opened by {parameters.key.threshold} of "
        f"{', '.join(parameters.members)}"
    )
    once = share is not None and parameters.key.one_session_without_proofs
    use = _key_use(share) if once and share is not None else None
    return PaillierParty(
        *(parameters, name, own, held),
        key_use=use,
        told=lambda clipped: say(
            f"{clipped} of {parameters.length} numbers were beyond {parameters.codec.clip:g} and clipped: the sum has "
            "the clipped ones"
        ),
    )


def _key_use(share: Path) -> KeyUse:
    """Return what remembers the session that a share served, beside the share itself, by whatever name it is given."""
    from ..paillier.key_use import KeyUse

    real = share.resolve()
    return KeyUse(real.with_name(f"{real.name}.used"))


def _site(path: Path, data: Path | None, say: Callable[[str], None]) -> Site:
    from ..statistics.site_file import read_site

    return read_site(path, table=data, log=say)


def _identity(path: Path) -> Identity:
    """Return the identity in a file, which is made for its owner alone if it is not there."""
    if not path.exists():
        write_identity(path, Identity.generate())
    return read_identity(path)


def _invitation(path: Path) -> str:
    try:
        return (sys.stdin.read(1000) if str(path) == "-" else path.read_text(encoding="ascii")[:1000]).strip()
    except OSError as error:
        raise ParameterError(f"--invitation is {path}, but it cannot be read: {error.strerror}") from None
    except ValueError:
        raise ParameterError(f"{path} holds no invitation") from None


def read_values(path: Path, *, rows: bool = False) -> dict[str, Any]:
    """Return name of a vector -> array, from NPZ or JSON.

    Args:
        path: of the file.
        rows: whether each is a list of rows, one for each record, instead of a list of numbers.

    Raises:
        ParameterError: the file cannot be read, or holds something else than vectors of numbers.
    """
    try:
        if path.stat().st_size > MAX_VALUES_BYTES:
            raise ParameterError(f"{path} takes more than {MAX_VALUES_BYTES >> 20} MiB")
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                found = {name: arrays[name] for name in arrays.files}
        else:
            found = {
                name: _array(listed, rows=rows) for name, listed in json.loads(path.read_text(encoding="utf-8")).items()
            }
    except OSError as error:
        raise ParameterError(f"{path} cannot be read: {error.strerror or error}") from None
    except ParameterError:
        raise
    except Exception:  # of zip files, numpy's headers, JSON: whatever it is, it is no file of values
        raise ParameterError(f'{path} is no NPZ, and no JSON such as {{"votes": [0, 1, 0]}}') from None
    for name, array in found.items():
        if array.ndim != (2 if rows else 1) or array.dtype.kind not in "iuf":
            what = "a list of rows of numbers, one for each record" if rows else "a list of numbers"
            raise ParameterError(f"{path}, vector {name!r:.60} must be {what}")
    if not found:
        raise ParameterError(f"{path} holds no vectors")
    return found


def _array(listed: Any, *, rows: bool) -> Any:
    numbers = [number for row in listed for number in row] if rows else list(listed)
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
        raise ValueError("not numbers")
    whole = all(isinstance(number, int) for number in numbers)
    if whole and any(abs(number) >= 1 << 63 for number in numbers):
        raise ValueError("beyond 64 bits")
    if not whole and not all(math.isfinite(number) for number in numbers):
        raise ValueError("not finite")
    shaped = listed if numbers or not rows else np.zeros((len(listed), 0))
    return np.array(shaped, dtype=np.int64 if whole else np.float64)


def _inputs(values: dict[str, Any], weight: int, terms: Terms) -> Any:
    """Return what is given in a session: whole numbers stand for floats where those are asked for with noise."""
    from ..core.machine import Inputs
    from ..inputs.vectors import PrivateVector

    given = dict(values)
    for spec in getattr(terms.proposed, "vectors", ()):
        if isinstance(spec, PrivateVector) and spec.name in given:
            given[spec.name] = given[spec.name].astype(np.float64)
        if spec.name in given and given[spec.name].shape == (0, 0):  # who has no records adds noise all the same
            given[spec.name] = given[spec.name].reshape(0, spec.length)
    return Inputs(given, weight)


def _print(ended: Ended, as_json: bool, *, quiet: bool = False, out: TextIO | None = None) -> None:
    if ended.own and not quiet:  # no log has values
        tell(f"{ended.title or ended.session}: {ended.own} (the service was not told this)", False)
    if as_json:
        facts = {"session": ended.session, "title": ended.title, "phase": ended.phase, "reason": ended.reason}
        print(json.dumps(facts), file=out, flush=True)
        return
    why = ended.reason or ("there is no result: the operator's page says why" if ended.phase == "aborted" else "")
    typer.echo(f"{ended.title or ended.session}: {ended.phase}" + (f", {why}" if why else ""), file=out)
