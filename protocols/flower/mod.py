"""The client's side: a mod of Flower's ClientApp that lets nothing of a training leave but under masks.

Put it first: `ClientApp(mods=[secagg_mod, ...])`. Train messages are then the protocol's; the training function runs
once a round, when the masked input is due, and what it returns is masked. Messages of other types pass untouched.
Between messages the session lives in the node's own state (Context.state), as a dump of secrets that no function of the
app gets to see; what has been answered once is not answered again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

import msgspec
import numpy.typing as npt
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp.typing import ClientAppCallable

from secagg.errors import EncodingError, MalformedMessage, ParameterError, SecAggError, UnexpectedMessage
from secagg.signatures import Identity

from ..masking import wire
from ..masking.client import Client
from ..masking.messages import Invitation, ShareDelivery, ToClient
from ..masking.policy import ClientPolicy
from ..masking.transitions import ClientPhase
from . import answered
from .announcement import Announcement
from .content import Model, content_digest
from .contribution import contribution
from .envelope import RECORD, decode, field, identity_question, refusal, seal
from .logs import ERROR, WARNING, log
from .memory import Memory, count_private_round, hidden, private_rounds, recall, remember
from .node_policy import PREFIX, Credentials, strictest_policy


@final
class SecAggMod:
    """A mod that answers train messages by the protocol of secure aggregation.

    Args:
        policy: what this app demands of a round; the node's configuration and the run's can only add to it.
        identity: this node's key or its file, for malicious-server rounds; node_config's `secagg-identity` when None.
        roster: file of the public keys that this node trusts; node_config's `secagg-roster` when None.
        weighted_by: the one metric that updates may be weighted by. A server that chose another, which is zero for all
            nodes but one, would read that node's update.
        threads: for masking; as many as there are processors when None.

    Security: a train message outside the protocol is refused, since its answer would be in clear. Errors that go to
    the server name what was wrong, and no value; the text of exceptions in the training function stays here.
    """

    def __init__(
        self,
        *,
        policy: ClientPolicy | None = None,
        identity: Identity | str | Path | None = None,
        roster: str | Path | None = None,
        weighted_by: str = "num-examples",
        threads: int | None = None,
    ) -> None:
        self._policy = policy or ClientPolicy()
        self._identity = identity
        self._roster = roster
        self._weighted_by = weighted_by
        self._threads = threads

    def __call__(self, message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        """Answer a message; errors are answers, too."""
        if message.metadata.message_type.partition(".")[0] != "train":
            with hidden(context):
                return call_next(message, context)
        if not message.has_content() or not isinstance(message.content.get(RECORD), ConfigRecord):
            return refusal(
                message,
                "this node trains under secure aggregation only, and the server asked it in clear: wrap the server's "
                "strategy, SecAgg(strategy), or take secagg_mod out of the app's mods",
            )
        try:
            return self._answer(message, context, call_next)
        except SecAggError as error:
            log(WARNING, "secagg: refused: %s: %s", type(error).__name__, error)
            return refusal(message, f"{type(error).__name__}: {error}")
        except Exception as error:  # Flower would send its text to the server
            log(ERROR, "secagg: unforeseen", exc_info=True)
            context.state.pop(RECORD, None)
            return refusal(message, f"{type(error).__name__}, which is unforeseen: the node's log tells more")

    def _answer(self, message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        try:
            credentials = Credentials.of(self._identity, self._roster, context.node_config)
        except ParameterError as error:  # names files of this node's, which are nobody else's business
            log(ERROR, "secagg: %s", error)
            raise ParameterError("this node's identity or roster cannot be used: its log tells why") from None
        record = message.content.config_records[RECORD]
        if "ask" in record:
            identity = _own_identity(credentials)
            question = identity_question(context.run_id, context.node_id, field(message.content, "ask"))
            return _reply(message, identity=identity.public_bytes, proof=identity.sign(question))
        data = field(message.content, "message")
        if "announcement" in record:
            announcement = decode(field(message.content, "announcement"), Announcement)
            return self._begin(message, context, credentials, announcement, data)
        return self._go_on(message, context, credentials, data, call_next)

    def _begin(
        self, message: Message, context: Context, credentials: Credentials, announcement: Announcement, data: bytes
    ) -> Message:
        """Answer an invitation; an unfinished session that was before it is forgotten."""
        context.state.pop(RECORD, None)
        invitation: Invitation = wire.decode(data, Invitation, max_bytes=wire.MAX_INVITATION_BYTES)
        if announcement.run_id != context.run_id or announcement.message_type != message.metadata.message_type:
            raise UnexpectedMessage("an invitation to another run, or of another type of message")
        announcement.check_config(invitation.config)
        if not invitation.config.private and announcement.weighted_by != self._weighted_by:
            raise ParameterError(
                f"the server weighs updates by {announcement.weighted_by!r}, but this app by {self._weighted_by!r}: "
                "let both name the same, SecAggMod(weighted_by=...) on the node"
            )
        if invitation.recipient != announcement.client_id(context.node_id):
            raise ParameterError(f"the server gives this node the number {invitation.recipient}, which is another's")
        policy = strictest_policy(self._policy, context.node_config, context.run_config)
        taken = private_rounds(context)
        if policy.privacy is not None and taken >= policy.privacy.rounds:
            raise ParameterError(
                f"this node has taken part in {taken} private rounds of this run, and its demand on privacy is for "
                f"{policy.privacy.rounds}: raise {PREFIX}rounds, which takes more noise in each"
            )
        client = Client(
            invitation.recipient,
            policy=policy,
            identity=credentials.identity,
            known_identities=_known_identities(announcement, credentials, invitation),
            threads=self._threads,
        )
        response = wire.encode(client.advertise_keys(invitation))
        announcement = msgspec.structs.replace(announcement, node_ids=b"")  # checked, and long
        remember(context, Memory(announcement, invitation.config, invitation.session_id, client.dump()))
        return _reply(message, message=response)

    def _go_on(
        self,
        message: Message,
        context: Context,
        credentials: Credentials,
        data: bytes,
        call_next: ClientAppCallable,
    ) -> Message:
        """Answer any later message of the session, if it is the one that is due."""
        memory = recall(context)
        if memory is None or memory.announcement.run_id != context.run_id:
            raise UnexpectedMessage("this node is in no session: it was not invited, refused, or was started anew")
        announcement = memory.announcement
        if message.metadata.message_type != announcement.message_type:
            raise UnexpectedMessage("another type of message than that of the session: its training is another one")
        client = Client.load(
            memory.dump,
            identity=credentials.identity,
            known_identities=dict(enumerate(announcement.identities, start=1)),
            threads=self._threads,
        )
        values = None
        if client.phase is ClientPhase.SHARED:
            delivery: ToClient = wire.decode(data, ToClient, max_bytes=wire.max_request_bytes(memory.config))
            if not isinstance(delivery, ShareDelivery):
                raise UnexpectedMessage("this node has shared its keys and expects shares")
            if delivery.session_id != memory.session_id or delivery.recipient != client.client_id:
                raise UnexpectedMessage("shares of another session or for another node")
            # If training fails, the session is over.
            del context.state[RECORD]
            with hidden(context):
                values = self._train(message, context, memory, call_next)
        phase = client.phase
        try:
            response = client.respond_bytes(data, values)
            folder = answered.folder_of(context.node_config)
            answered.claim(folder, context.run_id, context.node_id, memory.session_id, phase)
        except SecAggError:
            if client.phase is not phase:
                context.state.pop(RECORD, None)
            raise
        if values is not None and memory.config.private:
            count_private_round(context)
        if client.phase is ClientPhase.COMPLETED:
            context.state.pop(RECORD, None)
        else:
            remember(context, msgspec.structs.replace(memory, dump=client.dump()))
        return _reply(message, message=response)

    def _train(
        self, message: Message, context: Context, memory: Memory, call_next: ClientAppCallable
    ) -> dict[str, npt.NDArray[Any]]:
        content = RecordDict({name: record for name, record in message.content.items() if name != RECORD})
        if content_digest(content) != memory.announcement.content:
            raise MalformedMessage("the model or its configuration is not what the server announced to all nodes")
        arrays = list(content.array_records.values())
        if len(arrays) != 1:
            raise ParameterError(f"the server sends {len(arrays)} ArrayRecords, but the update of one is summed")
        sent = Model.of(arrays[0])
        vectors = memory.config.vectors
        lengths = [vectors[0].length, 0 if memory.config.private else vectors[1].length]
        if [sent.length("floats"), sent.length("integers")] != lengths:
            raise ParameterError("the model that came has another number of coordinates than the round")
        message.content = content
        try:
            reply = call_next(message, context)
        except Exception as error:
            log(ERROR, "secagg: training failed", exc_info=True)
            raise EncodingError(f"training failed with {type(error).__name__}: the node's log tells more") from None
        if reply.has_error():
            log(ERROR, "secagg: training answered with an error: %s", reply.error.reason)
            raise EncodingError(f"training answered with error {reply.error.code}: the node's log tells more")
        return contribution(memory.announcement, memory.config, sent, reply.content)


secagg_mod = SecAggMod()
"""The mod with nothing demanded in code: what the node's and the run's configuration demand holds."""


def _own_identity(credentials: Credentials) -> Identity:
    if credentials.identity is None:
        raise ParameterError(
            "this node has no identity: name its key file in the node's configuration, secagg-identity, and the "
            "trusted public keys in secagg-roster (`secagg keygen` makes both)"
        )
    return credentials.identity


def _known_identities(announcement: Announcement, credentials: Credentials, invitation: Invitation) -> dict[int, bytes]:
    """In malicious-server rounds every announced key must be one that this node trusts, and each be there once."""
    if not invitation.config.threat_model.adversary.needs_identities:
        if announcement.identities:
            raise ParameterError("the server announces identities, but proposes a round that does not use them")
        return {}
    own = _own_identity(credentials).public_bytes
    announced = announcement.identities
    if len(announced) != invitation.config.threat_model.num_clients or len(set(announced)) != len(announced):
        raise ParameterError("the server must announce one identity for each node, all distinct")
    if not credentials.trusted:
        raise ParameterError(
            "this node trusts nobody: name the file of public keys in its configuration, secagg-roster"
        )
    strangers = len(set(announced) - credentials.trusted)
    if strangers:
        raise ParameterError(f"the server announces {strangers} identities that are not in this node's roster")
    if announced[invitation.recipient - 1] != own:
        raise ParameterError("the server announces another identity for this node than its own")
    return dict(enumerate(announced, start=1))


def _reply(message: Message, /, **fields: bytes) -> Message:
    return Message(RecordDict({RECORD: seal(**fields)}), reply_to=message)
