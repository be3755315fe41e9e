"""What is compared, in the order in which it runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from secagg.errors import ParameterError


@dataclass(frozen=True)
class Part:
    """Benchmarks that run, and are kept, together.

    Attributes:
        name: what names it at the command line.
        about: what is compared with what.
        tests: pytest's names of the benchmarks, from the suite's folder.
        seconds: how long it takes, about, on two cores in full; and quick, where 0 leaves it out.
    """

    name: str
    about: str
    tests: tuple[str, ...]
    seconds: tuple[int, int]


PARTS = (
    Part(
        "round",
        "a whole round of many clients, against Flower's SecAgg+ and the AES and X25519 that it must do",
        ("bench_round.py::test_server_of_a_round",),
        (150, 45),
    ),
    Part(
        "unmasking",
        "the server's last step, against Flower's own arithmetic on the same work",
        ("bench_unmasking.py::test_server_unmasking",),
        (90, 10),
    ),
    Part(
        "flower",
        "whole rounds in Flower, against its own SecAgg+ workflow and plain FedAvg; not with --quick",
        ("bench_flower.py::test_flower_against_its_own_secure_aggregation",),
        (150, 0),
    ),
    Part(
        "scaling",
        "rounds over clients, length and dropouts: seconds, bytes, memory",
        ("bench_scaling.py",),
        (200, 40),
    ),
    Part("masks", "adding masks, against raw AES and plain additions", ("bench_masks.py::test_adding_masks",), (15, 5)),
    Part(
        "shamir",
        "secret sharing, against PyCryptodome and galois",
        ("bench_shamir.py::test_split_and_reconstruct",),
        (120, 6),
    ),
    Part(
        "paillier",
        "encrypted summation, against phe and bare gmpy2",
        (
            "bench_paillier.py::test_client_encryption[2048]",
            "bench_paillier.py::test_server_sum",
            "bench_paillier.py::test_bytes_on_the_wire[2048]",
        ),
        (180, 15),
    ),
    Part("ckks", "the same sums by TenSEAL's homomorphic encryption", ("bench_ckks.py",), (60, 15)),
    Part(
        "noise",
        "exact discrete noise, against OpenDP and inexact floats",
        ("bench_dp.py::test_samplers_over_sigma",),
        (90, 15),
    ),
    Part(
        "calibration", "the least noise for a goal, against dp-accounting", ("bench_dp.py::test_calibration",), (30, 8)
    ),
    Part("import", "how long an import takes", ("bench_import.py",), (30, 8)),
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
    return tuple(part for part in PARTS if (part.name in wanted if wanted else part.seconds[quick]))
