"""Freshness: what parties draw at random is drawn anew each time, at full length, and shows no pattern.

Replayed vectors bring their own randomness, so they cannot show what the library draws in use. These checks look at
keys, seeds, nonces, coefficients, rounding and noise that were drawn from the operating system.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from dp import samplers
from dp.clipping import randomised_round
from secagg import aead, shamir
from secagg.encoding import FixedPoint
from secagg.randomness import SYSTEM
from secagg.signatures import Identity

from ...core.threat_model import Adversary
from ...masking.client import Client
from ...masking.client.state import Advertised, Masked
from ...masking.messages import SEALED_SHARES_BYTES, SECRET_BYTES, ShareKeys, ToClient, records
from ...masking.policy import ClientPolicy
from ...masking.server import Server
from ...simulation.driver import Crossing
from .. import stage, strings
from ..outcome import Check, Figure, Found, Refuted, Trials, demand
from ..stage import Stage, configuration

_FALSE_ALARM = 1e-9
_ID_BYTES = 32
_PRIME = 2**31 - 1
_CHUNK_BITS = 30
_THRESHOLDS = (2, 3, 5, 9)
_BITS = 256
"""Coins tossed at once, where only their outcomes can be seen."""

_ENOUGH_FOR_BYTES = 2500
_ROWS = 4000
"""Polynomials whose coefficients are looked at bit by bit: more would take memory, and show no more."""

Elements = npt.NDArray[np.uint64]


def _draws(trials: Trials) -> int:
    """Return how many strings are drawn of each kind: enough for two of 16 bits to be equal all but certainly."""
    return 1500 + 2 * min(trials.examples, 250)


def _parties(trials: Trials) -> Found:
    """Begin many sessions, and look at what the server and one client have drawn for each."""
    config = configuration(5, Adversary.SEMI_MALICIOUS_SERVER)
    drawn: dict[str, list[bytes]] = {kind: [] for kind in ("nonces", "ids", "seeds", "private", "signing", "public")}
    for _ in trials.each(_draws(trials)):
        server, client = Server(config, threads=1), Client(policy=ClientPolicy.permissive(), threads=1)
        invitation = next(iter(server.outgoing().values()))
        keys = stage.read(client.respond(invitation))
        state = client._memory.state
        if not isinstance(state, Advertised):
            raise Refuted("a client that has advertised its keys holds something else than them")
        drawn["nonces"].append(stage.read(invitation, ToClient).nonce)
        drawn["ids"].append(server.session_id)
        drawn["seeds"].append(state.self_mask_seed)
        drawn["private"] += [state.cipher_private_key, state.mask_private_key]
        drawn["signing"].append(state.confirmation_private_key)
        drawn["public"] += [keys.cipher_public_key, keys.mask_public_key]
    figures: dict[str, Figure] = {}
    for kind, what in (
        ("nonces", "session nonces"),
        ("ids", "session ids"),
        ("seeds", "self-mask seeds"),
        ("private", "X25519 keys"),
        ("signing", "confirmation keys"),
    ):
        figures |= strings.fresh(drawn[kind], _ID_BYTES, what, _FALSE_ALARM / 5)
    strings.distinct(drawn["public"], _ID_BYTES, "X25519 public keys")
    return Found(figures)


def _identities(trials: Trials) -> Found:
    made = [Identity.generate() for _ in trials.each(_draws(trials))]
    strings.distinct([identity.public_bytes for identity in made], _ID_BYTES, "Ed25519 public keys")
    return Found(strings.fresh([identity.private_bytes for identity in made], _ID_BYTES, "Ed25519 keys", _FALSE_ALARM))


def _nonces(trials: Trials) -> Found:
    key = os.urandom(32)
    sealed = [aead.seal(key, b"the same", associated_data=b"the same") for _ in trials.each(_draws(trials))]
    nonces = [text[: aead.NONCE_BYTES] for text in sealed]
    return Found(strings.fresh(nonces, aead.NONCE_BYTES, "nonces of sealed texts", _FALSE_ALARM))


def interpolated(points: Sequence[int], values: Elements) -> Elements:
    """Return the coefficients, row j of x**j, of the polynomials with these values (points, columns) mod 2**31 - 1.

    By Lagrange's basis in Python's integers: other code than the library's.
    """
    found = np.zeros_like(values)
    for row, point in enumerate(points):
        basis, scale = [1], 1
        for other in points:
            if other != point:
                shifted = [0, *basis]
                basis = [(a - other * b) % _PRIME for a, b in zip(shifted, [*basis, 0], strict=True)]
                scale = scale * (point - other) % _PRIME
        inverse = pow(scale, -1, _PRIME)
        for power, coefficient in enumerate(basis):
            factor = np.uint64(coefficient * inverse % _PRIME)
            found[power] = (found[power] + values[row] * factor % np.uint64(_PRIME)) % np.uint64(_PRIME)
    return found


def _uniform_elements(elements: Elements, what: str, level: float) -> None:
    """Test field elements by their four bytes, the uppermost of seven bits. They are uniform mod p to 2**-31."""
    for shift in (0, 8, 16, 23):
        piece = (elements >> np.uint64(shift)) & np.uint64(0xFF)
        strings.even(np.bincount(piece.astype(np.int64), minlength=256), f"bits from {shift} of {what}", level / 4)


def element_bits(elements: Elements) -> strings.Bits:
    """Return the 31 bits of each field element of a table (rows, columns), side by side for each column."""
    shifts = np.arange(31, dtype=np.uint64)
    bits = (elements[:, :, np.newaxis] >> shifts) & np.uint64(1)
    return np.asarray(bits.transpose(1, 0, 2).reshape(elements.shape[1], -1), dtype=np.uint8)


def _coefficients(trials: Trials) -> Found:
    """Long and short secrets, at several thresholds: every coefficient above the secret itself must be random."""
    long = max(25_600, trials.samples // 16)
    short = max(2900, _draws(trials))
    level = _FALSE_ALARM / (2 * sum(_THRESHOLDS) + 2 * len(_THRESHOLDS))
    for threshold, rng in zip(_THRESHOLDS, trials.each(len(_THRESHOLDS)), strict=False):
        points = (rng.permutation(1000)[: threshold + 2] + 1).tolist()
        _deal(_long_secret(rng, long), threshold, points, level)
        if threshold == 3:
            _deal_many([rng.bytes(SECRET_BYTES) for _ in range(short)], threshold, points, level)
    return Found({"thresholds": len(_THRESHOLDS), "elements of a long secret": long, "secrets of 32 bytes": short})


def _long_secret(rng: np.random.Generator, num_elements: int) -> bytes:
    return rng.bytes(num_elements * _CHUNK_BITS // 8)


def _pieces(secret: bytes) -> list[int]:
    """Return a secret's field elements, 30 bits each, in Python's integers."""
    whole, count = int.from_bytes(secret, "little"), -(-8 * len(secret) // _CHUNK_BITS)
    text = f"{whole:0{count * _CHUNK_BITS}b}"
    return [int(text[at - _CHUNK_BITS : at], 2) for at in range(len(text), 0, -_CHUNK_BITS)]


def _values(shares: dict[int, bytes], points: Sequence[int]) -> Elements:
    return np.stack([np.frombuffer(shares[point], dtype="<u4").astype(np.uint64) for point in points])


def _deal(secret: bytes, threshold: int, points: list[int], level: float) -> None:
    shares = shamir.split(secret, threshold=threshold, indices=points)
    found = interpolated(points, _values(shares, points))
    demand(not found[threshold:].any(), f"shares of threshold {threshold} are on no polynomial of that degree")
    demand(found[0].tolist() == _pieces(secret), "the constant coefficients are not the secret")
    _check_coefficients(found[1:threshold], f"with threshold {threshold}", level)
    # One share less: as any other secret would have it.
    few = points[: threshold - 1]
    guessed = interpolated(few, _values(shares, few))[0]
    blinded = (guessed + np.uint64(_PRIME) - found[0]) % np.uint64(_PRIME)
    _uniform_elements(blinded, f"what {threshold - 1} shares of threshold {threshold} say", level)


def _deal_many(secrets: list[bytes], threshold: int, points: list[int], level: float) -> None:
    few = points[:threshold]
    dealt = [_values(shamir.split(secret, threshold=threshold, indices=points), few) for secret in secrets]
    _check_coefficients(interpolated(few, np.concatenate(dealt, axis=1))[1:], "of secrets of 32 bytes", level)


def _check_coefficients(table: Elements, what: str, level: float) -> None:
    for power, coefficients in enumerate(table, start=1):
        _uniform_elements(coefficients, f"Shamir coefficients of x^{power} {what}", level)
    strings.independent(element_bits(table[:, :_ROWS]), f"Shamir coefficients {what}")


def _coins(trials: Trials) -> Found:
    """Toss coins where only outcomes can be seen: roundings of a half, and the parity of noise."""
    codec = FixedPoint(1.0, 16, 5)
    halves = np.full(_BITS, 0.5)
    sources: dict[str, Callable[[], npt.NDArray[np.int64]]] = {
        "roundings of plain vectors": lambda: codec.quantise(halves / codec.scale)[0],
        "roundings of private vectors": lambda: randomised_round(halves),
        "noise of vectors": lambda: samplers.discrete_gaussian(50, _BITS),
    }
    drawn: dict[str, list[bytes]] = {what: [] for what in sources}
    for _ in trials.each(_draws(trials)):
        for what, toss in sources.items():
            drawn[what].append(np.packbits((toss() & 1).astype(np.uint8)).tobytes())
    figures: dict[str, Figure] = {}
    for what, tossed in drawn.items():
        figures |= strings.fresh(tossed, _BITS // 8, what, _FALSE_ALARM / len(drawn))
    return Found(figures)


_NONCES = "nonces of clients' shares"


class _Watched(Stage):
    """A session whose parties draw from the operating system, as in use, and are looked over their shoulders."""

    def __init__(self, rng: np.random.Generator, noted: dict[str, list[bytes]]) -> None:
        config = configuration(16, Adversary.SEMI_MALICIOUS_SERVER, dropout=0.2, complete_graph=True)
        super().__init__(config, rng, self._note, random=SYSTEM)
        self.noted = noted
        noted["sessions' ids"].append(self.server.session_id)

    def _note(self, crossing: Crossing) -> bytes:
        if not crossing.to_coordinator:
            return crossing.data
        state = self.participants[crossing.name]._memory.state
        if isinstance(state, Advertised):
            self.noted["clients' X25519 keys"] += [state.cipher_private_key, state.mask_private_key]
            self.noted["clients' self-mask seeds"].append(state.self_mask_seed)
            self.noted["clients' confirmation keys"].append(state.confirmation_private_key)
        elif isinstance(message := stage.read(crossing.data), ShareKeys):
            sealed = records(message.sealed, SEALED_SHARES_BYTES)
            self.noted[_NONCES] += [each[: aead.NONCE_BYTES] for each in sealed]
        return crossing.data


def _sessions(trials: Trials) -> Found:
    """Look at what the parties of many sessions draw; the shares of the last are put together again."""
    noted: dict[str, list[bytes]] = defaultdict(list)
    for rng in trials.each(trials.share(4)):
        one = _Watched(rng, noted)
        for _ in range(3):
            one.step()
    figures: dict[str, Figure] = {}
    for what, drawn in noted.items():
        size = aead.NONCE_BYTES if what == _NONCES else _ID_BYTES
        strings.distinct(drawn, size, what)
        figures[what] = len(drawn)
        if len(drawn) >= strings.enough(size):
            strings.independent(strings.bits(drawn), what)
        if len(drawn) >= _ENOUGH_FOR_BYTES:
            figures |= strings.fresh(drawn, size, what, _FALSE_ALARM / 8)
    _dealt(one)
    return Found(figures)


def _dealt(session: Stage) -> None:
    """Interpolate what the clients have dealt to one another: the coefficients of all secrets, as they were used."""
    threshold = session.config.topology.threshold
    tables = []
    states = {name: client._memory.state for name, client in session.participants.items()}
    for owner in range(1, len(states) + 1):
        held = {
            session.everyone.number(name): state.shares[owner]
            for name, state in states.items()
            if isinstance(state, Masked) and owner in state.shares
        }
        points = sorted(held)[:threshold]
        demand(len(points) == threshold, "too few clients hold shares of a secret")
        for secret in range(2):
            values = _values({point: held[point][secret] for point in points}, points)
            tables.append(interpolated(points, values)[1:])
    table = np.concatenate(tables, axis=1)
    for power, coefficients in enumerate(table, start=1):
        bits = element_bits(coefficients[np.newaxis])
        what = f"clients' Shamir coefficients of x^{power}"
        strings.independent(bits, what)
        strings.level_bits(bits, what, _FALSE_ALARM / (2 * len(table)))


def _wrong(rng: np.random.Generator, count: int) -> dict[str, list[bytes]]:
    """Strings as they are when something is wrong with them."""
    right = [rng.bytes(32) for _ in range(count)]
    few = [int(number).to_bytes(2, "big") for number in rng.integers(1 << 16, size=count)]
    leaning = [bytes([text[0] | (0x80 if rng.random() < 1 / 3 else 0)]) + text[1:] for text in right]
    return {
        "constant": [right[0]] * count,
        "of 16 bits, stretched": [two * 16 for two in few],
        "of 16 bits, hashed": [hashlib.sha256(two).digest() for two in few],
        "of 240 bits": [text[:30] + bytes(2) for text in right],
        "with a byte that stands twice": [text[:31] + text[:1] for text in right],
        "with a bit that is mostly set": leaning,
        "repeated once": [*right[:-1], right[0]],
        "short": [text[:31] for text in right],
    }


def _control(trials: Trials) -> Found:
    (rng,) = trials.each(1)
    cases = _wrong(rng, 2500)
    for what, drawn in cases.items():
        try:
            strings.fresh(drawn, 32, "strings", _FALSE_ALARM)
        except Refuted:
            continue
        raise Refuted(f"strings that are {what} pass: the check shows nothing of others")
    return Found({"kinds of wrong strings rejected": len(cases)})


def _check(name: str, claim: str, run: Callable[[Trials], Found], false_alarm: float = _FALSE_ALARM) -> Check:
    return Check("freshness", name, claim, run, false_alarm, repeatable=not false_alarm)


CHECKS = (
    _check("parties", "every session has its own nonce, id, keys and self-mask seeds, of full length", _parties),
    _check("identities", "every Ed25519 key is another one, of full length", _identities),
    _check("nonces", "no nonce of a sealed text repeats, and all their bits are random", _nonces),
    _check("coefficients", "all of Shamir's coefficients are random, and a share too few says nothing", _coefficients),
    _check("coins", "roundings and noise are drawn anew for every vector", _coins),
    _check("sessions", "nothing that the parties of sessions draw repeats or shows a pattern", _sessions),
    _check("control", "strings that are slightly wrong are rejected", _control, 0.0),
)
