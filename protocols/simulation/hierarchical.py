"""A hierarchy with everyone on one machine: every session of every level, from the lowest to the highest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from secagg.errors import EncodingError, ParameterError, PeerError, SecAggError, ThresholdError
from secagg.randomness import SYSTEM, RandomBytes
from secagg.signatures import Identity

from ..core.machine import GivenInputs, Inputs, Participant, take_inputs
from ..core.participants import Participants
from ..hierarchy.levels import Hierarchy
from ..hierarchy.operator import Operator
from ..hierarchy.policy import Consent, policy_of
from ..hierarchy.total import Total
from ..hierarchy.tree import Tree
from ..masking.client import Client
from ..masking.policy import ClientPolicy
from ..masking.server import Server
from ..masking.transitions import ServerPhase
from .driver import Session

__all__ = ["HierarchyReport", "run_hierarchy"]

Sessions = Mapping[str, Session[Any, Any]]


@dataclass(frozen=True)
class HierarchyReport:
    """What a simulated hierarchy gave.

    Attributes:
        total: what the highest group has summed.
        sessions: of each level, from the lowest: name of a group -> its session.
        failures: name of a group -> why it has no sum.
    """

    total: Total
    sessions: tuple[Sessions, ...]
    failures: Mapping[str, SecAggError]


def run_hierarchy(
    hierarchy: Hierarchy,
    tree: Tree,
    inputs: Callable[[str], GivenInputs],
    drops: Mapping[ServerPhase, Collection[str]] | None = None,
    *,
    policy: ClientPolicy | None = None,
    consent: Consent | None = None,
    prepare: Callable[[str, Session[Any, Any]], None] = lambda name, session: None,
    on_progress: Callable[[str, int, int], None] = lambda level, done, total: None,
    random: RandomBytes = SYSTEM,
) -> HierarchyReport:
    """Run the sessions of all groups one after another, each level when the one below has ended.

    Args:
        hierarchy: the terms.
        tree: who is where.
        inputs: name -> a client's inputs.
        drops: phase -> the clients, and the groups with their operators, that vanish before they answer in it.
        policy: of every client and operator; None takes what is proposed.
        consent: of every client and operator; None takes any hierarchy.
        prepare: called with each group's name and session before it runs.
        on_progress: called with the level's name, how many of its groups have ended, and out of how many.
        random: where keys, masks and whatever else the parties draw come from.

    Raises:
        ParameterError: the tree has other levels than the hierarchy, or groups of other sizes.
        SecAggError: the highest group ended without a sum.
    """
    if len(tree.levels) != len(hierarchy.levels):
        raise ParameterError(f"the tree has {len(tree.levels)} levels, but the hierarchy {len(hierarchy.levels)}")
    run = _Run(hierarchy, policy or ClientPolicy.permissive(), consent or Consent(min_honest=0), random)
    run.meet(tree)
    failures: dict[str, SecAggError] = {}
    every: list[Sessions] = []
    for level, groups in enumerate(tree.levels):
        sessions: dict[str, Session[Any, Any]] = {}
        for name in groups:
            session = sessions[name] = run.session(level, name, inputs)
            prepare(name, session)
            silent = {str(phase): [one for one in gone if one in groups[name]] for phase, gone in (drops or {}).items()}
            try:
                session.run(silent)
            except (ThresholdError, PeerError, EncodingError) as error:
                if level + 1 == len(tree.levels):
                    raise error from next(iter(failures.values()), None)
                failures[name] = error
            on_progress(hierarchy.levels[level].name, len(sessions), len(groups))
        every.append(sessions)
    (top,) = every[-1].values()
    total = Total.of(hierarchy, len(tree.levels) - 1, top.coordinator.result)
    return HierarchyReport(total, tuple(every), failures)


@dataclass
class _Run:
    """The parties of one run, as they are made: who knows whom, and the operators of the groups so far."""

    hierarchy: Hierarchy
    policy: ClientPolicy
    consent: Consent
    random: RandomBytes
    identities: dict[str, Identity] = field(default_factory=dict)
    known: dict[str, Participants] = field(default_factory=dict)
    above: dict[str, str] = field(default_factory=dict)
    operators: dict[str, Operator] = field(default_factory=dict)

    def meet(self, tree: Tree) -> None:
        """Let the members of each group know each other, where the level's sessions ask for it."""
        for level, groups in zip(self.hierarchy.levels, tree.levels, strict=True):
            for name, members in groups.items():
                self.known[name] = members
                self.above |= dict.fromkeys(members, name)
                if level.adversary.needs_identities:
                    own = {member: Identity(self.random(32)) for member in members}
                    self.identities |= own
                    self.known[name] = Participants({member: each.public_bytes for member, each in own.items()})

    def session(self, level: int, name: str, inputs: Callable[[str], GivenInputs]) -> Session[Any, Any]:
        """Return a group's session, which has sent nothing yet."""
        members = self.known[name]
        if level + 1 == len(self.hierarchy.levels):
            server = Server(self.hierarchy.config(level, len(members)), members, random=self.random)
        else:
            peers = self.known[self.above[name]]
            self.operators[name] = Operator(
                self.hierarchy,
                level,
                members,
                policy=self.policy,
                consent=self.consent,
                identity=self.identities.get(name),
                peers=peers if peers.keys else None,
                random=self.random,
            )
            server = self.operators[name].group

        def join(member: str) -> Participant:
            if level:
                return self.operators[member]
            return Client(
                policy=policy_of(self.hierarchy, 0, self.policy, self.consent),
                identity=self.identities.get(member),
                participants=members if members.keys else None,
                random=self.random,
                threads=1,
            )

        def bound(member: str) -> GivenInputs:
            def give() -> Inputs:
                given = take_inputs(inputs(member))
                return self.hierarchy.inputs(given.values, given.weight)

            return give if level == 0 else Inputs({})

        return Session(server, join, bound)
