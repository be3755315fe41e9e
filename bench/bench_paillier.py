"""Paillier summation against phe's own loop and against the bare arithmetic of gmpy2, in one run."""

from __future__ import annotations

import itertools
import resource
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

import gmpy2
import numpy as np
import pytest

from bench.side_by_side import clocked, limit, peer, size, take_turns
from bench.suite import machine
from bench.suite.findings import Finding, Row
from protocols.paillier.messages import Contribution, encode
from secagg.encoding import FixedPoint, Rounding
from secagg.paillier import (
    Accumulator,
    EncryptedVector,
    Lanes,
    NoisePool,
    PrivateKey,
    ShortExponents,
    check_knowledge,
    combine,
    decrypt,
    encrypt,
    encrypt_and_prove,
    open_partially,
)
from secagg.paillier.knowledge import proof_bytes
from tests.secagg.paillier.fixed_keys import dealt, private_key

CODEC = FixedPoint(clip=1.0, value_bits=16, num_summands=1000, rounding=Rounding.STOCHASTIC)
CLIENTS = size(1000, 32, quick=100)
BATCH = 16
CORES = 2
PHE_ADDITIONS = 2_000
MANY = 5_000
"""Draws of noise that a source is made ready for: it takes the larger table, and the vector unit if there is one."""
DISTINCT = 16
"""Contributors' ciphertexts repeat from a pool of so many vectors."""


def lanes_for(key_bits: int, length: int) -> Lanes:
    return Lanes(key_bits, CODEC.modulus_bits, length)


def pool_of_vectors(key: PrivateKey, lanes: Lanes) -> list[EncryptedVector]:
    """Valid vectors of this length, fast: a few ciphertexts are drawn, and each one is a product of earlier ones."""
    noise = NoisePool(ShortExponents(key.public_key))
    n_squared = key.public_key.n_squared
    values = [key.public_key.encrypt(secrets.randbelow(256), noise.take().residue) for _ in range(64)]
    vectors = []
    for _ in range(DISTINCT):
        ciphertexts = []
        for _ in range(lanes.num_plaintexts):
            values.append(values[-1] * values[-64] % n_squared)
            ciphertexts.append(values[-1].to_bytes(key.public_key.ciphertext_bytes, "big"))
            del values[:-64]
        data = b"".join(ciphertexts)
        vectors.append(EncryptedVector(key.public_key.fingerprint, lanes.lane_bits, lanes.length, 1, data))
    return vectors


def known_vectors(key: PrivateKey, lanes: Lanes) -> list[EncryptedVector]:
    """Vectors whose sum can be checked: every lane of vector i holds i, under noise that is reused."""
    noise = NoisePool(ShortExponents(key.public_key))
    some = [noise.take().residue for _ in range(64)]
    vectors = []
    for i in range(DISTINCT):
        plaintexts = lanes.pack(np.full(lanes.length, i, dtype=np.uint32))
        ciphertexts = (
            key.public_key.encrypt(plaintext, r).to_bytes(key.public_key.ciphertext_bytes, "big")
            for plaintext, r in zip(plaintexts, itertools.cycle(some), strict=False)
        )
        data = b"".join(ciphertexts)
        vectors.append(EncryptedVector(key.public_key.fingerprint, lanes.lane_bits, lanes.length, 1, data))
    return vectors


@pytest.mark.parametrize("key_bits", [2048, 3072])
def test_client_encryption(benchmark, report: Callable[[Finding], None], key_bits: int) -> None:
    key = private_key(key_bits)
    num_ciphertexts = size(128, 8, quick=64)
    lanes = lanes_for(key_bits, num_ciphertexts * lanes_for(key_bits, 1).per_plaintext)
    source = ShortExponents(key.public_key)
    source.draws(MANY)  # builds the tables, as the bare loop has its own before the clock starts
    values = np.random.default_rng(1).uniform(-1, 1, lanes.length)
    theirs, phe_numbers = key.to_phe().public_key, size(12, 2, quick=8)

    n_squared = gmpy2.mpz(key.public_key.n) ** 2
    base = gmpy2.mpz(key.public_key.noise_base)
    table = []
    for _ in range(key_bits // 16):
        row = [gmpy2.mpz(1)]
        for _ in range(255):
            row.append(row[-1] * base % n_squared)
        table.append(row)
        base = row[-1] * base % n_squared
    exponents = [secrets.token_bytes(key_bits // 16) for _ in range(num_ciphertexts)]

    def bare_fixed_base() -> None:
        for exponent in exponents:
            power = table[0][exponent[0]]
            for row, digit in zip(table[1:], exponent[1:], strict=True):
                power = power * row[digit] % n_squared

    def phe_loop() -> float:
        start = time.perf_counter()
        for value in values[:phe_numbers]:
            theirs.encrypt(float(value))
        return (time.perf_counter() - start) / phe_numbers * lanes.length

    def ahead_of_time() -> float:
        noise = NoisePool(source)
        noise.fill(lanes.num_plaintexts)
        start = time.perf_counter()
        encrypt(CODEC.encode(values).residues, lanes, noise)
        return time.perf_counter() - start

    def ours() -> None:
        encrypt(CODEC.encode(values).residues, lanes, NoisePool(source))

    ours()
    others = {"bare": clocked(bare_fixed_base), "phe": phe_loop, "noise ahead": ahead_of_time}
    timings = take_turns(benchmark, clocked(ours), others, turns=size(9, 2, quick=3))
    per_parameter = timings.median("ours") / lanes.length
    speedup, over_bare = timings.ratio("phe", "ours"), timings.ratio("ours", "bare")
    finding = Finding(f"client encryption, {key_bits} bits, 16-bit values, 1000 addends, {lanes.per_plaintext} lanes")
    finding.add("ours, floats to bytes, a parameter", per_parameter * 1e6, "us")
    finding.add("phe's own loop, a parameter", timings.median("phe") / lanes.length * 1e6, "us")
    asked = {"asked": "at least 500x", "met": speedup.median >= 500} if key_bits == 2048 else {}
    finding.add_ratio("faster than phe", speedup, **asked)
    finding.add_ratio(
        "ours over the bare fixed-base power, a ciphertext",
        over_bare,
        asked="at most 1.0x",
        met=over_bare.median <= 1.0,
    )
    finding.add("ours, a ciphertext", timings.median("ours") / lanes.num_plaintexts * 1e3, "ms")
    finding.add("bare, a ciphertext", timings.median("bare") / lanes.num_plaintexts * 1e3, "ms")
    finding.add_ratio("with noise drawn ahead, faster than phe", timings.ratio("phe", "noise ahead"))
    per = 1 / lanes.length
    theirs_row = timings.peer(
        "phe", "phe", scale=per, note="one float a ciphertext; a few measured in each turn, scaled"
    )
    bare_row = timings.limit("bare gmpy2, fixed base", "bare", scale=per)
    finding.rows.append(
        Row(f"Paillier, {key_bits} bits: encrypting a number", "s", per_parameter, theirs_row, bare_row)
    )
    report(finding)


def bare_sum(count: int, repeats: int) -> float:
    """Multiply and reduce, and nothing else; the integers are there before the clock starts."""
    n_squared = gmpy2.mpz(private_key(2048).public_key.n) ** 2
    addends = [[gmpy2.mpz(secrets.randbelow(int(n_squared))) for _ in range(count)] for _ in range(2)]
    total = addends[0]
    start = time.perf_counter()
    for repeat in range(repeats):
        total = [value * addend % n_squared for value, addend in zip(total, addends[repeat % 2], strict=True)]
    return time.perf_counter() - start


def add_all(accumulator: Accumulator, vectors: list[EncryptedVector]) -> None:
    for first in range(0, CLIENTS, BATCH):
        batch = {client: vectors[client % DISTINCT] for client in range(first, min(first + BATCH, CLIENTS))}
        assert not accumulator.add_batch(batch)


def test_server_sum(benchmark, report: Callable[[Finding], None]) -> None:
    key = private_key(2048)
    lanes = lanes_for(2048, size(100_000, 5_000, quick=20_000))
    vectors = pool_of_vectors(key, lanes)
    share = size(4, 1, quick=1)  # the bare loop adds a quarter of the clients, and is scaled

    with ProcessPoolExecutor(CORES, get_context("spawn")) as processes:
        list(processes.map(bare_sum, [8] * CORES, [8] * CORES))

        def bare() -> float:
            count = -(-lanes.num_plaintexts // CORES)
            return share * max(processes.map(bare_sum, [count] * CORES, [CLIENTS // share] * CORES))

        def ours() -> float:
            with Accumulator(key.public_key, lanes, max_addends=CLIENTS, workers=CORES) as accumulator:
                accumulator.add_batch({})  # the workers start with the first call, off the clock
                start = time.perf_counter()
                add_all(accumulator, vectors)
                accumulator.product()
                return time.perf_counter() - start

        public = key.to_phe().public_key
        one, other = public.encrypt(0.5), public.encrypt(0.25)

        def phe_additions() -> float:
            seconds = clocked(lambda: [one + other for _ in range(PHE_ADDITIONS)])()
            return seconds / PHE_ADDITIONS * lanes.length * CLIENTS / CORES

        others = {"bare": bare, "phe": phe_additions}
        timings = take_turns(benchmark, ours, others, turns=size(3, 2, quick=2))
    ratio, seconds = timings.ratio("ours", "bare"), timings.median("ours")
    finding = Finding(f"server sum, {CLIENTS} clients x {lanes.length:,} parameters, 2048 bits, {CORES} processes")
    finding.add("ours, all checks included", seconds, "s", asked="under 60 s", met=seconds < 60)
    finding.add("bare multiply and reduce, same count, same processes", timings.median("bare"), "s")
    finding.add_ratio("ours over bare", ratio, asked="at most 1.4x", met=ratio.median <= 1.4)
    phe = timings.peer(
        "phe", f"phe's + on {CORES} cores", note="a number a ciphertext; a sample, scaled to all of them"
    )
    finding.add("phe's additions, one number a ciphertext, scaled", timings.median("phe"), "s")
    bare_row = timings.limit(f"bare gmpy2 on {CORES} cores", "bare")
    what = f"Paillier, 2048 bits: adding {CLIENTS:,} clients x {lanes.length:,}"
    finding.rows.append(Row(what, "s", seconds, phe, bare_row))
    report(finding)


class Stopwatch:
    """Wall-clock and processor seconds of stages; workers count once they have ended."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = {}
        self.processor: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        wall, processor = time.perf_counter(), self._processor_seconds()
        yield
        self.wall[name] = time.perf_counter() - wall
        self.processor[name] = self._processor_seconds() - processor

    def _processor_seconds(self) -> float:
        usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(usage.ru_utime + usage.ru_stime for usage in usages)


Seconds = tuple[float, float]
"""By the wall clock, and of processor time."""


def bare_powers(modulus: int, exponents: list[int], count: int) -> Seconds:
    """Raise `count` random numbers to every exponent with gmpy2, and nothing else."""
    bases = [gmpy2.mpz(secrets.randbelow(modulus)) for _ in range(count)]
    numbers, m = [gmpy2.mpz(exponent) for exponent in exponents], gmpy2.mpz(modulus)
    wall, processor = time.perf_counter(), time.process_time()
    for exponent in numbers:
        gmpy2.powmod_base_list(bases, exponent, m)
    return time.perf_counter() - wall, time.process_time() - processor


def bare_sum_seconds(count: int, repeats: int) -> Seconds:
    processor = time.process_time()
    wall = bare_sum(count, repeats)
    return wall, time.process_time() - processor


@pytest.mark.parametrize("key_bits", [2048, 3072])
def test_proofs_of_knowledge(benchmark, report: Callable[[Finding], None], key_bits: int) -> None:
    """What a proof that a contributor knows its vector costs, beside encrypting that vector."""
    key = private_key(key_bits)
    num_ciphertexts = size(1000, 64, quick=200)
    lanes = lanes_for(key_bits, num_ciphertexts * lanes_for(key_bits, 1).per_plaintext)
    source = ShortExponents(key.public_key)
    residues = CODEC.encode(np.random.default_rng(1).uniform(-1, 1, lanes.length)).residues
    source.draws(MANY)
    drawn = list(source.draws(DISTINCT))

    def ready() -> NoisePool:
        pool = NoisePool(source)
        pool._ready.extend(itertools.islice(itertools.cycle(drawn), num_ciphertexts))
        return pool

    def seconds(work: Callable[[], object]) -> float:
        start = time.process_time()
        work()
        return time.process_time() - start

    def everything() -> tuple[float, float, float]:
        encrypting = seconds(lambda: list(source.draws(num_ciphertexts)))
        alone, noise = seconds(lambda: encrypt(residues, lanes, ready())), ready()
        proving = seconds(lambda: encrypt_and_prove(residues, lanes, noise, context=b"bench")) - alone
        vector, proof = encrypt_and_prove(residues, lanes, ready(), context=b"bench")
        arguments = (vector, key.public_key, lanes, proof)
        checking = seconds(lambda: check_knowledge(*arguments, context=b"bench", times=CLIENTS))
        return encrypting + alone, proving, checking

    everything()  # compiles
    encrypting, proving, checking = benchmark.pedantic(everything, rounds=1)
    finding = Finding(f"proofs of knowledge, {key_bits} bits, {num_ciphertexts} ciphertexts")
    finding.add("encrypting a vector", encrypting, "s")
    for what, took in (("proving", proving), ("checking", checking)):
        finding.add(what, took, "s", asked="a tenth of encrypting", met=took <= encrypting / 10)
    report(finding)


class Floors:
    """What gmpy2's bare arithmetic takes for each stage on all cores at once: samples, scaled, around what is measured.

    One sum: a multiplication and reduction mod n**2 a ciphertext and client. Key holder: a power mod p**2 and one mod
    q**2. Member: a power mod n to an exponent of n's length. Combination: a power mod n**2 to the n-th.
    """

    def __init__(self, key: PrivateKey, num_ciphertexts: int) -> None:
        (p, q), n = key.factors, key.public_key.n
        secret = secrets.randbelow(n)
        self._count = num_ciphertexts
        self._powers = {
            "key holder": [(p * p, [p - 1]), (q * q, [q - 1])],
            "member": [(n, [secret])],
            "combination": [(n * n, [n])],
        }
        self._samples: dict[str, list[Seconds]] = {name: [] for name in ("sum", *self._powers)}

    def sample(self) -> None:
        """Run every floor once on a part of the work."""
        count, repeats = min(512, self._count), 16
        scale = self._count / CORES / count
        with ProcessPoolExecutor(CORES, get_context("spawn")) as processes:
            list(processes.map(bare_sum, [8] * CORES, [8] * CORES))
            times = processes.map(bare_sum_seconds, [count] * CORES, [repeats] * CORES)
            self._keep("sum", list(times), scale * CLIENTS / repeats)
            count = min(size(48, 4), self._count)
            for name, stages in self._powers.items():
                parts = [
                    list(processes.map(bare_powers, [modulus] * CORES, [exponents] * CORES, [count] * CORES))
                    for modulus, exponents in stages
                ]
                both = [
                    (sum(wall for wall, _ in turn), sum(cpu for _, cpu in turn)) for turn in zip(*parts, strict=True)
                ]
                self._keep(name, both, self._count / CORES / count)

    def _keep(self, name: str, times: list[Seconds], scale: float) -> None:
        wall, processor = max(wall for wall, _ in times), sum(cpu for _, cpu in times) / CORES
        self._samples[name].append((wall * scale, processor * scale))

    def of(self, name: str, clock: int) -> float:
        """Mean seconds on all cores: clock 0 is the wall's, clock 1 the processor's."""
        return sum(sample[clock] for sample in self._samples[name]) / len(self._samples[name])


def test_a_million_parameters(benchmark, report: Callable[[Finding], None]) -> None:
    key = private_key(2048)
    public, shares = dealt(3, 5, 2048)
    lanes = lanes_for(2048, size(1_000_000, 5_000))
    vectors = known_vectors(key, lanes)
    watch = Stopwatch()
    floors = Floors(key, lanes.num_plaintexts)

    def everything() -> None:
        with watch.stage("sum"), Accumulator(key.public_key, lanes, max_addends=CLIENTS, workers=CORES) as accumulator:
            add_all(accumulator, vectors)
            total = accumulator.product()
        said = {}
        for share in shares[1:4]:
            with watch.stage(f"member {share.member}"):
                said[share.member] = open_partially(share, total, lanes, context=b"bench", workers=CORES)
        with watch.stage("combination"):
            opened = combine(public, total, lanes, said, context=b"bench", workers=CORES)
        with watch.stage("key holder"):
            held = decrypt(total, lanes, key, workers=CORES)
        residues = lanes.unpack(opened.plaintexts, public.public_key.n)
        assert (residues == held).all()
        assert (residues == sum(client % DISTINCT for client in range(CLIENTS))).all()

    floors.sample()
    benchmark.pedantic(everything, rounds=1)
    here, child = (
        resource.getrusage(who).ru_maxrss / 2**20 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    memory = here + CORES * child
    floors.sample()
    finding = Finding(f"{CLIENTS} clients x {lanes.length:,} parameters, 2048 bits, {CORES} cores, 3 of 5 members")
    for clock, (what, seconds, cores) in enumerate(
        (("wall clock", watch.wall, 1), ("processor time over the cores", watch.processor, CORES))
    ):
        members = [value / cores for name, value in seconds.items() if name.startswith("member")]
        stages = {
            "server sum": ("sum", seconds["sum"] / cores),
            "opening by a key holder (CRT)": ("key holder", seconds["key holder"] / cores),
            "partial opening, slowest member on cores of its own": ("member", max(members)),
            "combination": ("combination", seconds["combination"] / cores),
        }
        for name, (floor, taken) in stages.items():
            finding.add(f"{name}, {what}", taken, "s")
            finding.add(f"  gmpy2's bare arithmetic for it, {what}", floors.of(floor, clock), "s")
        held = (seconds["sum"] + seconds["key holder"]) / cores
        committee = seconds["sum"] / cores + max(members) + seconds["combination"] / cores
        most = 120 if "AVX-512" in machine.instructions() else 180
        asked = f"at most {most} s"
        finding.add(f"sum and opening by a key holder, {what}", held, "s", asked=asked, met=held <= most)
        finding.add(f"sum and opening by a committee, {what}", committee, "s", asked=asked, met=committee <= most)
        bare = floors.of("sum", clock) + floors.of("member", clock) + floors.of("combination", clock)
        finding.add(f"  gmpy2's bare arithmetic for it, {what}", bare, "s")
        ratio = committee / bare
        finding.add(f"by a committee / gmpy2, {what}", ratio, "x", asked="at most 0.7x", met=ratio <= 0.7)
        finding.add(f"all three members on these cores instead, {what}", committee - max(members) + sum(members), "s")
    finding.add("peak memory, this process and its workers", memory, "GiB", asked="under 2 GiB", met=memory < 2)
    finding.notes.append("3 of 5 do where no member is corrupt (corrupt_members=0); unless stated, 4 of 5 are asked")
    finding.notes.append(f"memory includes the {DISTINCT} vectors of the pool and everything this session ran before")
    finding.notes.append(
        f"vectors in memory that nothing does without: {2 * len(vectors[0].data) / 2**20:.0f} MiB, sum and addend"
    )
    finding.notes.append("processor time leaves waiting for others out, but not what sharing caches and clocks costs")
    finding.notes.append(
        "floors are sampled before and after, and scaled; gmpy2 multiplies one by one, ours eight at once where it can"
    )
    report(finding)


@pytest.mark.parametrize("key_bits", [2048, 3072])
def test_bytes_on_the_wire(benchmark, report: Callable[[Finding], None], key_bits: int) -> None:
    key, lanes = private_key(key_bits), lanes_for(key_bits, 100_000)
    data = bytes(lanes.num_plaintexts * key.public_key.ciphertext_bytes)
    proof = bytes(proof_bytes(key.public_key))
    header = (bytes(32), 1, bytes(32), bytes(32), lanes.lane_bits, lanes.length, 1)
    message = Contribution(*header, data, proof, bytes(64))
    per_parameter = len(benchmark.pedantic(encode, args=(message,), rounds=1)) / lanes.length
    finding = Finding(f"bytes on the wire, {key_bits} bits, 16-bit values, 1000 addends")
    finding.add("ours, the whole message, a parameter", per_parameter, "B", asked="at most 7 B", met=per_parameter <= 7)
    finding.add("phe, one float a ciphertext", key.public_key.ciphertext_bytes, "B")
    theirs = peer("phe", float(key.public_key.ciphertext_bytes), per_parameter)
    clear = limit("16 bits in clear", 2.0, per_parameter)
    finding.rows.append(Row(f"Paillier, {key_bits} bits: bytes a number", "bytes", per_parameter, theirs, clear))
    report(finding)
