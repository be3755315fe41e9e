"""What is compared, in the order in which it runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from secagg.errors import ParameterError


@dataclass(frozen=True)
class Part:
    """Benchmarks that run together.

    Attributes:
        name: what names it at the command line.
        about: what is compared with what.
        tests: pytest's names of the benchmarks, from the folder `bench`.
        quick: whether `--quick` runs it, too.
    """

    name: str
    about: str
    tests: tuple[str, ...]
    quick: bool = True


PARTS = (
    Part(
        "round",
        "a whole round of many clients, against Flower's SecAgg+ and the AES and X25519 that it must do",
        ("bench_round.py::test_server_of_a_round",),
    ),
    Part(
        "large",
        "1,000 clients of 1,000,000 numbers, and 10,000 clients, beside what they must do; not with --quick",
        ("bench_round.py::test_a_long_vector", "bench_round.py::test_many_clients"),
        quick=False,
    ),
    Part(
        "unmasking",
        "the server's last step, against Flower's own arithmetic on the same work",
        ("bench_unmasking.py::test_server_unmasking",),
    ),
    Part(
        "flower",
        "whole rounds in Flower, against its own SecAgg+ workflow and plain FedAvg; not with --quick",
        ("bench_flower.py::test_flower_against_its_own_secure_aggregation",),
        quick=False,
    ),
    Part("scaling", "rounds over clients, length and dropouts: seconds, bytes, memory", ("bench_scaling.py",)),
    Part("masks", "adding masks, against raw AES and plain additions", ("bench_masks.py::test_adding_masks",)),
    Part("shamir", "secret sharing, against PyCryptodome and galois", ("bench_shamir.py::test_split_and_reconstruct",)),
    Part(
        "paillier",
        "encrypted summation, against phe and bare gmpy2",
        (
            "bench_paillier.py::test_client_encryption[2048]",
            "bench_paillier.py::test_proofs_of_knowledge[2048]",
            "bench_paillier.py::test_server_sum",
            "bench_paillier.py::test_bytes_on_the_wire[2048]",
        ),
    ),
    Part(
        "committee",
        "1,000 clients x 1,000,000 summed and opened by 3 of 5 members, against bare gmpy2; not with --quick",
        ("bench_paillier.py::test_a_million_parameters",),
        quick=False,
    ),
    Part("ckks", "the same sums by TenSEAL's homomorphic encryption", ("bench_ckks.py",)),
    Part(
        "noise", "exact discrete noise, against OpenDP and inexact floats", ("bench_dp.py::test_samplers_over_sigma",)
    ),
    Part("calibration", "the least noise for a goal, against dp-accounting", ("bench_dp.py::test_calibration",)),
    Part("private", "what a client pays for privacy, against encoding alone", ("bench_private.py::test_client_cost",)),
    Part("ledger", "durable spends, against raw synchronised commits", ("bench_ledger.py::test_durable_spends",)),
    Part(
        "statistics",
        "correlations of 100 variables over 50 sites; not with --quick",
        ("bench_statistics.py::test_correlations_of_many_variables",),
        quick=False,
    ),
    Part(
        "ray",
        "a round in groups on Ray workers, against one process; not with --quick",
        ("bench_ray.py::test_the_engine_beside_one_process[2]",),
        quick=False,
    ),
    Part(
        "service",
        "a session over HTTPS, against the bare machine; not with --quick",
        ("bench_service.py::test_a_session_over_https",),
        quick=False,
    ),
    Part("import", "how long an import takes", ("bench_import.py",)),
)


def chosen(only: Iterable[str], *, quick: bool = False) -> tuple[Part, ...]:
    """Return the named parts, in order; if none is named, all of them, or all that are quick.

    Raises:
        ParameterError: there is no such part.
    """
    wanted = set(only)
    unknown = wanted - {part.name for part in PARTS}
    if unknown:
        names = ", ".join(part.name for part in PARTS)
        raise ParameterError(f"there is no benchmark {min(unknown)!r}; there are {names}")
    return tuple(part for part in PARTS if (part.name in wanted if wanted else part.quick or not quick))
