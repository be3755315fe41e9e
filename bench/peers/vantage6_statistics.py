"""Run inside vantage6's own environment: its summary algorithm answers on its mock client, as JSON.

The mock client calls the algorithm's functions one after another, in one process: no server, no network, no encryption.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
checkout, folder, bounds = json.loads(sys.argv[1])
sys.path.insert(0, checkout)

import pandas as pd  # noqa: E402
from vantage6.algorithm.tools.mock_client import MockAlgorithmClient  # noqa: E402

frames = [pd.read_csv(path) for path in sorted(Path(folder).glob("*.csv"))]
client = MockAlgorithmClient(datasets=[[{"database": frame}] for frame in frames], module="v6-summary-py")
ids = [organization["id"] for organization in client.organization.list()]
# Which columns are numbers is said, since at this commit it is not found out: a column's name is compared with a type.
asked = {"columns": list(frames[0].columns), "numeric_columns": list(bounds)}


def run(method: str, organizations: list[int], **more: object) -> list[dict]:
    with contextlib.redirect_stdout(io.StringIO()):
        task = client.task.create(input_={"method": method, "kwargs": asked | more}, organizations=organizations)
        return client.wait_for_results(task["id"])


start = time.process_time()
(result,) = run("summary", ids[:1])
seconds = time.process_time() - start
numeric = json.loads(result["numeric"])
first = run("summary_per_data_station", ids[:1])[0]
facts = {
    "seconds": seconds,
    "site_sends": len(json.dumps(first, default=str)),
    "found": {
        name: {what: numeric[name][key] for what, key in (("count", "count"), ("mean", "mean"), ("stddev", "std"))}
        for name in bounds
    },
    "seen_of_a_site": first["numeric"][next(iter(bounds))]["sum"],
    "least_and_greatest": [numeric[next(iter(bounds))][what] for what in ("min", "max")],
}
print(json.dumps(facts))
