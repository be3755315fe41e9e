"""Masking keeps what every protocol must, against each adversary."""

from typing import ClassVar

from protocols.core.listener import Listener, ignore
from protocols.core.threat_model import Adversary
from protocols.masking.client import Client
from protocols.masking.server import Server
from protocols.simulation.masked import collected_phases
from tests.contracts.protocol_contract import ProtocolContract, Trial

from .harness import Session, number, random_inputs, small_config

CURIOUS, SEMI, MALICIOUS = Adversary


class MaskingContract(ProtocolContract):
    adversary: Adversary
    phases: ClassVar[tuple[str, ...]] = (
        "advertise-keys",
        "share-keys",
        "accept-shares",
        "masked-input",
        "consistency-check",
        "unmasking",
    )
    revealing = "unmasking"
    own_choice = frozenset({"masked-input"})

    def begin(self, listener: Listener = ignore) -> Trial:
        config = small_config(7, self.adversary, dropout=0.29, length=3, max_weight=20, complete_graph=True)
        session = Session(config, random_inputs(config, 2), listener=listener)

        return Trial(
            session.server,
            session.make_client,
            lambda name: session.given[number(name)],
            lambda dumped: Server.load(dumped, listener=listener, threads=1),
            lambda name, dumped: Client.load(dumped, **session.credentials(name)),
            session.assert_exact,
            lambda result: result.survivors,
        )


class TestMalicious(MaskingContract):
    adversary = MALICIOUS


class TestSemiMalicious(MaskingContract):
    adversary = SEMI
    phases = tuple(map(str, collected_phases(SEMI)))


class TestCurious(MaskingContract):
    adversary = CURIOUS
    phases = tuple(map(str, collected_phases(CURIOUS)))
    trusted_coordinator = True
