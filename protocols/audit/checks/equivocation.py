"""A server that equivocates: it follows the protocol until inputs are masked, then lies to each client as it likes.

It wants one client's input. It needs two secrets of that client: the self-mask seed, of which those give shares who
believe that the client survived, and the mask key, of which those give shares who believe that it dropped. Corrupt
clients sign anything and give all that they hold. The attack is carried out: the server reconstructs the secrets from
the shares that it has collected, takes the masks off the victim's input, and compares the rest with the true input. A
control runs the attack where the specification promises nothing; it must succeed there, which shows that it can.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial

import msgspec
import numpy as np

from secagg import masking, shamir
from secagg.errors import ContradictoryRequest, PeerError, SecAggError, UnexpectedMessage
from secagg.key_agreement import KeyPair
from secagg.residues import reduce_in_place, unpack
from secagg.signatures import Identity

from ...core.threat_model import Adversary
from ...masking import derivations, wire
from ...masking.client.state import Masked
from ...masking.config import RoundConfig
from ...masking.messages import SECRET_BYTES, SHARE_BYTES, SurvivorList, ToClient, UnmaskingRequest, records
from ...masking.transitions import ServerPhase
from ...simulation.driver import Crossing
from ..outcome import Check, Found, Refuted, Trials, demand, demand_refusal
from ..stage import Stage, configuration, read

_VICTIM = 1
_SEMI, _MALICIOUS = Adversary.SEMI_MALICIOUS_SERVER, Adversary.MALICIOUS_SERVER


class Equivocator:
    """The attack on one session. Clients are numbers here, as they are on the wire.

    Attributes:
        seed_shares: of the victim's self-mask seed, by holder.
        key_shares: of the victim's mask key, by holder.
        answers: how many clients have given shares.
    """

    def __init__(self, config: RoundConfig, rng: np.random.Generator, corrupt: Collection[int] = ()) -> None:
        self.stage = Stage(config, rng, self._keep)
        self.corrupt = frozenset(corrupt)
        self.everyone = frozenset(range(1, config.num_clients + 1))
        self.said: dict[str, bytes] = {}  # the library's server adds inputs up and keeps none; this one keeps them
        self.stage.step()
        self.rosters = self.stage.server.outgoing()
        while self.stage.server.phase is not ServerPhase.MASKED_INPUT:
            self.stage.step()
        self.stage.collect()
        self.states = {i: self._masked(i) for i in self.everyone}
        self.seed_shares: dict[int, bytes] = {}
        self.key_shares: dict[int, bytes] = {}
        self.answers = 0

    def _keep(self, crossing: Crossing) -> bytes:
        if crossing.to_coordinator:
            self.said[crossing.name] = crossing.data
        return crossing.data

    def _masked(self, client: int) -> Masked:
        state = self.stage.participants[self.name(client)]._memory.state
        if not isinstance(state, Masked):
            raise Refuted("a client that has sent its input holds something else than others' shares")
        return state

    def name(self, client: int) -> str:
        """Return the name of a number."""
        return self.stage.everyone.name(client)

    @property
    def neighbours(self) -> list[int]:
        """Those with whom the victim shares masks, and who hold shares of its secrets."""
        return sorted(self.states[_VICTIM].peers)

    def _ask(self, client: int, message: SurvivorList | UnmaskingRequest) -> bytes:
        return self.stage.participants[self.name(client)].respond(wire.encode(message))

    def lie(self, believers: Collection[int]) -> None:
        """Tell believers that everyone survived, and all others that the victim dropped; collect what they give."""
        session_id, everyone = self.stage.server.session_id, self.everyone
        told = {i: everyone if i in believers else everyone - {_VICTIM} for i in everyone}
        signed: dict[frozenset[int], dict[int, bytes]] = {told[i]: {} for i in everyone}
        if self.stage.config.threat_model.adversary.may_equivocate:
            for i in everyone - self.corrupt:
                survivors = SurvivorList(session_id, i, tuple(sorted(everyone)), tuple(sorted(told[i])))
                with suppress(SecAggError):
                    signed[told[i]][i] = read(self._ask(i, survivors)).signature
            for listed, signatures in signed.items():
                for i in self.corrupt:
                    state = self.states[i]
                    statement = derivations.survivors_statement(session_id, state.everyone, everyone, listed)
                    signatures[i] = Identity(state.confirmation_private_key).sign(statement)
        for i in sorted(everyone - self.corrupt):
            peers = set(self.states[i].peers)
            shown = {j: signature for j, signature in signed[told[i]].items() if j in peers & told[i]}
            dropped = tuple(sorted(peers - told[i]))
            with suppress(SecAggError):
                answer = read(self._ask(i, UnmaskingRequest(session_id, i, len(told[i]), dropped, shown)))
                self.answers += 1
                owners = sorted({*self.states[i].shares, *([i] if self.states[i].own_share else [])})
                given = dict(zip(owners, records(answer.shares, SHARE_BYTES), strict=True)).get(_VICTIM)
                self._collect(i, *((None, given) if _VICTIM in dropped else (given, None)))
        for i in self.corrupt:
            self._collect(i, *self.states[i].shares.get(_VICTIM, (None, None)))

    def _collect(self, holder: int, seed_share: bytes | None, key_share: bytes | None) -> None:
        if seed_share is not None:
            self.seed_shares[holder] = seed_share
        if key_share is not None:
            self.key_shares[holder] = key_share

    def stripped(self) -> bool:
        """Take the masks off the victim's input with what was collected; return whether the true input is left."""
        threshold, session_id = self.stage.config.topology.threshold, self.stage.server.session_id
        if min(len(self.seed_shares), len(self.key_shares)) < threshold:
            return False
        seed, private_key = (
            shamir.reconstruct(shares, threshold=threshold, num_bytes=SECRET_BYTES)
            for shares in (self.seed_shares, self.key_shares)
        )
        key, victim = KeyPair(private_key), self.name(_VICTIM)
        public = {entry.sender: entry.mask_public_key for entry in read(self.rosters[victim], ToClient).entries}
        orphans = []
        for peer in self.neighbours:
            ends = (_VICTIM, key.public_bytes), (peer, public[peer])
            orphans.append((_VICTIM, peer, derivations.pairwise_mask_seed(key.agree(public[peer]), session_id, *ends)))
        codecs = self.stage.config.codecs
        vectors = [
            unpack(vector, codec.modulus_bits, codec.length)
            for vector, codec in zip(read(self.said[victim]).vectors, codecs, strict=True)
        ]
        own = derivations.self_mask_stream_seed(session_id, _VICTIM, seed)
        masking.unmask(vectors, self_mask_seeds=[own], orphaned_seeds=orphans)
        plain = [level % (1 << codecs[0].modulus_bits) for level in self.stage.levels([victim])[codecs[0].name]]
        return bool(reduce_in_place(vectors[0], codecs[0].modulus_bits).tolist() == plain)


def _equivocation(config: RoundConfig, trials: Trials) -> Found:
    answers, count = 0, trials.share(8)
    for rng in trials.each(count):
        others = np.arange(_VICTIM + 1, config.num_clients + 1)
        corrupt = set(rng.permutation(others)[: config.threat_model.max_corrupt].tolist())
        attack = Equivocator(config, rng, corrupt)
        honest = [i for i in attack.neighbours if i not in corrupt]
        believers = set(rng.permutation(honest)[: int(rng.integers(0, len(honest) + 1))].tolist()) | {_VICTIM}
        believers |= attack.everyone - set(honest) if rng.random() < 0.5 else set()
        attack.lie(believers)
        answers += attack.answers
        both = min(len(attack.seed_shares), len(attack.key_shares))
        demand(not attack.stripped(), "a server that equivocates has an input", shares=both)
        demand(both < config.topology.threshold, "a server that equivocates has enough shares of both secrets")
    return Found(
        {
            "sessions": count,
            "corrupt clients": config.threat_model.max_corrupt,
            "shares of a secret that are needed": config.topology.threshold,
            "answers that were given": answers,
        }
    )


def _control(trials: Trials) -> Found:
    config = configuration(40, Adversary.CURIOUS_SERVER, dropout=0.33)
    demand(not config.topology.resists_equivocation, "the control's parameters resist the attack")
    for rng in trials.each(trials.share(25)):
        attack = Equivocator(config, rng)
        attack.lie({*attack.neighbours[: config.topology.threshold], _VICTIM})
        demand(attack.stripped(), "the attack fails where nothing stands against it: it shows nothing elsewhere")
    return Found({"sessions": trials.share(25), "inputs taken, to the bit": trials.share(25)})


def _one_answer(trials: Trials) -> Found:
    asked = 0
    for rng in trials.each(trials.share(10)):
        for adversary in Adversary:
            stage = Stage(configuration(8, adversary, complete_graph=True), rng)
            while stage.server.phase not in (ServerPhase.CONSISTENCY_CHECK, ServerPhase.UNMASKING):
                stage.step()
            name, victim = stage.everyone.name(int(rng.integers(2, 9))), stage.everyone.name(_VICTIM)
            data = stage.server.outgoing()[name]
            message = read(data, ToClient)
            if isinstance(message, SurvivorList):
                other = msgspec.structs.replace(message, survivors=message.survivors[1:])
            else:
                other = msgspec.structs.replace(message, dropped=(_VICTIM,), num_survivors=7)
            client = stage.participants[name]
            demand(client.respond(data) == client.respond(data), "the same request has two answers")
            demand_refusal(
                partial(client.respond, wire.encode(other)), UnexpectedMessage, "a second request that differs"
            )
            own = wire.encode(msgspec.structs.replace(other, recipient=_VICTIM))
            demand_refusal(
                partial(stage.participants[victim].respond, own), ContradictoryRequest, "a client's own dropout"
            )
            asked += 2
    return Found({"requests refused": asked})


def _another_key(trials: Trials) -> Found:
    for rng in trials.each(trials.share(10)):
        stage = Stage(configuration(8, _MALICIOUS), rng)
        stage.step()
        name = stage.everyone.name(int(rng.integers(2, 9)))
        roster = read(stage.server.outgoing()[name], ToClient)
        key = ("mask_public_key", "cipher_public_key", "confirmation_public_key")[int(rng.integers(3))]
        of = Identity if key.startswith("conf") else KeyPair
        forged = of.generate(random=rng.bytes).public_bytes
        entries = tuple(
            msgspec.structs.replace(entry, **{key: forged}) if entry.sender == _VICTIM else entry
            for entry in roster.entries
        )
        everyone = derivations.roster_digest({entry.sender: derivations.entry_digest(entry) for entry in entries})
        changed = wire.encode(msgspec.structs.replace(roster, everyone=everyone, entries=entries))
        demand_refusal(partial(stage.participants[name].respond, changed), PeerError, "another key under a known name")
    return Found({"forged keys refused": trials.share(10)})


def _case(name: str, config: Callable[[], RoundConfig]) -> Check:
    return Check(
        "equivocation",
        name,
        "a server that equivocates, with as many corrupt clients as are assumed, gets nobody's input",
        lambda trials: _equivocation(config(), trials),
    )


CHECKS = (
    _case("sparse", lambda: configuration(24, _SEMI, corrupt=0.05, dropout=0.2)),
    _case("complete", lambda: configuration(12, _SEMI, corrupt=0.1, dropout=0.2, complete_graph=True)),
    _case("malicious", lambda: configuration(10, _MALICIOUS, corrupt=0.1, dropout=0.2)),
    Check("equivocation", "control", "the same attack succeeds where the specification promises nothing", _control),
    Check("equivocation", "one-answer", "a client answers once, and never for its own dropout", _one_answer),
    Check("equivocation", "another-key", "a server cannot put another key under a known client's name", _another_key),
)
