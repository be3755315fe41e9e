"""Identities in rounds against a malicious server: nodes show theirs, the server and every node hold them to a roster.

A roster is a file of public keys. Who writes it decides who takes part.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flwr.app import RecordDict

from secagg.derivation import Label, frame
from secagg.errors import AuthenticationFailed, MalformedMessage, ParameterError, SecAggError
from secagg.randomness import SYSTEM, RandomBytes
from secagg.signatures import Identity, verify

from ..core.identity_files import read_identity, read_participants
from ..core.participants import Participants
from .envelope import RECORD, field, record_of
from .exchange import MOD_MISSING, Exchange

IDENTITY = "secagg-identity"
ROSTER = "secagg-roster"
"""Keys of a node's configuration: its own key's file, and that of the public keys that it trusts."""
IDENTITIES = "identities"
"""Name of the exchange in which nodes show theirs."""
NONCE_BYTES = 32


def identity_question(run_id: int, node_id: int, nonce: bytes) -> bytes:
    """Return what a node signs to show that an identity is its own: for this node, in this run, and at this time.

    Raises:
        MalformedMessage: the nonce is not of 32 bytes.
    """
    if len(nonce) != NONCE_BYTES:
        raise MalformedMessage(f"a question of {len(nonce)} bytes, not {NONCE_BYTES}")
    return frame(Label.SIGN_FLOWER_IDENTITY, run_id.to_bytes(8, "big"), node_id.to_bytes(8, "big"), nonce)


def ask_identities(
    exchange: Exchange, *, roster: Path, run_id: int, timeout: float, random: RandomBytes = SYSTEM
) -> dict[int, bytes]:
    """Return node -> public key of all nodes that show an identity of the roster; the others have failed.

    Raises:
        ParameterError: the roster cannot be read.
    """
    trusted, failures = set(read_participants(roster).keys.values()), exchange.report.failures
    nonce = random(NONCE_BYTES)
    questions = {node: RecordDict({RECORD: record_of(ask=nonce)}) for node in exchange.messages}
    answers = exchange.ask(IDENTITIES, questions, timeout)
    owners: dict[bytes, int] = {}
    for node, content in answers.items():
        try:
            identity = field(content, "identity")
            # Public keys are public: without proof, one node could take another's place.
            verify(identity, identity_question(run_id, node, nonce), field(content, "proof"))
        except AuthenticationFailed:
            failures.setdefault(node, "it cannot show that the identity it claims is its own")
            continue
        except SecAggError as error:
            failures.setdefault(node, f"{error}; {MOD_MISSING}")
            continue
        if identity not in trusted:
            failures.setdefault(node, "its identity is not in the server's roster")
        elif identity in owners:
            failures.setdefault(node, "its identity is another node's, too")
        else:
            owners[identity] = node
    exchange.report.add_silent(IDENTITIES, questions.keys() - answers.keys(), timeout)
    return {node: identity for identity, node in owners.items()}


@dataclass(frozen=True)
class Credentials:
    """A node's own key and the public keys that it trusts, where rounds are against malicious servers."""

    identity: Identity | None
    trusted: frozenset[bytes]

    @classmethod
    def of(
        cls, identity: Identity | str | Path | None, roster: Participants | str | Path | None, node: Mapping[str, Any]
    ) -> Credentials:
        """Read the files that the app's code names, or else the node's operator.

        Raises:
            ParameterError: a file cannot be read or is not what it should be.
        """
        identity = node.get(IDENTITY) if identity is None else identity
        roster = node.get(ROSTER) if roster is None else roster
        if identity is not None and not isinstance(identity, Identity):
            identity = read_identity(Path(str(identity)))
        if roster is None:
            return cls(identity, frozenset())
        known = roster if isinstance(roster, Participants) else read_participants(Path(str(roster)))
        return cls(identity, frozenset(known.keys.values()))

    def show(self, run_id: int, node_id: int, nonce: bytes) -> dict[str, bytes]:
        """Return the answer to the server's question who this node is."""
        own = self.own()
        return {"identity": own.public_bytes, "proof": own.sign(identity_question(run_id, node_id, nonce))}

    def check(self, announced: Collection[bytes], *, needed: bool) -> None:
        """Return if the announced identities are what a round needs: none, or keys that this node trusts.

        Raises:
            ParameterError: they are not, or this node lacks an identity or a roster.
        """
        if not needed:
            if announced:
                raise ParameterError("the server announces identities, but proposes a round that does not use them")
            return
        self.own()
        if not self.trusted:
            raise ParameterError(
                "this node trusts nobody: name the file of public keys in its configuration, secagg-roster"
            )
        strangers = len(set(announced) - self.trusted)
        if strangers:
            raise ParameterError(f"the server announces {strangers} identities that are not in this node's roster")

    def own(self) -> Identity:
        """Return the node's own key; raise ParameterError where it has none."""
        if self.identity is None:
            raise ParameterError(
                "this node has no identity: name its key file in the node's configuration, secagg-identity, and the "
                "trusted public keys in secagg-roster (`secagg keygen` makes both)"
            )
        return self.identity
