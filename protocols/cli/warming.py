"""`secagg warm-up`: compiles the loops once, for all processes to come."""

from __future__ import annotations

import time

import typer

from secagg import paillier
from secagg.errors import ParameterError

from ..masking.warming import kept_loops, warm_up
from .tables import AsJson, print_json


def warm_up_loops(as_json: AsJson = False) -> None:
    """Compile the loops that rounds use, and keep them, so that no process has to wait for that: some fifteen seconds.

    They are kept where NUMBA_CACHE_DIR says, or beside the package, or in the
    user's cache: the first that can be written. Run it when an image is built.
    """
    start = time.perf_counter()
    warm_up()
    paillier.warm_up()
    kept = kept_loops()
    seconds = time.perf_counter() - start
    if kept.lost or not kept.places:
        raise ParameterError(
            f"{kept.lost or 'all'} compiled loops are kept nowhere: set NUMBA_CACHE_DIR to a folder that can be "
            "written, and leave NUMBA_DISABLE_JIT unset"
        )
    if as_json:
        facts = {"places": kept.places, "compiled": kept.compiled, "read": kept.read}
        print_json(facts | {"seconds": {"wall": seconds}})
        return
    typer.echo(f"{kept.compiled} loops were compiled, {kept.read} were there, in {seconds:.1f} s; they are kept in")
    for place in sorted(kept.places):
        typer.echo(f"  {place}")
