"""`secagg serve`: sessions over HTTPS for members that have enrolled, until they have ended."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dp.ledger import Ledger
from dp.sensitivity import Unit
from secagg.errors import ParameterError

from ..core.threat_model import Adversary
from ..inputs.vectors import FloatVector, IntegerVector
from ..privacy.joint import PlannedCounts, PlannedVector
from ..privacy.plans import MIN_PARTICIPANTS
from .errors import EXIT_NO_SUM, beginning, tell
from .modes import refuse_typed
from .options import option
from .service_options import check_installed, run_until_told, saying

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..service.apart import Apart
    from ..service.limits import Limits
    from ..service.noise import Private, Vector
    from ..service.serving import Service
    from ..service.session_file import Asked
    from ..service.views import SessionView

Many = list[str] | None
Functions = Mapping[int, "Apart"]
"""Number of a session that trains -> the function that proposes its rounds."""
_ASKED, _ADDRESS, _PAGE = "One session, instead of a file", "Where it is served", "What is shown"
_NOISE = "Noise in its sums"

StoreUrl = Annotated[str, typer.Option(help="A path, or a PostgreSQL URL.", metavar="URL")]


def serve(
    ctx: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(help="Sessions, in TOML.", metavar="[SESSIONS.toml]", show_default=False)
    ] = None,
    query: Annotated[Path | None, option("A query in TOML.", "FILE", _ASKED)] = None,
    integers: Annotated[Many, option("Integers from 0 to MAX.", "NAME:LENGTH:MAX", _ASKED)] = None,
    floats: Annotated[Many, option("Floats up to CLIP.", "NAME:LENGTH:CLIP", _ASKED)] = None,
    epsilon: Annotated[float | None, option("With noise: CLIP is an L2 norm, MAX a total.", "F", _NOISE)] = None,
    delta: Annotated[float | None, option("Well below one over the units.", "F", _NOISE)] = None,
    unit: Annotated[Unit, option(f"Whose change it covers: {', '.join(Unit)}.", "NAME", _NOISE)] = Unit.CLIENT,
    budget: Annotated[str | None, option("The one in the --ledger that pays.", "NAME", _NOISE)] = None,
    min_participants: Annotated[int, option("Fewer are never summed: 10.", "N", _NOISE)] = MIN_PARTICIPANTS,
    training: Annotated[str | None, option("Proposes rounds of training.", "MODULE:FUNCTION", _ASKED)] = None,
    members: Annotated[int | None, option("Wait for so many to enrol.", "N", _ASKED)] = None,
    member: Annotated[Many, option("Or for these.", "NAME", _ASKED)] = None,
    title: Annotated[str, option("What it is called.", "TEXT", _ASKED)] = "a session",
    corrupt: Annotated[float, option("Fraction of corrupt ones: 0.1.", "F", _ASKED)] = 0.1,
    dropout: Annotated[float, option("Fraction that vanishes: 0.1.", "F", _ASKED)] = 0.1,
    adversary: Annotated[
        Adversary, option(f"{', '.join(Adversary)}.", "NAME", _ASKED)
    ] = Adversary.SEMI_MALICIOUS_SERVER,
    seconds: Annotated[float, option("For each phase: 60.", "S", _ASKED)] = 60.0,
    quorum: Annotated[float, option("Fraction that is enough: 1.", "F", _ASKED)] = 1.0,
    grace: Annotated[float, option("For the others, from then on: 0.", "S", _ASKED)] = 0.0,
    to_members: Annotated[
        bool, typer.Option("--to-members", help="Members may read the result.", rich_help_panel=_ASKED)
    ] = False,
    store: StoreUrl = "secagg-service.db",
    ledger: Annotated[str | None, option("Pays for private sessions.", "URL")] = None,
    training_seconds: Annotated[float, option("For a function that trains: 3600.", "S")] = 3600.0,
    side_by_side: Annotated[bool, typer.Option("--side-by-side", help="All sessions at once.")] = False,
    forever: Annotated[bool, typer.Option("--forever", help="Serve on when they have ended.")] = False,
    host: Annotated[str, option("Address: 127.0.0.1.", "HOST", _ADDRESS)] = "127.0.0.1",
    port: Annotated[int, option("8443; 0: one that is free.", "N", _ADDRESS, min=0, max=65535)] = 8443,
    certificate: Annotated[Path | None, option("Its chain, in PEM.", "FILE", _ADDRESS)] = None,
    key: Annotated[Path | None, option("The private key, in PEM.", "FILE", _ADDRESS)] = None,
    authority: Annotated[Many, option("As members know it.", "HOST[:PORT]", _ADDRESS)] = None,
    insecure_loopback: Annotated[
        bool,
        typer.Option("--insecure-loopback", help="Without TLS, for trials here.", rich_help_panel=_ADDRESS),
    ] = False,
    operator_token: Annotated[Path | None, option("The page's; made if it is not there.", "FILE", _PAGE)] = None,
    limit: Annotated[Many, option("Changes one, such as burst=800.", "NAME=VALUE", _ADDRESS)] = None,
    private_page: Annotated[
        bool, typer.Option("--private-page", help="Show nothing without the token.", rich_help_panel=_PAGE)
    ] = False,
    log_json: Annotated[
        bool, typer.Option("--log-json", help="Log to standard error, as lines of JSON.", rich_help_panel=_PAGE)
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each ended session.")] = False,
) -> None:
    """Run sessions over HTTPS for members that have enrolled (`secagg members invite`), and end when they have.

    What is done is durable at once: killed at any time and started again with
    the same store, it goes on with the sessions that were begun, opens those
    that were not, and prints again what has ended. To ask the same a second
    time, give it another title, or take another store.
    """
    check_installed()
    from ..service.apart import Apart
    from ..service.deadlines import Deadlines
    from ..service.serving import Service
    from ..service.session_file import Asked, read_query_file, read_sessions
    from ..service.sessions import Audience

    alone = query is not None or bool(integers) or bool(floats) or training is not None
    if alone and file is not None:
        raise ParameterError("give a file of sessions, or options that ask for one, and not both")
    if not alone and file is None and not forever:
        raise ParameterError("there is nothing to run: give a file of sessions, --query, --integers, or --forever")
    _check_typed(ctx, file, alone=alone, noisy=epsilon is not None)
    asked: list[Asked] = [] if file is None else read_sessions(file)
    private = None if epsilon is None else _private(epsilon, delta, budget, unit, min_participants)
    if alone:
        if (members is None) is not bool(member):
            raise ParameterError("say who takes part: --members N for how many, or --member NAME for each")
        asked.append(
            Asked(
                title=title,
                members=tuple(member) if member else members or 0,
                query=None if query is None else read_query_file(query),
                vectors=_vectors(integers or [], floats or [], noisy=private is not None),
                private=private,
                training=training,
                corrupt=corrupt,
                dropout=dropout,
                adversary=adversary,
                deadlines=Deadlines(seconds, quorum, grace),
                results_to=Audience.MEMBERS if to_members else Audience.OPERATOR,
            )
        )
    if all(one.training is None for one in asked):
        refuse_typed(ctx, ("training_seconds",), "where no session trains")
    limits = _limits(limit or [])
    page = Shown(operator_token, private_page)
    say = saying(log_json)
    budgets = {one.private.budget: one.title for one in asked if one.private is not None}
    for name, of in budgets.items():
        if ledger is None:
            raise ParameterError(f"session {of!r:.60} is paid from the budget {name!r:.60}: name its --ledger")
    with ExitStack() as held:
        functions = {
            number: held.enter_context(Apart(one.training, training_seconds, say, silent=log_json))
            for number, one in enumerate(asked)
            if one.training is not None
        }
        with beginning():
            account = None if ledger is None else held.enter_context(Ledger.open(ledger))
            if account is not None:
                for name in budgets:
                    account.status(name)  # which raises where there is none of that name
            service = Service(
                store,
                host=host,
                port=port,
                certificate=certificate,
                key=key,
                authorities=authority or None,
                limits=limits,
                insecure_loopback=insecure_loopback,
                routes=page.routes,
                wrap=page.observer.counted,
                ledger=account,
                observe=page.observer,
                job_seconds=training_seconds,
                told=say,
            )
        service.refused.told, service.refused.failed = page.observer.refused, say
        with service:  # which ends before functions do, so that none of them has failed by that
            failed = run_until_told(_serve(service, asked, functions, side_by_side, forever, as_json, say))
    if failed:
        raise typer.Exit(EXIT_NO_SUM)


def _check_typed(ctx: typer.Context, file: Path | None, *, alone: bool, noisy: bool) -> None:
    """Raise ParameterError for an option of one session that was typed where a file says it, or there is none."""
    of_one = {each.name for each in ctx.command.params if getattr(each, "rich_help_panel", None) in (_ASKED, _NOISE)}
    if file is not None:
        refuse_typed(ctx, of_one, "with a file of sessions, which says it of each")
    elif not alone:
        refuse_typed(ctx, of_one, "without --query, --integers or --floats")
    elif not noisy:
        refuse_typed(ctx, ("delta", "unit", "budget", "min_participants"), "without --epsilon")


async def _serve(
    service: Service,
    asked: list[Asked],
    functions: Functions,
    side_by_side: bool,
    forever: bool,
    as_json: bool,
    say: Callable[[str], None],
) -> bool:
    """Run the sessions; tell whether one failed."""
    async with service.serving():
        say(f"serving at {service.url} (known as {' or '.join(sorted(service.requests.authorities))})")
        if side_by_side:
            fine = await asyncio.gather(*(_session(service, *one, functions, as_json, say) for one in enumerate(asked)))
        else:
            fine = [await _session(service, *one, functions, as_json, say) for one in enumerate(asked)]
        if forever:
            await asyncio.Event().wait()
        await service.desk.parted()
    return not all(fine)


async def _session(
    service: Service, number: int, asked: Asked, functions: Functions, as_json: bool, say: Callable[[str], None]
) -> bool:
    """Run a session or rounds of training, or go on with what was begun before; tell whether all have a result."""
    from ..service.training import train

    name = f"serve/{number}/{asked.digest}"
    say(f"{asked.title}: its phases are on the page")
    fine = True
    try:
        if asked.training is None:
            view = await service.once(name, asked, lambda waiting: say(f"{asked.title}: waits, {waiting}"))
            return await _ended(service, view, as_json)
        at = 0
        async for view in train(service, name, asked, functions[number], say):
            say(f"{asked.title}: round {at} {view.state}{f', {view.error}' if view.error else ''}")
            fine = await _ended(service, view, as_json, at)
            at += 1
    except ParameterError as error:  # which ends no other session
        tell(f"{asked.title}: {error}", False)
        if as_json:
            _line({"title": asked.title, "error": type(error).__name__, "reason": str(error)})
        fine = False
    if asked.training is not None:
        await asyncio.to_thread(functions[number].close)  # its job has ended
    return fine


async def _ended(service: Service, view: SessionView, as_json: bool, at: int | None = None) -> bool:
    _print(view, b"" if view.error else await service.desk.result(None, view.session), as_json, at)
    return not view.error


def _limits(given: list[str]) -> Limits:
    """Return the limits, of which some are given; raise ParameterError where one is none."""
    from ..service.limits import Limits

    kinds: dict[str, Any] = {each.name: type(each.default) for each in fields(Limits)}
    found: dict[str, Any] = {}
    for text in given:
        name, _, value = text.partition("=")
        try:
            found[name] = kinds[name](value)
        except (KeyError, ValueError):
            number = "a whole number" if kinds.get(name) is int else "a number"
            of = name if name in kinds else f"one of {', '.join(kinds)}"
            raise ParameterError(f"--limit is {text!r:.60}, but must be NAME=VALUE, {number} for {of}") from None
    return Limits(**found)


def _private(epsilon: float, delta: float | None, budget: str | None, unit: Unit, min_participants: int) -> Private:
    from ..service.noise import Private

    if delta is None or budget is None:
        raise ParameterError("noise needs --epsilon, --delta and --budget, such as 1, 1e-6 and the name of a budget")
    return Private(epsilon=epsilon, delta=delta, budget=budget, unit=unit, min_participants=min_participants)


def _vectors(integers: list[str], floats: list[str], *, noisy: bool) -> tuple[Vector, ...]:
    """Return the vectors that options name; with noise, their bounds are of all numbers of one together."""
    try:
        made: list[Vector] = []
        for text in integers:
            name, length, most = text.rsplit(":", 2)
            made.append(
                PlannedCounts(name=name, bins=int(length), max_total=int(most))
                if noisy
                else IntegerVector(name, int(length), int(most))
            )
        for text in floats:
            name, length, clip = text.rsplit(":", 2)
            made.append(
                PlannedVector(name=name, length=int(length), l2_clip=float(clip))
                if noisy
                else FloatVector(name, int(length), float(clip))
            )
    except ValueError:
        raise ParameterError(
            f"a vector is {text!r:.60}, but must be NAME:LENGTH:MAX (--integers) or NAME:LENGTH:CLIP (--floats)"
        ) from None
    return tuple(made)


def _print(view: SessionView, result: bytes, as_json: bool, at: int | None) -> None:
    facts: dict[str, Any] = {
        "session": view.session,
        "title": view.title,
        **({} if at is None else {"round": at}),
        "state": str(view.state),
        "excluded": dict(view.excluded),
        "refused": dict(view.refused),
    }
    facts |= {"error": view.error, "reason": view.reason} if view.error else {"result": json.loads(result)}
    if as_json:
        _line(facts)
        return
    from .session_tables import show_session

    show_session(view, facts.get("result"))
    sys.stdout.flush()


def _line(facts: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


class Shown:
    """What is shown of a service: pages, metrics, logs."""

    def __init__(self, token: Path | None, private: bool) -> None:
        from ..service.observing import Observer
        from ..service.tokens import Token

        if private and token is None:
            raise ParameterError("--private-page shows nothing without a token: give --operator-token as well")
        self.observer = Observer()
        self._token = None if token is None else Token.in_file(token)
        self._private = private

    def routes(self, service: Service) -> Any:
        """Return the service's further routes."""
        from ..service.pages.routes import routes

        return routes(
            service.desk,
            token=self._token,
            public=not self._private,
            observer=self.observer,
            running=lambda: service.running,
        )
