"""Which demand holds where an app's code, its node's operator and a run say different things: the strictest."""

import pytest

from dp import Unit
from protocols import Adversary, ClientPolicy, PrivacyDemand
from protocols.flower.node_policy import strictest_policy
from protocols.masking.policy import EncodingDemand
from secagg.encoding import Rounding
from secagg.errors import ParameterError

CODE = ClientPolicy()
GREATER = ("corrupt_clients", "min_clients", "min_neighbours", "min_survivors", "min_participants")
FRACTIONS = ("corrupt_fraction", "min_survivor_fraction")


def policy_of(code=CODE, node=None, run=None):
    return strictest_policy(code, node or {}, run or {})


def key_of(name):
    return f"secagg-{name.replace('_', '-')}"


@pytest.mark.parametrize("name", [*GREATER, *FRACTIONS, "max_clients", "max_neighbours"])
@pytest.mark.parametrize("source", ["node", "run"])
def test_each_source_can_only_add(name, source):
    said = getattr(CODE, name)
    step = 0.1 if name in FRACTIONS else 1
    stricter, weaker = (said - step, said + step) if name.startswith("max") else (said + step, max(0, said - step))
    assert getattr(policy_of(**{source: {key_of(name): stricter}}), name) == stricter
    assert getattr(policy_of(**{source: {key_of(name): weaker}}), name) == said


@pytest.mark.parametrize("source", ["node", "run"])
def test_bits_of_encodings_are_demanded_too(source):
    demand = {source: {"secagg-min-value-bits": 12}}
    assert policy_of(**demand).encoding == EncodingDemand(min_value_bits=12)
    assert policy_of(ClientPolicy(encoding=EncodingDemand(min_value_bits=16)), **demand).encoding.min_value_bits == 16
    held = policy_of(ClientPolicy.permissive(), **demand).encoding
    assert (held.min_value_bits, held.rounding) == (12, None)  # what the code admits otherwise, it still admits
    rounding = EncodingDemand(rounding=Rounding.STOCHASTIC)
    assert policy_of(ClientPolicy(encoding=rounding), **demand).encoding.rounding is Rounding.STOCHASTIC


def test_an_operator_who_demands_privacy_does_not_trust_the_server_because_the_code_does():
    trusting = ClientPolicy(privacy=PrivacyDemand(8.0, 1e-5, trusts_server=True))
    assert policy_of(trusting).privacy.trusts_server
    demanded = policy_of(trusting, node={"secagg-epsilon": 9.0, "secagg-delta": 1e-5}).privacy
    assert (demanded.epsilon, demanded.trusts_server) == (8.0, False)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("secagg-max-clients", -1),
        ("secagg-max-clients", 2.5),
        ("secagg-corrupt-clients", "3"),
        ("secagg-min-survivor-fraction", True),
        ("secagg-min-survivor-fraction", 1.5),
        ("secagg-min-value-bits", "all"),
        ("secagg-adversary", "nobody"),
        ("secagg-max-value-bits", 3),
    ],
)
def test_impossible_demands_are_named(key, value):
    with pytest.raises(ParameterError, match=key.removeprefix("secagg-").replace("-", ".")):
        policy_of(node={key: value})


def test_the_adversary_is_the_stronger():
    stronger = {"secagg-adversary": "malicious-server"}
    assert policy_of(node=stronger).adversary is Adversary.MALICIOUS_SERVER
    assert policy_of(run={"secagg-adversary": "curious-server"}).adversary is CODE.adversary


def test_a_demand_for_records_in_code_makes_no_less_of_one_for_the_node() -> None:
    """Whoever states epsilon alone means all that the node hands in, and counts on no samples."""
    code = ClientPolicy(privacy=PrivacyDemand(4.0, 1e-5, 60, unit=Unit.RECORD, sampling_rate=0.25))
    plain = {"secagg-epsilon": 8.0, "secagg-delta": 1e-5}
    records = plain | {"secagg-unit": "record"}
    assert policy_of(code).privacy == code.privacy
    for node, run in ((plain, {}), ({}, plain), (records, plain), (plain, records)):
        merged = policy_of(code, node=node, run=run).privacy
        assert merged is not None
        assert (merged.unit, merged.sampling_rate, merged.epsilon, merged.rounds) == (Unit.CLIENT, 1.0, 4.0, 60)
    for rate, holds in ((1.0, 1.0), (0.5, 0.5), (0.125, 0.25)):
        merged = policy_of(code, node=records | {"secagg-sampling-rate": rate}).privacy
        assert merged is not None
        assert (merged.unit, merged.sampling_rate) == (Unit.RECORD, holds)
    for bad in (
        {"secagg-unit": "site"},
        {"secagg-sampling-rate": 0.5},
        {"secagg-unit": "record", "secagg-sampling-rate": 2},
    ):
        with pytest.raises(ParameterError):
            policy_of(code, node=plain | bad)
    with pytest.raises(ParameterError, match="go together"):
        policy_of(code, node={"secagg-unit": "record"})
