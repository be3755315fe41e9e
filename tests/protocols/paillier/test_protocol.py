"""Paillier summation keeps what every protocol must."""

from typing import Any, ClassVar

from protocols.core.listener import Listener, ignore
from protocols.core.machine import GivenInputs, Inputs
from protocols.paillier import Aggregator, CommitteeMember, Contributor, PaillierResult
from tests.contracts.protocol_contract import ProtocolContract, Trial
from tests.secagg.paillier.fixed_keys import dealt, noise

from .harness import identity, levels, make_parameters, update


class TestPaillier(ProtocolContract):
    phases: ClassVar[tuple[str, ...]] = ("commitments", "endorsements", "contributions", "openings")
    revealing = "openings"

    def begin(self, listener: Listener = ignore) -> Trial:
        parameters = make_parameters(5, max_weight=9, threshold=5, members=7)
        shares = dealt(parameters.key.threshold, parameters.key.num_members)[1]
        contributors, members = parameters.contributors, parameters.members

        def credentials(name: str) -> tuple[Any, ...]:
            if name in contributors:
                return parameters, identity(contributors.number(name))
            number = members.number(name)
            return parameters, shares[number - 1], identity(1000 + number)

        def join(name: str) -> Any:
            if name in contributors:
                return Contributor(parameters, name, identity(contributors.number(name)), noise=noise())
            return CommitteeMember(*credentials(name))

        def load(name: str, dumped: bytes) -> Any:
            if name in contributors:
                return Contributor.load(dumped, *credentials(name), noise=noise())
            return CommitteeMember.load(dumped, *credentials(name))

        def inputs(name: str) -> GivenInputs:
            if name not in contributors:
                return {}
            return Inputs({"update": update(contributors.number(name))}, weight=contributors.number(name))

        def check(result: PaillierResult) -> None:
            weights = {contributors.number(name): contributors.number(name) for name in result.survivors}
            assert result.total_weight == sum(weights.values())
            assert (result.levels == levels(parameters, weights)).all()

        return Trial(
            Aggregator(parameters, listener=listener),
            join,
            inputs,
            lambda dumped: Aggregator.load(dumped, parameters, listener=listener),
            load,
            check,
            lambda result: result.survivors,
        )
