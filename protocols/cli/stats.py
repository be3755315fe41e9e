"""`secagg stats`: a question to many sites' tables, answered exactly by one masked session on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from secagg.errors import ParameterError

from ..core.files import write_whole
from ..core.threat_model import Adversary
from ..simulation.masked import Simulation, SimulationReport
from ..simulation.queried import ask_sites, inquire
from ..statistics.grids import gate_in_words
from ..statistics.query import Query
from ..statistics.query_file import query_from_toml
from ..statistics.release import ReleasePolicy
from ..statistics.site import Site, SitePolicy
from .errors import EXIT_WRONG, check_place, tell
from .modes import names_of, refuse_typed
from .options import SERVER_MAY, Address, Engine, option, spread
from .rounds import check_phases_exist, drop_fractions
from .site_files import columns_of, lacking, levels_of, read_tables, row_numbers
from .stats_options import Question
from .stats_private import Price, private_facts, show_private
from .stats_report import report_page
from .stats_tables import show_stats, stats_facts
from .tables import AsJson, print_json, print_lines


@spread
def stats(
    ctx: typer.Context,
    question: Question,
    price: Price,
    data: Annotated[str, option("CSV or Parquet files, one a site.", "PATTERN")],
    query: Annotated[
        Path | None, typer.Argument(help="A query in TOML, instead of options.", metavar="[QUERY.toml]")
    ] = None,
    min_cell: Annotated[int | None, option("Counts from 1 to below this are hidden: 10.", "K")] = None,
    preset: Annotated[str | None, option("Of others: cms, datashield, opensafely.", "NAME")] = None,
    min_sites: Annotated[int, option("Fewer are not answered for: 3.", "N", min=2)] = 3,
    dropout: Annotated[float, option("Fraction of sites that vanishes.", "F")] = 0.0,
    drop_in: Annotated[list[str] | None, option("Fraction that vanishes in a phase.", "PHASE=F")] = None,
    adversary: Annotated[Adversary, option(SERVER_MAY, "NAME")] = Adversary.SEMI_MALICIOUS_SERVER,
    corrupt: Annotated[float, option("Fraction that may be corrupt: 0.1.", "F")] = 0.1,
    seed: Annotated[int, option("Seeds dropouts alone.", "N", min=0)] = 0,
    two_rounds: Annotated[bool, typer.Option("--two-rounds", help="Count first, and sum what is shown.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Say what would happen, and ask nobody.")] = False,
    engine: Annotated[
        Engine | None, option(f"What runs sessions: {', '.join(Engine)}. Else this process.", "NAME")
    ] = None,
    address: Address = None,
    report: Annotated[Path | None, option("Write a page with pictures, too.", "FILE")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask all sites a question through a masked session, and compare every sum with the pooled data's."""
    _check_typed(ctx, price, query, engine, explain=explain)
    tables = read_tables(data)
    levels_read: list[str] = []

    def read_levels(name: str) -> tuple[str, ...]:
        lacking(tables, frozenset({name}))
        levels_read.append(name)
        return levels_of(name, tables)

    if report is not None:
        check_place(report, "--report")
    wanted = _query(query, question, data, read_levels)
    for told in lacking(tables, wanted.used).values():
        tell(told, False)
    policy = _release_policy(min_cell, preset, min_sites)
    everything = SitePolicy(columns=wanted.used, min_sites=min_sites)
    sites = {
        name: Site(columns_of(name, given, wanted), everything, wanted.dataset, None, row_numbers(given))
        for name, given in tables.items()
    }
    if explain:
        _explain(wanted, sites, policy, as_json)
        return
    fractions = drop_fractions(dropout, drop_in or [])
    check_phases_exist(adversary, fractions)
    session: dict[str, Any] = {
        "drops": fractions,
        "corrupt_fraction": corrupt,
        "adversary": adversary,
        "seed": seed,
    }
    if price.wanted:
        noisy = price.ask(wanted, sites, **session)
        _print(private_facts(noisy, levels_read), lambda: show_private(noisy), levels_read, as_json=as_json)
        right = noisy.as_promised
    else:
        with _running(engine, address) as run:
            ask = partial(ask_sites, sites=sites, policy=policy, run=run, **session)
            asked = inquire(wanted, ask, two_rounds=two_rounds)
        if report is not None:
            write_whole(report, report_page(wanted, asked, levels_read))
        _print(stats_facts(asked, levels_read), lambda: show_stats(asked), levels_read, as_json=as_json)
        if report is not None and not as_json:
            print_lines(f"the page is {report}", Console())
        right = asked.exact
    if not right:
        raise typer.Exit(EXIT_WRONG)


def _print(facts: dict[str, Any], show: Callable[[], None], levels_read: list[str], *, as_json: bool) -> None:
    if as_json:
        print_json(facts)
        return
    if levels_read:
        tell(f"levels of {', '.join(levels_read)} were read from the files: between sites, state --levels", False)
    show()


def _check_typed(ctx: typer.Context, price: Price, query: Path | None, engine: Engine | None, *, explain: bool) -> None:
    """Raise ParameterError for an option that was typed, but is of another way to ask."""
    if query is not None:
        refuse_typed(ctx, names_of(Question), "beside a query file, which says all of the question")
    if price.wanted:
        exact = ("min_cell", "preset", "two_rounds", "explain", "engine", "address", "report")
        refuse_typed(ctx, exact, "with --epsilon, whose answers have noise")
    else:
        refuse_typed(ctx, ("unit",), "without --epsilon")
    if explain:
        session = ("dropout", "drop_in", "adversary", "corrupt", "seed", "two_rounds", "engine", "address", "report")
        refuse_typed(ctx, session, "with --explain, which asks nobody")
    if engine is None:
        refuse_typed(ctx, ("address",), "without --engine ray")


@contextmanager
def _running(engine: Engine | None, address: str | None) -> Iterator[Callable[[Simulation], SimulationReport]]:
    """Yield what runs a session; a cluster is joined, or started, once for all of them."""
    if engine is None:
        yield Simulation.run
        return
    from ..ray import connected, run_session_on_ray

    with connected(address, 1):
        yield partial(run_session_on_ray, workers=1)


def _query(path: Path | None, question: Question, data: str, read_levels: object) -> Query:
    if (path is None) is not bool(question):
        raise ParameterError("give a query file, or options that ask something, such as --count, and not both")
    if path is None:
        return question.query(data, read_levels)  # type: ignore[arg-type]
    try:
        return query_from_toml(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise ParameterError(f"{path} is no text in UTF-8") from None


def _release_policy(min_cell: int | None, preset: str | None, min_sites: int) -> ReleasePolicy:
    if min_cell is not None and preset is not None:
        raise ParameterError("--min-cell and --preset both name the least cell: give one")
    found = ReleasePolicy() if preset is None else ReleasePolicy.preset(preset)
    return ReleasePolicy(found.min_cell if min_cell is None else min_cell, found.min_records, min_sites)


def _explain(query: Query, sites: dict[str, Site], policy: ReleasePolicy, as_json: bool) -> None:
    lines = {name: site.explain(query) for name, site in sites.items()}
    gate = gate_in_words(policy)
    if as_json:
        print_json({"query": query.digest.hex(), "sites": lines, "release": gate})
        return
    console = Console()
    for line in (
        f"query {query.digest.hex()}",
        *(f"{name} {line}" for name, line in lines.items()),
        f"release: {gate}",
    ):
        print_lines(line, console, further="  ")
