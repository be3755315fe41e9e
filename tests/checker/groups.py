"""Plans and draws of SPEC sections 47 and 48, from the text; spoilt groups are counted by generating functions."""

import math
from fractions import Fraction
from typing import Any

from xxhash import xxh3_128_digest

from . import edwards, messagepack
from .primitives import digest, frame, keystream, u32
from .refusal import require

Case = dict[str, Any]
SLACK = 1e-14
RULES = (
    "sum",
    "median",
    "trimmed-mean",
    "krum",
    "multi-krum",
    "geometric-median",
    "centred-clipping",
    "norm-clipped-mean",
)
ORDER = (
    *("num_clients", "bad_fraction", "corrupt_fraction", "honest_minimum", "rule"),
    *("groups", "spare", "dropout_fraction", "adversary"),
)


class Plan:
    """Section 47."""

    def __init__(self, given: Case) -> None:
        fractions = ("bad_fraction", "corrupt_fraction", "dropout_fraction")
        self.given = given | {name: float.fromhex(given[name]) for name in fractions}
        self.n, self.rule, self.honest = given["num_clients"], given["rule"], given["honest_minimum"]
        self.spare = given["spare"]
        require(self.honest >= 2 and self.rule in RULES, "ParameterError")
        self.bad, self.corrupt = (
            math.floor((self.given[name] + SLACK) * self.n) for name in ("bad_fraction", "corrupt_fraction")
        )
        require(self.rule != "sum" or not self.bad, "ParameterError")
        if given["groups"] is None:
            serving = [g for g in range(1, self.n + 1) if self.borne(g)]
            require(serving, "ParameterError")
            self.groups = serving[0]
        else:
            self.groups = given["groups"]
            require(1 <= self.groups <= self.n and self.borne(self.groups), "ParameterError")
        require(all(self.hides(size) for size in self.sizes(self.groups)), "ParameterError")

    def sizes(self, groups: int) -> list[int]:
        return [self.n // groups + (place < self.n % groups) for place in range(groups)]

    def bears(self, groups: int) -> int:
        if groups < 1 or self.rule == "sum":
            return min(groups, 1) - 1
        return (groups - 3) // 2 if "krum" in self.rule else (groups - 1) // 2

    def rare(self, groups: int, spoilt: int) -> bool:
        """The bad clients are dealt group by group: ways[k] is by how many are dealt, k groups being spoilt."""
        ways = [[1]]
        for size in self.sizes(groups):
            hit = [math.comb(size, x) for x in range(min(size, self.bad) + 1)]
            after: list[list[int]] = [[0] * (self.bad + 1) for _ in range(len(ways) + 1)]
            for k, row in enumerate(ways):
                for dealt, count in enumerate(row):
                    for x, choices in enumerate(hit) if count else ():
                        if dealt + x <= self.bad:
                            after[k + (x > 0)][dealt + x] += count * choices
            ways = after
        more = sum(row[self.bad] for k, row in enumerate(ways) if k > spoilt)
        return more << 20 < math.comb(self.n, self.bad)

    def borne(self, groups: int) -> bool:
        most = self.bears(groups - self.spare)
        return most >= 0 and self.rare(groups, most)

    def max_spoilt(self) -> int:
        return next(spoilt for spoilt in range(self.groups) if self.rare(self.groups, spoilt))

    def min_groups(self) -> int:
        if self.rule == "sum":
            return int(self.groups - self.spare)
        return 2 * self.max_spoilt() + (3 if "krum" in self.rule else 1)

    def max_corrupt(self, size: int) -> int:
        ways = [math.comb(self.corrupt, x) * math.comb(self.n - self.corrupt, size - x) for x in range(size + 1)]
        limit = Fraction(math.comb(self.n, size), self.groups << 40)
        return next(most for most in range(size + 1) if sum(ways[most + 1 :]) < limit)

    def hides(self, size: int) -> bool:
        most, dropout = self.max_corrupt(size), self.given["dropout_fraction"]
        weight = 1 if self.given["adversary"] == "curious-server" else 2
        survivors = math.ceil((1 - dropout - SLACK) * size)
        return size >= 2 and most / size + weight * dropout <= 0.9 and survivors - most >= self.honest

    def written(self) -> bytes:
        return messagepack.encode([(self.given | {"groups": self.groups})[name] for name in ORDER])


def _planned(given: Case) -> Case:
    plan = Plan(given)
    sizes = plan.sizes(plan.groups)
    return {
        "written": plan.written().hex(),
        "groups": plan.groups,
        "sizes": sizes,
        "max_spoilt": plan.max_spoilt(),
        "min_groups": plan.min_groups(),
        "max_corrupt": [plan.max_corrupt(size) for size in sizes],
    }


def _framed(tag: str, *fields: Any) -> bytes:
    body = messagepack.encode([f"groups/v1/{tag}", *fields])
    return b"SAGG\x01" + xxh3_128_digest(body) + body


def _drawn(given: Case) -> Case:
    """Section 48.2, and 47.3 as the first client sees it."""
    plan, run = Plan(given["plan"]), bytes.fromhex(given["run"])
    keys = [bytes.fromhex(text) for text in given["identities"]]
    nonces = [bytes.fromhex(text) for text in given["nonces"]]
    public = [edwards.verification_key(key) for key in keys]
    numbers = range(1, len(keys) + 1)
    terms = digest("GROUPS_TERMS", plan.written(), b"".join(u32(i) + public[i - 1] for i in numbers))
    committed = [digest("GROUPS_COMMITMENT", run, terms, u32(i), nonces[i - 1]) for i in numbers]
    first = [frame("SIGN_GROUPS_COMMITMENT", run, terms, u32(i), committed[i - 1]) for i in numbers]
    everything = digest("GROUPS_COMMITMENTS", run, terms, b"".join(committed))
    second = [frame("SIGN_GROUPS_NONCE", everything, u32(i), nonces[i - 1]) for i in numbers]
    one, two = ([edwards.sign(*pair) for pair in zip(keys, said, strict=True)] for said in (first, second))
    coin = digest("GROUPS_COIN", everything, b"".join(nonces))
    to_clients = [
        _framed("invitation", run, terms),
        _framed("commitments", run, committed, one),
        _framed("nonces", run, nonces, two),
    ]
    for phase, text in given.get("bent", {}).items():
        _refuse(bytes.fromhex(text), to_clients[int(phase)], public, terms, everything, committed)
    stream = keystream(coin, 16 * len(keys))
    order = sorted(numbers, key=lambda i: (stream[16 * i - 16 : 16 * i], i))
    groups = []
    for size in plan.sizes(plan.groups):
        groups.append(sorted(order[:size]))
        order = order[size:]
    to_server = [
        [_framed("commitment", run, i, committed[i - 1], one[i - 1]).hex() for i in numbers],
        [_framed("nonce", run, i, nonces[i - 1], two[i - 1]).hex() for i in numbers],
        [_framed("settled", run, i, coin).hex() for i in numbers],
    ]
    sent = [data.hex() for data in to_clients]
    return {"to_clients": sent, "to_server": to_server, "coin": coin.hex(), "groups": groups}


def _refuse(
    data: bytes, true: bytes, public: list[bytes], terms: bytes, everything: bytes, committed: list[bytes]
) -> None:
    """Section 48.3: what the first client says of a message in place of a true one."""
    tag, run, *fields = messagepack.decode(data[21:])
    _, own_run, *own = messagepack.decode(true[21:])
    if tag == "groups/v1/invitation":
        require(fields == [terms], "ContradictoryRequest")
        return
    require(run == own_run, "UnexpectedMessage")
    said, signatures = fields
    require(len(said) == len(signatures) == len(public), "MalformedMessage")
    require(said[0] == own[0][0], "ContradictoryRequest")
    for number, (value, signature, key) in enumerate(zip(said, signatures, public, strict=True), start=1):
        if tag == "groups/v1/commitments":
            statement = frame("SIGN_GROUPS_COMMITMENT", run, terms, u32(number), value)
        else:
            opens = digest("GROUPS_COMMITMENT", run, terms, u32(number), value) == committed[number - 1]
            require(opens, "AuthenticationFailed")
            statement = frame("SIGN_GROUPS_NONCE", everything, u32(number), value)
        require(edwards.verifies(key, statement, signature), "AuthenticationFailed")


OPERATIONS = {"group_plan": _planned, "group_draw": _drawn}
