import dataclasses

import msgspec
import numpy as np
import pytest

from protocols import Client, ClientPolicy, FloatVector, IntegerVector, PrivateCounts, RoundConfig, Server, ThreatModel
from protocols.hierarchy import Consent, Hierarchy, Learned, Level, policy_of
from protocols.masking.policy import EncodingDemand
from secagg.errors import ParameterError

from .trees import ANY, VECTORS, hierarchy_of

TEAM, PROJECT = Level("team", 8, 5, corrupt_fraction=0.2, dropout_fraction=0.2), Level("project", 6)
TERMS = Hierarchy((TEAM, PROJECT), VECTORS, 6)


def test_the_sessions_of_each_level_follow_from_the_terms():
    lowest, above = TERMS.config(0, 7), TERMS.config(1, 6)
    assert lowest.threat_model == ThreatModel(7, 0.2, 0.2)
    assert lowest.vectors == (*VECTORS, IntegerVector(TERMS.bound, 0))
    assert lowest.max_weight == 6
    assert above.threat_model == ThreatModel(6, 0.1, 0.1)
    most = 2047 * 6 * 8
    assert above.vectors == (
        IntegerVector("update", 7, most, -most),
        IntegerVector("metrics", 2, 127 * 8, -127 * 8),
        IntegerVector("counts", 3, 9 * 8, -3 * 8),
        IntegerVector(TERMS.bound, 2, 8),
        IntegerVector("hierarchy weight", 1, 6 * 8),
        IntegerVector("hierarchy clipped", 2, 7 * 8),
    )
    assert above.max_weight == 1
    plain = Hierarchy((TEAM, PROJECT), (IntegerVector("votes", 3),))
    assert [spec.name for spec in plain.config(1, 6).vectors] == ["votes", plain.bound]


def test_what_operators_learn_is_counted_by_the_smallest_sums():
    assert TEAM.fewest == 4
    assert TEAM.fewest_honest == min(
        config.min_survivors - config.threat_model.max_corrupt for config in map(TERMS.config, [0] * 4, range(5, 9))
    )
    assert TERMS.learned == (Learned("team", 4, 3, 4), Learned("project", 24, 18, 6))
    for level in (0, 1):
        row, terms = TERMS.levels[level], TERMS
        least = min(terms.config(level, size).min_survivors for size in range(row.least, row.most + 1))
        assert row.fewest == least


def test_terms_that_differ_have_another_digest_and_other_sessions():
    digests = {TERMS.digest}
    for change in (
        {"max_weight": 5},
        {"vectors": VECTORS[:2]},
        {"vectors": (msgspec.structs.replace(VECTORS[0], clip=3.0), *VECTORS[1:])},
        {"levels": (TEAM, PROJECT, Level("organisation", 5))},
        {"levels": (TEAM, Level("unit", 6))},
        *({"levels": (msgspec.structs.replace(TEAM, **{name: value}), PROJECT)} for name, value in (
            ("most", 9), ("least", 6), ("corrupt_fraction", 0.1), ("dropout_fraction", 0.1),
            ("adversary", "malicious-server"),
        )),
    ):  # fmt: skip
        other = msgspec.structs.replace(TERMS, **change)
        assert other.config(0, 8) != TERMS.config(0, 8)
        digests.add(other.digest)
    assert len(digests) == 11


def test_what_is_written_alike_is_alike():
    spelled = FloatVector("update", 7, clip=2, value_bits=12, weighted=True, rounding="nearest")
    again = Hierarchy([TEAM, PROJECT], [spelled, *VECTORS[1:]], np.int64(6))
    assert again == TERMS
    assert again.digest == TERMS.digest
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(TERMS), type=Hierarchy).digest == TERMS.digest


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Level("team", 1), "most of 'team' is 1"),
        (lambda: Level("team", 5, 6), "least of 'team' is 6"),
        (lambda: Level("team", 5, 1), "least of 'team' is 1"),
        (lambda: Level("", 5), "a level's name is ''"),
        (lambda: Level("team", 5, adversary="nobody"), "adversary is 'nobody'"),
        (lambda: Level("team", 5, dropout_fraction=0.6), "assume fewer"),
        (lambda: Hierarchy((), VECTORS), "1 to 16 levels, not 0"),
        (lambda: hierarchy_of(*[2] * 17), "1 to 16 levels, not 17"),
        (lambda: Hierarchy((TEAM, TEAM), VECTORS), "two levels have the same name"),
        (lambda: Hierarchy((TEAM, "project"), VECTORS), "must be a tuple of Level"),
        (lambda: Hierarchy((TEAM,), VECTORS[0]), "must be a tuple of FloatVector"),
        (lambda: Hierarchy((TEAM,), ()), "1 to 61 vectors, not 0"),
        (lambda: Hierarchy((TEAM,), (PrivateCounts("bins", 3, 1, 10, 4.0),)), "have no noise: each group's operator"),
        (lambda: Hierarchy((TEAM,), (IntegerVector("hierarchy weight", 1),)), "a name that is the hierarchy's own"),
        (lambda: Hierarchy((TEAM,), tuple(IntegerVector(f"v{i}", 1) for i in range(62))), "1 to 61 vectors, not 62"),
        (lambda: Hierarchy((TEAM,), (IntegerVector("v", "1"),)), "cannot be written down"),
        (lambda: Hierarchy((TEAM,), (FloatVector("v", 1),), 0), "max_weight is 0"),
        (
            lambda: hierarchy_of(*[100_000] * 3, vectors=(IntegerVector("v", 1, 10_000),), max_weight=1),
            "narrow the range",
        ),
        (
            lambda: Hierarchy((Level("pair", 3, 2, corrupt_fraction=0.5, dropout_fraction=0.0),), VECTORS),
            "hide anybody",
        ),
    ],
)
def test_what_is_impossible_is_refused(make, match):
    with pytest.raises(ParameterError, match=match):
        make()


def test_no_session_of_other_sizes_or_levels():
    for level, members, match in ((0, 4, "members of a team is 4"), (0, 9, "is 9"), (2, 6, "level is 2")):
        with pytest.raises(ParameterError, match=match):
            TERMS.config(level, members)


def invited(config, policy):
    """What a client with this policy says of an invitation to a session."""
    server = Server(config)
    client = Client(policy=policy)
    return client.respond(server.outgoing()["client-1"])


POLICY = policy_of(TERMS, 0, ClientPolicy(encoding=EncodingDemand(rounding=None)), Consent(min_honest=3))


def test_a_client_takes_the_sessions_of_its_terms_alone():
    for members in (5, 8):
        assert invited(TERMS.config(0, members), POLICY)
    good = TERMS.config(0, 8)
    others = {
        "members of a team is 9": hierarchy_of((5, 9), 6).config(0, 9),
        "another threat model than a team of 8": RoundConfig(ThreatModel(8, 0.3, 0.2), good.vectors, 6),
        "other levels, vectors or widths": RoundConfig(good.threat_model, good.vectors[:-1], 6),
        "other levels, vectors or widths ": RoundConfig(good.threat_model, good.vectors, 7),
        " other levels, vectors or widths": RoundConfig(good.threat_model, good.vectors, 6, good.min_survivors + 1),
        "levels, vectors or widths": msgspec.structs.replace(TERMS, levels=(TEAM, PROJECT, Level("all", 5))).config(
            0, 8
        ),
    }
    for match, config in others.items():
        with pytest.raises(ParameterError, match=match.strip()):
            invited(config, POLICY)


def test_an_operator_takes_the_level_above_with_its_own_widths_alone():
    policy = policy_of(TERMS, 1, **ANY)
    above = TERMS.config(1, 6)
    assert invited(above, policy)
    first = msgspec.structs.replace(above.vectors[0], max_value=above.vectors[0].max_value - 1)
    with pytest.raises(ParameterError, match="is not that of a project by the terms"):
        invited(RoundConfig(above.threat_model, (first, *above.vectors[1:])), policy)
    with pytest.raises(ParameterError, match=r"another threat model|members of a project"):
        invited(TERMS.config(0, 6), policy)


def test_a_policy_keeps_what_the_client_demands_itself():
    with pytest.raises(ParameterError, match="demands stochastic"):
        invited(TERMS.config(0, 8), policy_of(TERMS, 0, consent=Consent(min_honest=3)))
    own = dataclasses.replace(ClientPolicy.permissive(), min_clients=7)
    with pytest.raises(ParameterError, match="the round invites 6 clients, but this client demands 7"):
        invited(TERMS.config(0, 6), policy_of(TERMS, 0, own, Consent(min_honest=3)))


def test_consent_bounds_how_high_a_sum_goes_and_how_few_it_hides_among():
    Consent(max_levels=2, min_honest=3).check(TERMS)
    with pytest.raises(
        ParameterError, match="sums up to the project, 2 levels, but this client consents to 1, up to the"
    ):
        Consent(max_levels=1, min_honest=3).check(TERMS)
    with pytest.raises(ParameterError, match="the operator of a team may learn a sum of 3 inputs"):
        policy_of(TERMS, 0)
    for bad in ({"max_levels": 0}, {"max_levels": 17}, {"min_honest": -1}, {"min_honest": 2.0}):
        with pytest.raises(ParameterError, match=next(iter(bad))):
            Consent(**bad)


def test_a_client_goes_on_from_its_dump_with_the_policy_that_it_had():
    client = Client(policy=POLICY)
    client.respond(Server(TERMS.config(0, 8)).outgoing()["client-1"])
    assert Client.load(client.dump(), policy=POLICY).phase == client.phase
    assert Client.load(client.dump()).phase == client.phase
