"""The client's side: a mod of Flower's ClientApp that lets nothing of a training leave but under masks.

Put it first: `ClientApp(mods=[secagg_mod, ...])`. Train messages are then the protocol's; the training function runs
once a round, when the masked input is due, and what it returns is masked. So are queries of statistics, which go to the
node's site, once the app has a handler for them: `app.query("statistics")(secagg_mod.query)`. Messages of other types
are refused, unless they are admitted in clear.
Between messages the session lives in the node's own state (Context.state), as a dump of secrets that no function of the
app gets to see; what has been answered once is not answered again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

import numpy as np
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp.typing import ClientAppCallable
from msgspec.structs import replace

from secagg.errors import (
    EncodingError,
    MalformedMessage,
    ParameterError,
    QueryRefused,
    SecAggError,
    UnexpectedMessage,
)
from secagg.randomness import SYSTEM, RandomBytes
from secagg.signatures import Identity

from ..core import framing
from ..core.machine import Values
from ..core.numbers import real, whole
from ..core.participants import Participants
from ..inputs.vectors import PrivateVector
from ..masking import wire
from ..masking.client import Client
from ..masking.config import RoundConfig
from ..masking.messages import Invitation
from ..masking.policy import ClientPolicy
from ..statistics import Site, read_query
from ..statistics.site_file import read_site
from . import answered
from .account import charge, check_left
from .agreed import agree, agreed_query, forget, take_totals
from .announcement import Announcement, node_name
from .content import Model, content_digest
from .contribution import contribution, private_update
from .draw_answers import answer_draw
from .envelope import RECORD, STATISTICS, field, record_of, refusal
from .identities import Credentials
from .logs import ERROR, WARNING, log
from .memory import Memory, hidden, recall, remember
from .node_policy import IN_CLEAR, SITE, TRAIN, admitted_in_clear, least_group, message_types, strictest_policy
from .numpy_client import is_of_numpy_client
from .own_group import OwnGroup, check_goes_on, group_of
from .settings import MAX_CLIPPED_FRACTION


@final
class SecAggMod:
    """A mod that answers train messages, and queries of statistics, by the protocol of secure aggregation.

    Args:
        policy: what this app demands of a round; the node's configuration and the run's can only add to it.
        identity: this node's key or its file, for malicious-server rounds; node_config's `secagg-identity` when None.
        roster: who this node trusts, with their public keys, or their file; node_config's `secagg-roster` when None.
        weighted_by: the one metric that updates may be weighted by. A server that chose another, which is zero for all
            nodes but one, would read that node's update.
        max_clipped_fraction: the server may have no more of an update clipped: a tiny clip leaves nothing but signs.
        in_clear: types of messages whose metrics may leave in clear, such as ["evaluate"]; none, where the node demands
            privacy. A server that sends many such messages can compute a node's exact gradient from its losses.
            node_config's `secagg-in-clear` when None; where both say something, what both admit.
        min_group: join groups of at least so many nodes, whose sums the server learns; none when None. node_config's
            `secagg-min-group` when None; where both say something, the greater.
        site: from a node's configuration (node_config) to the site that answers queries, or None where there is none:
            for simulations, and for tables that are no files. node_config's `secagg-site` goes before it.
        random: where a session's keys, seeds, rounding and noise come from.
        threads: for masking; as many as there are processors when None.

    Raises:
        ParameterError: in_clear names no type of message, or train; or another argument is not of its kind.

    Security: a train message outside the protocol is refused, since its answer would be in clear. Errors that go to
    the server name what was wrong, and no value; the text of exceptions in the training function stays here.
    """

    def __init__(
        self,
        *,
        policy: ClientPolicy | None = None,
        identity: Identity | str | Path | None = None,
        roster: Participants | str | Path | None = None,
        weighted_by: str = "num-examples",
        max_clipped_fraction: float = MAX_CLIPPED_FRACTION,
        in_clear: Iterable[str] | None = None,
        min_group: int | None = None,
        site: Callable[[Mapping[str, Any]], Site | None] | None = None,
        random: RandomBytes = SYSTEM,
        threads: int | None = None,
    ) -> None:
        if not isinstance(policy, ClientPolicy | None):
            raise ParameterError(f"policy is a {type(policy).__name__}, but must be a ClientPolicy(...)")
        if not isinstance(identity, Identity | str | Path | None):
            raise ParameterError(f"identity is a {type(identity).__name__}, but must be an Identity or its file's path")
        if not isinstance(roster, Participants | str | Path | None):
            raise ParameterError(f"roster is a {type(roster).__name__}, but must be Participants or their file's path")
        self._policy = policy or ClientPolicy()
        self._identity = identity
        self._roster = roster
        self._weighted_by = weighted_by
        self._max_clipped_fraction = real(max_clipped_fraction, "max_clipped_fraction", 0, 1)
        self._in_clear = None if in_clear is None else message_types(in_clear, "in_clear")
        self._min_group = None if min_group is None else whole(min_group, "min_group", 2)
        if site is not None and not callable(site):
            raise ParameterError(f"site is a {type(site).__name__}, but must be a function of a node's configuration")
        self._site = site
        self._random = random
        self._threads = None if threads is None else whole(threads, "threads", 1)

    def __call__(self, message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        """Answer a message; errors are answers, too."""
        kind = message.metadata.message_type.partition(".")[0]
        if message.metadata.message_type == STATISTICS:
            return self._guarded(message, context, call_next)
        if kind != TRAIN:
            return self._answer_in_clear(kind, message, context, call_next)
        if not message.has_content() or not isinstance(message.content.get(RECORD), ConfigRecord):
            return refusal(
                message,
                "this node trains under secure aggregation only, and the server asked it in clear: wrap the server's "
                "strategy, SecAgg(strategy), or take secagg_mod out of the app's mods",
            )
        return self._guarded(message, context, call_next)

    def query(self, message: Message, context: Context) -> Message:
        """Answer a message of a query's session: the handler to register, `app.query("statistics")(secagg_mod.query)`.

        The app's own mods see such messages first, this one among them.
        """
        return self._guarded(message, context, _nothing_is_trained)

    def _guarded(self, message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        """Answer a message of the protocol's, or say in our words why not."""
        try:
            return self._answer(message, context, call_next)
        except SecAggError as error:
            log(WARNING, "secagg: refused: %s: %s", type(error).__name__, error)
            return refusal(message, f"{type(error).__name__}: {error}")
        except Exception as error:  # Flower would send its text to the server
            log(ERROR, "secagg: unforeseen", exc_info=True)
            context.state.pop(RECORD, None)
            return refusal(message, f"{type(error).__name__}, which is unforeseen: the node's log tells more")

    def _answer_in_clear(self, kind: str, message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        """Answer a message that trains nothing, where this node admits it, and then with metrics alone."""
        try:
            admitted = admitted_in_clear(self._in_clear, context.node_config, context.run_config)
            private = strictest_policy(self._policy, context.node_config, context.run_config).privacy is not None
        except ParameterError as error:
            return refusal(message, f"ParameterError: {error}")
        if kind not in admitted or private:
            return refusal(
                message,
                f"this node answers no {kind} message in clear, "
                + (
                    "since it demands privacy"
                    if private
                    else f"unless its app, SecAggMod(in_clear=[{kind!r}]), or its operator, {IN_CLEAR}, says so"
                )
                + ": let training return such metrics, which are summed under masks",
            )
        try:
            with hidden(context):
                reply = call_next(message, context)
            failed = _error_of(reply, kind)
        except Exception as error:  # Flower would send its text to the server
            log(ERROR, "secagg: %s failed", kind, exc_info=True)
            failed = f"{kind} failed with {type(error).__name__}: the node's log tells more"
        if failed is not None:
            return refusal(message, failed)
        if len(reply.content.metric_records) != len(reply.content):
            return refusal(
                message, f"the app answers a {kind} message with arrays or a ConfigRecord: metrics alone leave"
            )
        return reply

    def _answer(self, message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        try:
            credentials = Credentials.of(self._identity, self._roster, context.node_config)
        except ParameterError as error:  # names files of this node's, which are nobody else's business
            log(ERROR, "secagg: %s", error)
            raise ParameterError("this node's identity or roster cannot be used: its log tells why") from None
        ours = _ours(message)
        if "query" in ours:
            return self._agree(message, context)
        if "ask" in ours:
            return _reply(message, **credentials.show(context.run_id, context.node_id, field(message.content, "ask")))
        if "draw" in ours:
            policy = strictest_policy(self._policy, context.node_config, context.run_config)
            least = least_group(self._min_group, context.node_config, context.run_config)
            return _reply(message, draw=answer_draw(message, context, credentials, policy, least, self._random))
        data = field(message.content, "message")
        if "announcement" in ours:
            announced = field(message.content, "announcement")
            announcement: Announcement = framing.decode_body(announced, Announcement)
            return self._begin(message, context, credentials, announcement, data)
        return self._go_on(message, context, credentials, data, call_next)

    def _begin(
        self, message: Message, context: Context, credentials: Credentials, announcement: Announcement, data: bytes
    ) -> Message:
        """Answer an invitation; an unfinished session that was before it is forgotten."""
        context.state.pop(RECORD, None)
        if announcement.run_id != context.run_id or announcement.message_type != message.metadata.message_type:
            raise UnexpectedMessage("an invitation to another run, or of another type of message")
        policy = strictest_policy(self._policy, context.node_config, context.run_config)
        group, query = None, None
        if announcement.message_type == STATISTICS:
            agreed, query = agreed_query(context)
            policy = agreed.stricter(policy)
        elif (group := group_of(announcement, context, credentials.identity)) is not None:
            policy = group.policy(policy)
        if (model := wire.proposed_model(data)) is not None:  # before a graph is derived for as many as it says
            policy.check_model(model)
        invitation: Invitation = wire.decode(data, Invitation, max_bytes=wire.MAX_INVITATION_BYTES)
        config = invitation.config
        if query is not None:
            announcement.check_query(config, query)
        else:
            self._check_training(announcement, config, group)
        if group is not None:
            announcement = replace(announcement, node_ids=group.node_ids, identities=group.identities)
        credentials.check(announcement.identities, needed=config.threat_model.adversary.needs_identities)
        participants = announcement.participants()
        if invitation.recipient != participants.number(node_name(context.node_id)):
            raise ParameterError(f"the server gives this node the number {invitation.recipient}, which is another's")
        if config.private and policy.privacy is not None:
            check_left(context.node_config, policy.privacy)
        client = Client(
            policy=policy,
            identity=credentials.identity,
            participants=participants,
            random=self._random,
            threads=self._threads,
        )
        answer = client.respond(data)
        if not announcement.identities:
            announcement = replace(announcement, node_ids=b"")  # checked, and long
        _keep(context, Memory(announcement, config, invitation.session_id, b""), client)
        return _reply(message, message=answer)

    def _check_training(self, announcement: Announcement, config: RoundConfig, group: OwnGroup | None) -> None:
        """Return if a round sums what this app trains."""
        announcement.check_config(config, None if group is None else len(group.identities))
        if not config.private and announcement.weighted_by != self._weighted_by:
            raise ParameterError(
                f"the server weighs updates by {announcement.weighted_by!r}, but this app by {self._weighted_by!r}: "
                "let both name the same, SecAggMod(weighted_by=...) on the node"
            )
        if not config.private and announcement.max_clipped_fraction > self._max_clipped_fraction:
            raise ParameterError(
                f"the server lets {announcement.max_clipped_fraction:g} of an update be clipped, but this app "
                f"{self._max_clipped_fraction:g}: let both name the same, SecAggMod(max_clipped_fraction=...) here"
            )

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
        if announcement.message_type != STATISTICS:
            check_goes_on(announcement, context, credentials.identity)
        client = Client.load(
            memory.dump,
            identity=credentials.identity,
            participants=announcement.participants() if announcement.identities else None,
            random=self._random,
            threads=self._threads,
        )
        phase = client.phase

        def totals() -> Values:
            del context.state[RECORD]  # if anything fails, the session is over
            return {memory.config.vectors[0].name: np.zeros(0, dtype=np.int64), **take_totals(context)}

        def train() -> Values:
            del context.state[RECORD]  # if training fails, the session is over
            demand = strictest_policy(self._policy, context.node_config, context.run_config).privacy
            if demand is not None:  # charged before it trains: whatever becomes of that, the round has taken place
                charge(context.node_config, memory.session_id, demand)
            with hidden(context):
                return self._train(message, context, memory, call_next)

        try:
            answer = client.respond(data, totals if announcement.message_type == STATISTICS else train)
            folder = answered.folder_of(context.node_config)
            answered.claim(folder, context.run_id, context.node_id, memory.session_id, phase)
        except SecAggError:
            if client.phase is not phase:
                context.state.pop(RECORD, None)
            raise
        _keep(context, memory, client)
        return _reply(message, message=answer)

    def _agree(self, message: Message, context: Context) -> Message:
        """Have the node's site answer a query, keep that until a session asks for it, and say so."""
        if message.metadata.message_type != STATISTICS:
            raise UnexpectedMessage("a query in a message of another type")
        forget(context)  # an answer to an earlier one that no session has asked for
        policy = strictest_policy(self._policy, context.node_config, context.run_config)
        if policy.privacy is not None:
            raise ParameterError("this node demands privacy, and the answer to this query would have no noise")
        query = read_query(field(message.content, "query"))
        with _kept_here():
            site = self._site_of(context)
        if site is None:
            raise ParameterError(f"this node has no site: its operator names one in its configuration, {SITE}")
        with _kept_here():
            inputs = site.answer(query)
        agree(context, query, site.policy.client_policy, inputs)
        return _reply(message, digest=query.digest)

    def _site_of(self, context: Context) -> Site | None:
        """Return the site that the node's operator names, or else this app; the run has no say."""
        if SITE in context.node_config:
            path = Path(str(context.node_config[SITE]))
            return read_site(path, log=lambda text: log(WARNING, "secagg: %s", text))
        return None if self._site is None else self._site(context.node_config)

    def _train(self, message: Message, context: Context, memory: Memory, call_next: ClientAppCallable) -> Values:
        content = RecordDict({name: record for name, record in message.content.items() if name != RECORD})
        if content_digest(content) != memory.announcement.content:
            raise MalformedMessage("the model or its configuration is not what the server announced to all nodes")
        arrays = list(content.array_records.values())
        if len(arrays) != 1:
            raise ParameterError(f"the server sends {len(arrays)} ArrayRecords, but the update of one is summed")
        sent = Model.of(arrays[0])
        kinds = ("floats",) if memory.config.private else ("floats", "integers")
        if any(sent.length(kind) != spec.length for kind, spec in zip(kinds, memory.config.vectors, strict=False)):
            raise ParameterError("the model that came has another number of coordinates than the round")
        message.content = content
        spec = memory.config.vectors[0]
        if isinstance(spec, PrivateVector):
            return {spec.name: private_update(spec, sent, lambda: _trained(message, context, call_next))}
        return contribution(memory.announcement, memory.config, sent, _trained(message, context, call_next))


secagg_mod = SecAggMod()
"""The mod with nothing demanded in code: what the node's and the run's configuration demand holds."""


def _ours(message: Message) -> ConfigRecord:
    """Return our record; raise MalformedMessage where there is none."""
    ours = message.content.get(RECORD) if message.has_content() else None
    if not isinstance(ours, ConfigRecord):
        raise MalformedMessage(f"the message has no record {RECORD!r}")
    return ours


@contextmanager
def _kept_here() -> Iterator[None]:
    """Keep from the server what names a site's files, but not the word with which it refuses."""
    try:
        yield
    except QueryRefused:
        raise
    except SecAggError as error:
        log(ERROR, "secagg: %s", error)
        raise ParameterError("this node's site cannot answer: its log tells why") from None


def _nothing_is_trained(message: Message, context: Context) -> Message:
    raise UnexpectedMessage("a query's session trains nothing")


def _trained(message: Message, context: Context, call_next: ClientAppCallable) -> RecordDict:
    """Return what the training function returns; raise EncodingError, whose text may leave the node, if it fails."""
    try:
        reply = call_next(message, context)
    except Exception as error:
        log(ERROR, "secagg: training failed", exc_info=True)
        if is_of_numpy_client(error):
            raise EncodingError(
                "this is an app of NumPyClient: register its fit, app.train()(by_fit(client_fn)), with by_fit from "
                "protocols.flower"
            ) from None
        if isinstance(error, EncodingError):  # whose texts name keys and shapes, and no value
            raise
        raise EncodingError(f"training failed with {type(error).__name__}: the node's log tells more") from None
    if (failed := _error_of(reply, "training")) is not None:
        raise EncodingError(failed)
    return reply.content


def _error_of(reply: Message, what: str) -> str | None:
    """Return what may leave of an error that the app answers, None where it answers none; its text is logged here."""
    if not reply.has_error():
        return None
    log(ERROR, "secagg: %s answered with an error: %s", what, reply.error.reason)
    return f"{what} answered with error {reply.error.code}: the node's log tells more"


def _keep(context: Context, memory: Memory, client: Client) -> None:
    """Keep the session until the next message, or nothing of one that is over."""
    # Nothing is sent twice in Flower: a masked model would lie in the node's memory for no use.
    client.delivered()
    if client.ended:
        context.state.pop(RECORD, None)
    else:
        remember(context, replace(memory, dump=client.dump()))


def _reply(message: Message, /, **fields: bytes) -> Message:
    return Message(RecordDict({RECORD: record_of(**fields)}), reply_to=message)
