"""A federation of hospitals in this process, each with a site that its operator's file names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flwr.clientapp import ClientApp

from protocols.flower import SecAggMod, SessionReport, ask, secagg_mod
from protocols.statistics import Answer, Query

from .in_process import NODE_IDS, InProcessGrid, make_grid
from .sites import AGE, QUERY, ROWS, ages, write_site


def query_app(mod: SecAggMod = secagg_mod) -> ClientApp:
    app = ClientApp(mods=[mod])
    app.query("statistics")(mod.query)
    return app


def federation(
    folder: Path,
    num_nodes: int = 6,
    *,
    app: ClientApp | None = None,
    sites: Mapping[int, Mapping[str, Any]] | None = None,
    node_config: Callable[[int], dict[str, Any]] = lambda partition: {},
    **options: Any,
) -> InProcessGrid:
    """Nodes with a site each; `sites` says what is otherwise with some of them."""
    changes = sites or {}
    files = {
        partition: str(write_site(folder / f"hospital-{partition}", partition, **changes.get(partition, {})))
        for partition in range(num_nodes)
    }
    return make_grid(
        app or query_app(),
        num_nodes,
        node_config=lambda partition: {"secagg-site": files[partition]} | node_config(partition),
        **options,
    )


def asked_of(grid: InProcessGrid, query: Query = QUERY, **options: Any) -> tuple[Answer, SessionReport]:
    reports: list[SessionReport] = []
    answer = ask(grid, query, reports=reports, **{"min_available_nodes": 2, "stage_timeout": 5.0} | options)
    (report,) = reports
    return answer, report


def assert_pooled(answer: Answer, report: SessionReport, partitions: Iterable[int]) -> None:
    """The answer to QUERY is that of these partitions' rows together."""
    partitions = sorted(partitions)
    assert report.survivors == {NODE_IDS[partition] for partition in partitions}
    pooled = ages(partitions)
    count, mean, variance, histogram = answer.findings
    assert (answer.sites, answer.records) == (len(partitions), ROWS * len(partitions))
    assert count.value == len(pooled)
    assert abs(float(mean.value) - pooled.mean()) <= float(mean.error)
    assert abs(float(variance.value) - pooled.var(ddof=1)) <= float(variance.error) + 1e-9
    assert histogram.value["counts"] == np.histogram(pooled, AGE.edges)[0].tolist()
