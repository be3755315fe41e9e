"""A server that tells two stories: it plays along until inputs are masked, and then tells each client what it likes.

It wants one client's input alone. It needs the client's self-mask seed, of which those give shares who believe that the
client survived, and the client's mask key, of which those give shares who believe that it dropped. Corrupt clients sign
anything and give all that they hold. The attack is real: from the shares that it has collected it reconstructs the
secrets, takes the masks off the victim's input and compares what is left with what the victim put in. A control runs
it where the specification promises nothing, and it must succeed there: so it is known to be able to.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import msgspec
import numpy as np

from secagg import masking, shamir
from secagg.errors import ContradictoryRequest, PeerError, SecAggError, UnexpectedMessage
from secagg.key_agreement import KeyPair
from secagg.residues import Residues, reduce_in_place, unpack
from secagg.signatures import Identity

from ...core.threat_model import Adversary
from ...masking import derivations
from ...masking.client.state import Masked
from ...masking.config import RoundConfig
from ...masking.messages import SECRET_BYTES, AdvertiseKeys, MaskedInput, SurvivorList, UnmaskingRequest
from ..outcome import Check, Found, Refuted, Trials, demand, demand_refusal
from ..stage import Stage, configuration

_VICTIM = 1
_SEMI, _MALICIOUS = Adversary.SEMI_MALICIOUS_SERVER, Adversary.MALICIOUS_SERVER


@dataclass
class _Loot:
    """What the server has of one client's secrets: shares of its self-mask seed and of its mask key, by holder."""

    seed: dict[int, bytes] = field(default_factory=dict)
    key: dict[int, bytes] = field(default_factory=dict)


class Storyteller:
    """The attack on one session."""

    def __init__(self, config: RoundConfig, rng: np.random.Generator, corrupt: Iterable[int] = ()) -> None:
        self.stage = Stage(config, rng)
        self.corrupt = frozenset(corrupt)
        self.stage.step()
        self.rosters = dict(self.stage.outgoing)
        self.stage.step()
        deliveries = dict(self.stage.outgoing)
        # The library's server adds inputs up and keeps none; this one keeps them.
        self.inputs: dict[int, MaskedInput] = {}
        for client_id, delivery in deliveries.items():
            values, weight = self.stage.inputs[client_id]
            masked = self.stage.clients[client_id].respond(delivery, values, weight=weight)
            if not isinstance(masked, MaskedInput):
                raise Refuted(f"a delivery was answered with a {type(masked).__name__}")
            self.inputs[client_id] = masked
        self.states = {client_id: self._masked(client_id) for client_id in self.stage.clients}
        self.loot = _Loot()
        self.answers = 0

    def _masked(self, client_id: int) -> Masked:
        state = self.stage.clients[client_id]._state
        if not isinstance(state, Masked):
            raise Refuted("a client that has sent its input holds something else than others' shares")
        return state

    @property
    def neighbours(self) -> list[int]:
        """Those with whom the victim shares masks, and who hold shares of its secrets."""
        return sorted(self.states[_VICTIM].peers)

    def tell(self, believers: Collection[int]) -> None:
        """Tell believers that everyone survived, and all others that the victim dropped; collect what they give."""
        session_id, everyone = self.stage.server.session_id, frozenset(self.stage.clients)
        told = {i: everyone if i in believers else everyone - {_VICTIM} for i in everyone}
        signed: dict[frozenset[int], dict[int, bytes]] = {told[i]: {} for i in everyone}
        if self.stage.config.threat_model.adversary.may_equivocate:
            for i in everyone - self.corrupt:
                story = SurvivorList(session_id, i, tuple(sorted(everyone)), tuple(sorted(told[i])))
                with suppress(SecAggError):
                    signed[told[i]][i] = self.stage.clients[i].confirm_survivors(story).signature
            for survivors, signatures in signed.items():
                for i in self.corrupt:
                    state = self.states[i]
                    statement = derivations.survivors_statement(session_id, state.roster_digest, everyone, survivors)
                    signatures[i] = Identity(state.confirmation_private_key).sign(statement)
        for i in sorted(everyone - self.corrupt):
            peers = set(self.states[i].peers)
            shown = {j: signature for j, signature in signed[told[i]].items() if j in peers & told[i]}
            dropped = tuple(sorted(peers - told[i]))
            request = UnmaskingRequest(session_id, i, len(told[i]), dropped, shown)
            with suppress(SecAggError):
                answer = self.stage.clients[i].unmask(request)
                self.answers += 1
                if _VICTIM in answer.self_mask_shares:
                    self.loot.seed[i] = answer.self_mask_shares[_VICTIM]
                if _VICTIM in answer.mask_key_shares:
                    self.loot.key[i] = answer.mask_key_shares[_VICTIM]
        for i in self.corrupt:
            if _VICTIM in self.states[i].shares:
                self.loot.seed[i], self.loot.key[i] = self.states[i].shares[_VICTIM]

    def stripped(self) -> bool:
        """Take the masks off the victim's input with what was collected; return whether its input is what is left."""
        threshold, session_id = self.stage.config.topology.threshold, self.stage.server.session_id
        if min(len(self.loot.seed), len(self.loot.key)) < threshold:
            return False
        seed, private_key = (
            shamir.reconstruct(shares, threshold=threshold, num_bytes=SECRET_BYTES)
            for shares in (self.loot.seed, self.loot.key)
        )
        key = KeyPair(private_key)
        public = {entry.sender: entry.mask_public_key for entry in self._entries()}
        orphans = []
        for peer in self.neighbours:
            ends = (_VICTIM, key.public_bytes), (peer, public[peer])
            orphans.append((_VICTIM, peer, derivations.pairwise_mask_seed(key.agree(public[peer]), session_id, *ends)))
        lanes: list[Residues] = [
            unpack(vector, lane.modulus_bits, lane.length)
            for vector, lane in zip(self.inputs[_VICTIM].vectors, self.stage.config.lanes, strict=True)
        ]
        own = derivations.self_mask_stream_seed(session_id, _VICTIM, seed)
        masking.unmask(lanes, self_mask_seeds=[own], orphaned_seeds=orphans)
        model = self.stage.config.lanes[0]
        plain = self.stage.levels({_VICTIM})[model.name]
        modulus = 1 << model.modulus_bits
        return bool(reduce_in_place(lanes[0], model.modulus_bits).tolist() == [level % modulus for level in plain])

    def _entries(self) -> tuple[AdvertiseKeys, ...]:
        return tuple(self.rosters[_VICTIM].entries)


def _two_stories(config: RoundConfig, trials: Trials) -> Found:
    answers = 0
    count = trials.share(8)
    for rng in trials.each(count):
        corrupt = _corrupt_neighbours(config, rng)
        teller = Storyteller(config, rng, corrupt)
        honest = [i for i in teller.neighbours if i not in corrupt]
        believers = set(rng.permutation(honest)[: int(rng.integers(0, len(honest) + 1))].tolist()) | {_VICTIM}
        strangers = set(teller.stage.clients) - set(honest)
        believers |= strangers if rng.random() < 0.5 else set()
        teller.tell(believers)
        answers += teller.answers
        both = min(len(teller.loot.seed), len(teller.loot.key))
        demand(not teller.stripped(), "a server that told two stories has an input", shares=both)
        demand(both < config.topology.threshold, "a server that told two stories has shares enough of both secrets")
    return Found(
        {
            "sessions": count,
            "corrupt clients": config.threat_model.max_corrupt,
            "shares of a secret that are needed": config.topology.threshold,
            "answers that were given": answers,
        }
    )


def _corrupt_neighbours(config: RoundConfig, rng: np.random.Generator) -> set[int]:
    others = np.arange(_VICTIM + 1, config.threat_model.num_clients + 1)
    return set(rng.permutation(others)[: config.threat_model.max_corrupt].tolist())


def _control(trials: Trials) -> Found:
    config = configuration(40, Adversary.CURIOUS_SERVER, dropout=0.33)
    demand(not config.topology.resists_equivocation, "the control's parameters resist the attack")
    for rng in trials.each(trials.share(25)):
        teller = Storyteller(config, rng)
        teller.tell(set(teller.neighbours[: config.topology.threshold]) | {_VICTIM})
        demand(teller.stripped(), "the attack fails where nothing stands against it: it shows nothing elsewhere")
    return Found({"sessions": trials.share(25), "inputs taken, to the bit": trials.share(25)})


def _one_answer(trials: Trials) -> Found:
    asked = 0
    for rng in trials.each(trials.share(10)):
        for adversary in Adversary:
            stage = Stage(configuration(8, adversary, complete_graph=True), rng)
            for _ in range(3):
                stage.step()
            client_id = int(rng.integers(2, 9))
            client, message = stage.clients[client_id], stage.outgoing[client_id]
            if isinstance(message, SurvivorList):
                other = msgspec.structs.replace(message, survivors=message.survivors[1:])
            else:
                other = msgspec.structs.replace(message, dropped=(_VICTIM,), num_survivors=7)
            client.respond(message)
            demand_refusal(partial(client.respond, other), UnexpectedMessage, "a second story")
            victim = msgspec.structs.replace(other, recipient=_VICTIM)
            demand_refusal(partial(stage.clients[_VICTIM].respond, victim), ContradictoryRequest, "one's own dropout")
            asked += 2
    return Found({"requests refused": asked})


def _another_key(trials: Trials) -> Found:
    for rng in trials.each(trials.share(10)):
        stage = Stage(configuration(8, _MALICIOUS), rng)
        stage.step()
        client_id = int(rng.integers(2, 9))
        roster = stage.outgoing[client_id]
        name = ("mask_public_key", "cipher_public_key", "confirmation_public_key")[int(rng.integers(3))]
        forged = Identity.generate().public_bytes if name.startswith("conf") else KeyPair.generate().public_bytes
        entries = tuple(
            msgspec.structs.replace(entry, **{name: forged}) if entry.sender == _VICTIM else entry
            for entry in roster.entries
        )
        changed = msgspec.structs.replace(roster, entries=entries)
        demand_refusal(partial(stage.clients[client_id].respond, changed), PeerError, "another key under a known name")
    return Found({"forged keys refused": trials.share(10)})


def _case(name: str, config: Callable[[], RoundConfig]) -> Check:
    return Check(
        "equivocation",
        name,
        "a server that tells two stories, with all the corrupt clients that are allowed for, gets nobody's input",
        lambda trials: _two_stories(config(), trials),
    )


CHECKS = (
    _case("sparse", lambda: configuration(24, _SEMI, corrupt=0.05, dropout=0.2)),
    _case("complete", lambda: configuration(12, _SEMI, corrupt=0.1, dropout=0.2, complete_graph=True)),
    _case("malicious", lambda: configuration(10, _MALICIOUS, corrupt=0.1, dropout=0.2)),
    Check("equivocation", "control", "the same attack succeeds where the specification promises nothing", _control),
    Check("equivocation", "one-answer", "a client answers once, and never for its own dropout", _one_answer),
    Check("equivocation", "another-key", "a server cannot put another key under a known client's name", _another_key),
)
