"""After `warm_up` no round of a new process compiles or loads anything: counted, not timed."""

from __future__ import annotations

import pytest

from tests.processes import python

SCRIPT = """
import sys
import numpy as np
from protocols import Adversary, FloatVector, IntegerVector, PrivateVector, RoundConfig, ThreatModel, warm_up
from protocols.masking.transitions import ServerPhase
from protocols.simulation.masked import Simulation

KERNELS = (
    *("secagg._field_kernels", "secagg._bit_kernels", "secagg._stream_kernels", "secagg._encoding_kernels"),
    "dp._kernels",
)

def loaded():
    found = {}
    for name in KERNELS:
        module = sys.modules.get(name)
        for loop, value in vars(module).items() if module else ():
            if hasattr(value, "signatures"):
                found[name, loop] = len(value.signatures)
    return found

model = ThreatModel(12, 0.0, 0.3, Adversary.SEMI_MALICIOUS_SERVER)
wide = FloatVector("wide", 40, value_bits=32, rounding="nearest")
plain = (FloatVector("update", 40), wide, IntegerVector("votes", 3, max_value=9))
private = (PrivateVector("update", 40, 1.0, 1e7, 20.0),)
values = {"update": np.zeros(40), "wide": np.zeros(40), "votes": np.zeros(3, dtype=np.int64)}
rounds = [RoundConfig(model, vectors, min_survivors=10) for vectors in (plain, private)]
of_one = sys.argv[1] == "of one round"
if sys.argv[1] != "nothing":
    warm_up(*rounds[1:] if of_one else ())
    unused = {"secagg._encoding_kernels"} if of_one else set()
    assert {name for (name, _), count in loaded().items() if count} == set(KERNELS) - unused
    assert "Crypto.Cipher.AES" in sys.modules
before = loaded()
for config in rounds[1:] if of_one else rounds:
    given = {spec.name: values[spec.name] for spec in config.vectors}
    Simulation(config, lambda name: given, {ServerPhase.MASKED_INPUT: {"client-03"}}, threads=1).run()
print("the same" if before == loaded() else "more")
"""


@pytest.mark.parametrize("what", ["all", "of one round"])
def test_rounds_load_nothing_more(what: str) -> None:
    assert python("-c", SCRIPT, what).strip() == "the same"


def test_the_count_sees_what_is_loaded() -> None:
    assert python("-c", SCRIPT, "nothing").strip() == "more"
