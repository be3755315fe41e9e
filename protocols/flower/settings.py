"""What the server states about all sessions of a run; a `RoundConfig` follows for each.

Weights (Flower's num-examples) are not multiplied into levels: a client scales its update by weight / max_weight
before encoding, so that the width of a lane does not depend on the weights (docs/decisions/0036).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os import PathLike, fspath

from secagg.errors import ParameterError

from ..core.numbers import real, whole
from ..core.threat_model import Adversary, ThreatModel
from ..groups import GroupPlan
from ..inputs.vectors import FloatVector, IntegerVector, VectorSpec
from ..masking.config import RoundConfig
from ..masking.topology import GraphKind
from ..privacy.plans import PrivatePlan
from .privacy import Privacy

UPDATE = "update of "
"""Before the hexadecimal digest of what the update is of and who takes part: names are hashed into the session."""
QUERY = "query of "
"""The same, before the digest of which query it is and who answers."""
COUNTERS = "counters"
METRICS = "metrics"
WEIGHT = "num-examples"
CLIPPED = "num-clipped"
"""How many coordinates a node has clipped before it scaled them; the round's own counts come after that, and are 0."""

MAX_CLIPPED_FRACTION = 0.01
"""Unless server and app say more: an update of which more is clipped is cut to pieces, or to its signs."""
COUNTER_LIMIT = 2.0**31
COUNTER_BITS = 46
METRIC_BITS = 44
_PLANNED = ("corrupt_fraction", "dropout_fraction", "adversary")
"""What a plan of groups says: who leaves these at their defaults gets the plan's."""
_MOST = sys.float_info.max
_LEAST_WHOLE = {"value_bits": 2, "max_weight": 1}
_MOST_REAL = {
    "clip": _MOST,
    "metric_limit": _MOST,
    "max_clipped_fraction": 1.0,
    "max_step": 1.0,
}


@dataclass(frozen=True)
class SessionSettings:
    """What the server states about every session, whatever it sums.

    Args:
        corrupt_fraction: the largest fraction of a session's nodes that colludes with the server.
        dropout_fraction: the largest fraction of them that vanishes or fails, in all exchanges together.
        adversary: what the server may do.
        graph: as in `RoundConfig`.
        min_survivors: fewer inputs than this are not summed; what dropout_fraction leaves of the nodes when 0.
        stage_timeout: seconds to wait for each exchange but training, which has the strategy's own timeout.
        roster: file of the nodes' public keys (`secagg keygen`), for sessions against a malicious server.

    Raises:
        ParameterError: a value is out of range.
    """

    corrupt_fraction: float = 0.1
    dropout_fraction: float = 0.3
    adversary: Adversary = Adversary.SEMI_MALICIOUS_SERVER
    graph: GraphKind | None = None
    min_survivors: int = 0
    stage_timeout: float = 120.0
    roster: str | PathLike[str] | None = None

    def __post_init__(self) -> None:
        """Take every field as the kind that it is meant to be; check what does not depend on the nodes."""
        for name, most in (("corrupt_fraction", 1.0), ("dropout_fraction", 1.0), ("stage_timeout", _MOST)):
            object.__setattr__(self, name, float(real(getattr(self, name), name, 0, most)))
        object.__setattr__(self, "min_survivors", whole(self.min_survivors, "min_survivors", 0))
        if self.graph is not None and self.graph not in tuple(GraphKind):
            raise ParameterError(f"graph is {self.graph!r}, but must be one of {', '.join(GraphKind)}, or None")
        if isinstance(self.roster, PathLike):
            object.__setattr__(self, "roster", fspath(self.roster))
        if not isinstance(self.roster, str | None):
            raise ParameterError(f"roster is {self.roster!r}, but must be the path of a file")
        if not self.stage_timeout > 0:
            raise ParameterError(f"stage_timeout is {self.stage_timeout!r}, but must be a positive number of seconds")
        adversary = ThreatModel(2, 0.0, 0.0, self.adversary).adversary
        object.__setattr__(self, "adversary", adversary)
        if adversary.needs_identities is not (self.roster is not None):
            remedy = "make one with `secagg keygen`, and pass roster=" if self.roster is None else "leave it out"
            raise ParameterError(
                f"a roster of public keys goes with {Adversary.MALICIOUS_SERVER}, and only with it: the adversary is "
                f"{adversary}, and roster is {'missing' if self.roster is None else 'given'}: {remedy}, or change the "
                "adversary"
            )
        # Fractions are checked by the code that sessions will use; a thousand nodes are a usual number.
        ThreatModel(1000, self.corrupt_fraction, self.dropout_fraction, adversary)

    def threat_model(self, num_clients: int) -> ThreatModel:
        """Return that of a session of so many nodes."""
        return ThreatModel(num_clients, self.corrupt_fraction, self.dropout_fraction, self.adversary)

    def config_of(self, num_clients: int, vectors: tuple[VectorSpec, ...], least: int = 0) -> RoundConfig:
        """Return the configuration of a session that sums these vectors, of so many nodes at least.

        Raises:
            ParameterError: no threshold or encoding serves these numbers; the text says what would.
        """
        return self._config_by(self.threat_model(num_clients), vectors, least)

    def _config_by(self, model: ThreatModel, vectors: tuple[VectorSpec, ...], least: int = 0) -> RoundConfig:
        stated = self.min_survivors or max(2, model.min_survivors)
        return RoundConfig(model, vectors, min_survivors=max(least, stated), graph=self.graph)


@dataclass(frozen=True)
class SecAggSettings(SessionSettings):
    """What the server states about every round of training of a run.

    Args:
        corrupt_fraction, dropout_fraction, adversary, graph, min_survivors: as in `SessionSettings`.
        clip: each coordinate of an update (the trained model minus the model sent) is clipped to [-clip, clip].
        value_bits: bits of one encoded coordinate, sign included.
        max_weight: the largest num-examples of a node; nodes with more refuse. Rounding grows with it: name the most
            that a node has, and no more.
        metrics: what the training function returns beside num-examples: names, or a mapping from names to the lengths
            of lists (0 for a single number).
        metric_limit: metrics of greater magnitude are refused by the node.
        max_clipped_fraction: a node refuses if a greater fraction of its coordinates would be clipped; nodes admit no
            more than their apps do.
        max_step: the greatest `step`, as a part of clip, with which a mean is given out.
        stage_timeout, roster: as in `SessionSettings`.
        privacy: makes the rounds private; clip, value_bits, max_weight and metric_limit then have no say.
        groups: have the nodes of the run's first round draw groups, each with a session of its own, against a malicious
            server; the server learns the groups' means. The plan says corrupt_fraction, dropout_fraction and adversary.

    Raises:
        ParameterError: a value is out of range, or contradicts the plan of the groups.
    """

    clip: float = 1.0
    value_bits: int = 22
    max_weight: int = 10_000
    metrics: Mapping[str, int] | Iterable[str] = ()
    metric_limit: float = 1e6
    max_clipped_fraction: float = MAX_CLIPPED_FRACTION
    max_step: float = 0.01
    privacy: Privacy | None = None
    groups: GroupPlan | None = None

    def __post_init__(self) -> None:
        """Check what does not depend on the nodes or the model, so that it is refused before a round."""
        self._take_plan()
        super().__post_init__()
        self._take_kinds()
        if not isinstance(self.privacy, Privacy | None):
            raise ParameterError(f"privacy is a {type(self.privacy).__name__}, but must be a Privacy(...) or None")
        if self.privacy is not None and self.metrics:
            raise ParameterError(
                f"metrics are {sorted(self.metric_lengths)}, but a private round sums none: they would tell what the "
                "noise hides; leave metrics out of SecAgg, and they stay on the nodes"
            )
        # Encodings are checked by the code that rounds will use.
        RoundConfig(ThreatModel(2, 0.0, 0.0), self._vectors(1, 1, ""))
        least = self.step(self.max_weight)
        if least > self.max_step * self.clip and self.privacy is None:
            raise ParameterError(
                f"value_bits is {self.value_bits}, so that rounding moves a mean by up to {least:.3g} whatever nodes "
                f"weigh, but max_step is {self.max_step:g} of clip ({self.clip:g}): raise value_bits"
            )

    def _take_plan(self) -> None:
        """Take from the plan of groups what it says of every session."""
        plan = self.groups
        if plan is None:
            return
        if not isinstance(plan, GroupPlan):
            raise ParameterError(f"groups is a {type(plan).__name__}, but must be a GroupPlan(...) or None")
        if plan.adversary is not Adversary.MALICIOUS_SERVER:
            raise ParameterError(
                f"groups is a plan against a {plan.adversary}, but nodes draw groups by identities: take "
                f"GroupPlan(..., adversary={str(Adversary.MALICIOUS_SERVER)!r}), and pass roster="
            )
        if self.privacy is not None:
            raise ParameterError(
                "groups and privacy do not go together here: each group would have to bear all of the noise"
            )
        if self.min_survivors:
            raise ParameterError(
                f"min_survivors is {self.min_survivors}, but follows from the plan of groups: leave it out"
            )
        for name in _PLANNED:
            planned, given = getattr(plan, name), getattr(self, name)
            if given not in (getattr(SessionSettings, name), planned):
                raise ParameterError(f"{name} is {given}, but the plan of groups says {planned}: leave it out")
            object.__setattr__(self, name, planned)

    def _take_kinds(self) -> None:
        """Take every field as the kind that it is meant to be."""
        object.__setattr__(self, "metrics", _metric_lengths(self.metrics))
        for name, least in _LEAST_WHOLE.items():
            object.__setattr__(self, name, whole(getattr(self, name), name, least))
        for name, most in _MOST_REAL.items():
            object.__setattr__(self, name, float(real(getattr(self, name), name, 0, most)))

    @property
    def metric_lengths(self) -> dict[str, int]:
        """Metric name -> length of its list, or 0 for a single number; in order."""
        return _metric_lengths(self.metrics)

    def step(self, mean_weight: float) -> float:
        """Return how far rounding may move a coordinate of a mean at most, for nodes of so many examples on average.

        One level of the encoding, clip / (2**(value_bits - 1) - 1), times max_weight / mean_weight; in the units of the
        model. Updates are divided by max_weight before they are rounded.
        """
        return self.clip / ((1 << (self.value_bits - 1)) - 1) * self.max_weight / mean_weight

    def round_config(self, num_clients: int, num_floats: int, num_counters: int, context: bytes) -> RoundConfig:
        """Return the configuration of one round.

        Args:
            num_clients: how many nodes are invited.
            num_floats: coordinates of the model's float arrays.
            num_counters: coordinates of its integer arrays.
            context: 32 bytes that say what the round is about; the session is bound to them.

        Raises:
            ParameterError: no threshold or encoding serves these numbers; the text says what would.
        """
        return self.config_of(num_clients, self._vectors(num_floats, num_counters, context.hex()))

    def group_config(self, model: ThreatModel, num_floats: int, num_counters: int, context: bytes) -> RoundConfig:
        """Return the configuration of a group's session, by its threat model; the rest as `round_config`."""
        return self._config_by(model, self._vectors(num_floats, num_counters, context.hex()))

    def private_plan(self, num_clients: int, num_floats: int, context: bytes) -> PrivatePlan | None:
        """Return the plan of one private round, arguments as for `round_config`; None where rounds are not private.

        Arrays of integers are not in it: they stay what they are.

        Raises:
            ParameterError: no noise serves these numbers.
        """
        if self.privacy is None:
            return None
        return self.privacy.plan(
            self.threat_model(num_clients), num_floats, UPDATE + context.hex(), self.min_survivors, self.graph
        )

    def _vectors(self, num_floats: int, num_counters: int, context: str) -> tuple[FloatVector | IntegerVector, ...]:
        metrics = sum(length or 1 for length in self.metric_lengths.values())
        return (
            FloatVector(UPDATE + context, num_floats, clip=self.clip, value_bits=self.value_bits),
            FloatVector(COUNTERS, num_counters, clip=COUNTER_LIMIT, value_bits=COUNTER_BITS),
            FloatVector(METRICS, metrics, clip=self.metric_limit, value_bits=METRIC_BITS),
            IntegerVector(WEIGHT, 1, max_value=self.max_weight),
            IntegerVector(CLIPPED, 1, max_value=max(1, num_floats)),
        )


def _metric_lengths(metrics: Mapping[str, int] | Iterable[str]) -> dict[str, int]:
    if isinstance(metrics, str):
        raise ParameterError(f"metrics is {metrics!r}, but must be a list of names: [{metrics!r}]")
    lengths = dict(metrics) if isinstance(metrics, Mapping) else dict.fromkeys(metrics, 0)
    for name, length in lengths.items():
        if not isinstance(name, str) or not name:
            raise ParameterError(f"a metric is named {name!r}, but a name must be a text")
        if isinstance(length, bool) or not isinstance(length, int) or length < 0:
            raise ParameterError(f"metric {name!r} has length {length!r}, but must be the length of a list, or 0")
    return lengths
