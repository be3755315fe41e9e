"""Private rounds that a ledger pays for: one is paid, the next does not fit the budget any more, and is not run."""

import os
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from dp.errors import BudgetExceededError
from dp.ledger import Ledger
from protocols import Client, ClientPolicy, Participants, PrivacyDemand, PrivatePlan, ThreatModel

plan = PrivatePlan(threat_model=ThreatModel(12), length=4, l2_clip=1.0, epsilon=4.0, delta=1e-5)
clinics = Participants(f"clinic-{i:02}" for i in range(1, 13))
demand = ClientPolicy(privacy=PrivacyDemand(epsilon=4.0, delta=1e-5))  # every client's own


def keep(path: Path, dumped: bytes) -> None:
    """Replace what was kept, so that a crash leaves the old dump or the new one, whole."""
    unfinished = path.with_suffix(".new")
    with unfinished.open("wb") as file:
        file.write(dumped)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def paid_round(ledger: Ledger, dump: Path) -> None:
    """Run one round; its result is published after its cost is in the ledger."""
    clients = {name: Client(policy=demand) for name in clinics}
    with plan.reserving(ledger, "study", clinics, keep=partial(keep, dump)) as paid:
        server = paid.server()
        while not server.ended:
            for name, message in server.outgoing().items():
                if name == "clinic-07" and server.phase == "masked-input":
                    continue  # it loses its connection
                server.receive(name, clients[name].respond(message, {"update": np.full(4, 0.5)}))
            server.close_phase()
        result = paid.commit()
    print(f"mean of {len(result.survivors)}: {result.mean('update').round(2)}")
    dump.unlink()  # published: there is nothing left for plan.resuming


with tempfile.TemporaryDirectory() as folder, Ledger.open(f"{folder}/ledger.sqlite", create=True) as ledger:
    ledger.create(plan.budget("study"))
    for number in (1, 2):
        try:
            paid_round(ledger, Path(folder) / "round.dump")
        except BudgetExceededError as refusal:
            print(f"round {number} is refused: {refusal}")
        status = ledger.status("study")
        print(f"after round {number}: epsilon {status.epsilon:.2f} of 4, {status.open} reservations are open")
    print("clinic-07 has spent", ledger.participant("study", "clinic-07").epsilon)
    ledger.verify()
