"""A node's side of the draw of groups: what it consents to, and its answers.

Between messages the draw lives in the node's own state (Context.state), out of reach of the app's functions. That it
has shown a nonce, and which group it is in, is on the disk before an answer leaves.
"""

from __future__ import annotations

import msgspec
from flwr.app import ConfigRecord, Context, Message

from secagg.errors import ContradictoryRequest, MalformedMessage, ParameterError, SecAggError, UnexpectedMessage
from secagg.randomness import RandomBytes
from secagg.signatures import Identity

from ..core import framing
from ..core.participants import Participants
from ..groups import DrawPhase, GroupClient, GroupPlan, Terms, member_policy
from ..groups.messages import Bytes32
from ..masking.policy import ClientPolicy
from .announcement import node_name, participants_of
from .envelope import RECORD, field
from .identities import Credentials
from .memory import DRAW
from .node_policy import MIN_GROUP, TRAIN
from .own_group import OwnGroup, data_of, group_in, remembered


class DrawTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """What the groups of a run are drawn by, as the server says; it goes with the invitation.

    Attributes:
        run_id: Flower's.
        plan: as `GroupPlan.written`.
        node_ids: of all nodes that are dealt to groups, ascending, eight bytes each.
        identities: theirs, in the same order.
    """

    run_id: int
    plan: bytes
    node_ids: bytes
    identities: tuple[Bytes32, ...]

    def terms(self) -> Terms:
        """Return the terms of the draw.

        Raises:
            MalformedMessage, ParameterError: the plan, the nodes and their identities do not go together.
        """
        participants = participants_of(self.node_ids, self.identities)
        return Terms(GroupPlan.read(self.plan, len(participants)), participants)


def answer_draw(
    message: Message,
    context: Context,
    credentials: Credentials,
    policy: ClientPolicy,
    least: int | None,
    random: RandomBytes,
) -> bytes:
    """Return the answer to a message of a draw.

    Args:
        message: with our record.
        context: of the node.
        credentials: of the node.
        policy: what it demands of rounds.
        least: the fewest members of a group that it joins; None if it joins none.
        random: where its nonce comes from.

    Raises:
        ParameterError, ContradictoryRequest: what the server plans is not what this node consents to, or it is in a
            group already.
        SecAggError: as `GroupClient.respond`.
    """
    if message.metadata.message_type.partition(".")[0] != TRAIN:
        raise UnexpectedMessage("groups are drawn in train messages alone")
    data, identity = field(message.content, "draw"), credentials.own()
    group = group_in(context.node_config, identity, context.run_id)
    if group is not None:
        if framing.fingerprint(data) == group.asked:  # what it said may have been lost on its way
            return group.answer
        raise ContradictoryRequest("asked to draw groups again in a run in which this node is in a group")
    begins = "terms" in message.content[RECORD]
    announced = field(message.content, "terms") if begins else _kept(context, "terms")
    stated: DrawTerms = framing.decode_body(announced, DrawTerms)
    if stated.run_id != context.run_id:
        raise UnexpectedMessage("a draw for another run")
    if begins:
        _check_consent(least)
    credentials.check(stated.identities, needed=True)
    terms = stated.terms()
    _check_place(terms.participants, context.node_id, identity)
    with remembered(context.node_config, identity) as draws:
        if begins:
            _check_plan(terms.plan, policy, least or 0)
            client = GroupClient(terms, identity, draws.past, data_of(context.run_id), random=random)
        else:
            client = GroupClient.load(terms, identity, draws.past, _kept(context, "dump"))
        try:
            answer = client.respond(data)
        except SecAggError:
            if client.ended:
                context.state.pop(DRAW, None)
            raise
        if client.phase is DrawPhase.SETTLED:
            asked, own = framing.fingerprint(data), node_name(context.node_id)
            draws.settle(OwnGroup.of(context.run_id, terms, client.groups, own, asked, answer))
        draws.save()
    if client.ended:
        context.state.pop(DRAW, None)
    else:
        context.state[DRAW] = ConfigRecord({"terms": announced, "dump": client.dump()})
    return answer


def _check_consent(least: int | None) -> None:
    if least is None:
        raise ParameterError(
            "this node joins no group, in which it would be hidden among few: its app, SecAggMod(min_group=...), or "
            f"its operator, {MIN_GROUP}, says how small one may be"
        )


def _check_place(participants: Participants, node_id: int, identity: Identity) -> None:
    number = participants.number(node_name(node_id))
    if participants.key(number) != identity.public_bytes:
        raise ParameterError("the server draws groups with another identity in this node's place")


def _check_plan(plan: GroupPlan, policy: ClientPolicy, least: int) -> None:
    """Return if a plan is one that a node consents to."""
    if policy.privacy is not None:
        raise ParameterError("this node demands privacy, and the sums of groups would have no noise")
    if plan.sizes[-1] < least:
        raise ParameterError(
            f"the server plans groups of {plan.sizes[-1]} nodes, but this node joins none of fewer than {least}: plan "
            "fewer groups"
        )
    if plan.corrupt_fraction < policy.corrupt_fraction or plan.num_corrupt < policy.corrupt_clients:
        raise ParameterError(
            f"the server plans for {plan.num_corrupt} corrupt nodes, a fraction of {plan.corrupt_fraction:g}, but this "
            f"node demands {policy.corrupt_clients}, and {policy.corrupt_fraction:g}: raise the plan's corrupt_fraction"
        )
    for size in set(plan.sizes):  # what every session would be refused for
        member_policy(size, plan.max_corrupt(size), plan.honest_minimum, policy).check_model(plan.model(size))


def _kept(context: Context, name: str) -> bytes:
    record = context.state.get(DRAW)
    if record is None:
        raise UnexpectedMessage("this node is in no draw: it was not invited, refused, or was started anew")
    kept = record.get(name) if isinstance(record, ConfigRecord) else None
    if not isinstance(kept, bytes):
        raise MalformedMessage("what this node has kept of a draw is damaged")
    return kept
