"""A Paillier round's public work on a cluster of two nodes on this machine."""

import json
from dataclasses import replace

import numpy as np
import pytest
from msgspec.structs import replace as changed

from protocols.cli.app import app
from protocols.paillier.contributions import check_all
from protocols.ray import ClusterError
from protocols.ray import paillier as on_ray
from protocols.ray.cluster import load_ray, versions
from protocols.ray.paillier import PaillierOnRay
from protocols.simulation import paillier as simulation
from secagg.encoding import FixedPoint, Rounding
from secagg.errors import AuthenticationFailed, MalformedMessage, UnexpectedMessage
from secagg.paillier import Accumulator, Lanes, encrypt
from secagg.paillier.integers import to_bytes
from secagg.signatures import Identity
from tests.command_line import separating_runner
from tests.protocols.paillier.harness import Session, make_parameters
from tests.secagg.paillier.fixed_keys import dealt, noise, private_key

from .parts import DeadlyVersions, tickets

PUBLIC = private_key().public_key
CODEC = FixedPoint(1.0, 16, 50, rounding=Rounding.NEAREST)
LANES = Lanes(256, CODEC.modulus_bits, 40)
SIZE = PUBLIC.ciphertext_bytes


@pytest.fixture
def small_tasks(monkeypatch):
    """Several ranges, and trees of several levels, of vectors that are small."""
    monkeypatch.setattr(on_ray, "LEAST_RANGE_BYTES", 2 * SIZE)
    monkeypatch.setattr(on_ray, "ADDENDS_A_TASK", 2)
    monkeypatch.setattr(on_ray, "CHECKS_A_TASK", 2)


def vectors(count):
    residues = [CODEC.encode(np.full(LANES.length, client / count)).residues for client in range(count)]
    return {client: encrypt(one, LANES, noise()) for client, one in enumerate(residues, start=1)}


def tampered(vector, position, value):
    start = position * SIZE
    return replace(vector, data=vector.data[:start] + to_bytes(value, SIZE) + vector.data[start + SIZE :])


def test_products_are_those_of_one_machine_to_the_byte_and_bad_vectors_are_named_alike(cluster, small_tasks):
    given = vectors(11)
    assert LANES.num_plaintexts >= 4
    last = LANES.num_plaintexts - 1
    batches = [
        {client: given[client] for client in (1, 2, 3, 4, 5)} | {6: tampered(given[6], 0, 0)},
        {7: given[7], 8: tampered(given[8], last, PUBLIC.n), 9: given[9], 10: tampered(given[10], 0, PUBLIC.n_squared)},
        {11: given[11]},
    ]
    engine = PaillierOnRay(load_ray(), 2)
    with (
        Accumulator(PUBLIC, LANES, max_addends=50) as here,
        Accumulator(PUBLIC, LANES, max_addends=50, workers=3, parts=engine.part) as there,
    ):
        for batch in batches:
            refused = here.add_batch(batch)
            assert {client: str(error) for client, error in there.add_batch(batch).items()} == {
                client: str(error) for client, error in refused.items()
            }
            assert there.product() == here.product()
    assert there.num_addends == 8


def test_a_node_that_vanishes_takes_no_batch_along(cluster):
    lanes = Lanes(256, CODEC.modulus_bits, 18_000)  # products too large to travel with their tasks' answers
    given = {at: encrypt(CODEC.encode(np.full(lanes.length, at / 4)).residues, lanes, noise()) for at in (1, 2)}
    node = cluster.add_node(num_cpus=1, object_store_memory=1 << 27, resources={"short-lived": 1})
    engine = PaillierOnRay(ray := load_ray(), 1)
    anywhere, there = engine.multiply, ray.remote(on_ray._multiplied)
    engine.multiply = there.options(num_cpus=1, num_returns=2, max_retries=0, resources={"short-lived": 1})
    with (
        Accumulator(PUBLIC, lanes, max_addends=50) as here,
        Accumulator(PUBLIC, lanes, max_addends=50, workers=1, parts=engine.part) as total,
    ):
        here.add_batch(given)
        total.add_batch({1: given[1]})
        cluster.remove_node(node, False)
        engine.multiply = anywhere
        total.add_batch({2: given[2]})
        assert total.product() == here.product()


def test_contributions_are_refused_as_on_one_machine(cluster, small_tasks):
    session = Session(make_parameters(6))
    commitments, revealed = revealed_by(session)
    good = dict(revealed)
    cut = revealed[5].ciphertexts[:-1]
    revealed[2] = changed(revealed[2], signature=bytes(64))
    revealed[3] = changed(revealed[3], contributor=4)
    revealed[5] = changed(revealed[5], ciphertexts=cut)
    engine, parameters = PaillierOnRay(load_ray(), 2), session.parameters
    assert engine.check(parameters, commitments, good) == {}
    there = engine.check(parameters, commitments, revealed)
    here = check_all(parameters, commitments, revealed)
    assert {author: (type(error), str(error)) for author, error in there.items()} == {
        author: (type(error), str(error)) for author, error in here.items()
    }
    assert {author: type(error) for author, error in there.items()} == {
        2: AuthenticationFailed,
        3: UnexpectedMessage,
        5: AuthenticationFailed,
    }
    large = changed(good[1], ciphertexts=bytes(parameters.max_message_bytes))
    assert isinstance(engine.check(parameters, commitments, {1: large})[1], MalformedMessage)


def revealed_by(session):
    """Go on until contributors have shown their updates; return the list of commitments, and what they have shown."""
    request = session.endorse(session.commit())
    return request.commitments, {i: each.reveal(request) for i, each in session.contributors.items()}


def small_round(engine, clients=9, dim=60, **more):
    key, shares = dealt(3, 4, 512)
    return simulation.run_round(key, list(shares), clients, dim, dropout=0.25, engine=engine, **more)


def test_a_round_is_exact_and_no_secret_leaves_its_process(cluster, small_tasks, monkeypatch):
    made, said = [], []
    monkeypatch.setattr(Identity, "generate", lambda: made.append(Identity(bytes([150 + len(made)]) * 32)) or made[-1])
    engine = PaillierOnRay(ray := load_ray(), 2)
    put = ray.put
    monkeypatch.setattr(ray, "put", lambda what: said.append(ray.cloudpickle.dumps(what)) or put(what))
    for name in KINDS:
        monkeypatch.setattr(engine, name, Overheard(getattr(engine, name), said))
    report = small_round(engine)
    assert report.exact
    assert (report.survivors, report.workers) == (7, 2)
    assert len(said) > 20
    _, shares = dealt(3, 4, 512)
    secrets = [share.secret.to_bytes(64, order).strip(b"\0") for share in shares for order in ("big", "little")]
    for secret in [*secrets, *(own.private_bytes for own in made)]:
        assert len(secret) >= 30
        assert not any(secret in data for data in said)


class Overheard:
    """A task, and all that it is given."""

    def __init__(self, task, said):
        self._task, self._said = task, said

    def remote(self, *given):
        ray = load_ray()
        self._said.append(ray.cloudpickle.dumps([one for one in given if not isinstance(one, ray.ObjectRef)]))
        return self._task.remote(*given)


class Deadly:
    """A task that ends the workers that take it, once for each ticket."""

    def __init__(self, task, folder):
        self._task, self._folder = task, folder

    def remote(self, expected, *given):
        return self._task.remote(DeadlyVersions(expected, self._folder), *given)


KINDS = ("_encrypt", "_check", "multiply")


@pytest.mark.parametrize("kind", KINDS)
def test_workers_that_die_are_replaced_and_the_sum_is_exact(cluster, small_tasks, tmp_path, kind):
    engine, folder = PaillierOnRay(load_ray(), 2), tickets(tmp_path / "tickets", 2)
    setattr(engine, kind, Deadly(getattr(engine, kind), folder))
    assert small_round(engine).exact
    assert not list(folder.iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_a_task_that_no_worker_survives_is_named(cluster, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(on_ray, "MAX_LOSSES", 1)
    engine, folder = PaillierOnRay(load_ray(), 1), tickets(tmp_path / "tickets", 90)
    setattr(engine, kind, Deadly(getattr(engine, kind), folder))
    with pytest.raises(ClusterError, match="was lost more than 1 times"):
        small_round(engine, 4, 10)
    assert len(list(folder.iterdir())) > 50


def test_a_worker_of_another_version_is_named(cluster, monkeypatch):
    monkeypatch.setattr(on_ray, "versions", lambda: versions() | {"secagg": "0.0.9 (sources 0)"})
    with pytest.raises(ClusterError, match=r"secagg is 0\.1\.0 .* but 0\.0\.9 .*install the same on all"):
        small_round(PaillierOnRay(load_ray(), 1))
    with pytest.raises(ClusterError, match="install the same on all"):
        PaillierOnRay(load_ray(), 1).part(PUBLIC, 1, 2).stage([bytes(SIZE)])


def test_ranges_and_batches_are_bounded():
    class Silent:
        def remote(self, function):
            return self

        def options(self, **_):
            return self

    few, many = PaillierOnRay(Silent(), 4), make_parameters(5, length=1_000_000)
    small = make_parameters(5)
    assert (few.parts(small), few.at_once(small)) == (1, on_ray.MAX_AT_ONCE)
    size = many.lanes.num_plaintexts * many.key.public_key.ciphertext_bytes
    assert size / few.parts(many) <= on_ray.MAX_OBJECT_BYTES < size
    assert few.at_once(many) == max(on_ray.ADDENDS_A_TASK, on_ray.AT_ONCE_BYTES // size)


def test_the_command_sums_on_ray(cluster, monkeypatch):
    key, shares = dealt(3, 4, 512)
    monkeypatch.setattr(simulation, "deal", lambda threshold, members, **_: (key, list(shares)))
    arguments = ["paillier-sum", "--clients", "6", "--dim", "40", "--committee", "4", "--threshold", "3", "--json"]
    here = json.loads(separating_runner().invoke(app, [*arguments, "--workers", "1"]).stdout)
    there = json.loads(separating_runner().invoke(app, [*arguments, "--engine", "ray", "--workers", "2"]).stdout)
    assert (here.pop("workers"), there.pop("workers")) == (1, 2)
    for facts in (here, there):
        assert facts.pop("seconds").keys() == {"client_mean", "server", "decrypt", "wall"}
        facts.pop("peak_memory_bytes")
        facts.pop("bytes")
    assert here == there
    assert there["exact"]
    wrong = separating_runner().invoke(app, [*arguments, "--address", "auto"])
    assert wrong.exit_code == 2
