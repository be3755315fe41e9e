"""Run inside NVIDIA FLARE's own environment: its simulator answers its example's question about files, as JSON.

The job is that of its example `df_stats`, with its privacy settings and without quantiles, which need fastdigest.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from pathlib import Path

import pandas as pd
from nvflare.app_opt.statistics.df.df_core_statistics import DFStatisticsCore
from nvflare.recipe.fedstats import FedStatsRecipe
from nvflare.recipe.sim_env import SimEnv


class Rows(DFStatisticsCore):
    """A site's file, as its example reads one."""

    def __init__(self, folder):
        super().__init__()
        self.folder, self.data = folder, None

    def initialize(self, fl_ctx):
        self.data = {"rows": pd.read_csv(f"{self.folder}/{fl_ctx.get_identity_name()}.csv")}


def main(folder: str, bounds: dict[str, list[float]]) -> None:
    sites = sorted(path.stem for path in Path(folder).glob("*.csv"))
    bins = {name: {"bins": 20, "range": ends} for name, ends in bounds.items()}
    with tempfile.TemporaryDirectory() as home:
        recipe = FedStatsRecipe(
            name="stats_df",
            stats_output_path="found.json",
            sites=sites,
            statistic_configs={"count": {}, "mean": {}, "sum": {}, "stddev": {}, "histogram": bins},
            stats_generator=Rows(folder),
            min_count=15,
            min_noise_level=0.15,
            max_noise_level=0.30,
            max_bins_percent=15,
        )
        recipe.execute(env=SimEnv(clients=sites, num_threads=len(sites), workspace_root=home))
        server = Path(home) / "stats_df" / "server"
        found = json.loads((server / "simulate_job" / "found.json").read_text())
        pools = json.loads((server / "pool_stats" / "simulator_cell_stats.json").read_text())
    received = pools["received_stream_sizes"]["pool"]["cat_data"]
    (updates,) = (cells for name, cells in received.items() if name.endswith("submit_update"))
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    facts = {
        "seconds": sum(each.ru_utime + each.ru_stime for each in spent),
        "site_sends": sum(cell["total"] for cell in updates if cell) * 1e6 / len(sites),
        "found": {
            name: {what: found[name][what]["Global"]["rows"] for what in ("count", "mean", "stddev")} for name in bounds
        },
        "seen_of_a_site": found[next(iter(bounds))]["mean"][sites[0]]["rows"],
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    from flare_statistics import Rows  # by a name that the simulator finds it by

    main(*json.loads(sys.argv[1]))
