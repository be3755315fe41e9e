"""flower-hospitals: the ClientApp. Its sites are the operators': a file that `secagg-site` names, or made up."""

import os
from pathlib import Path

from flwr.clientapp import ClientApp

from flower_hospitals.task import DATASET, POLICY, patients
from protocols.flower import SecAggMod
from protocols.statistics import Site


def simulated(node_config) -> Site:
    """A simulated node has no operator: its patients follow from its number, and its journal is in Flower's home."""
    partition = int(node_config["partition-id"])
    journals = Path(os.environ.get("FLWR_HOME") or Path("~/.flwr").expanduser()) / "flower-hospitals"
    journals.mkdir(parents=True, exist_ok=True)
    return Site(patients(partition), POLICY, DATASET, journals / f"hospital-{partition}.journal")


mod = SecAggMod(site=simulated)
app = ClientApp(mods=[mod])
app.query("statistics")(mod.query)
