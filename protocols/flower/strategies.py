"""Which strategies secure aggregation serves, and the wrapper that puts it around one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn, final

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy import Result, Strategy

from secagg.errors import ParameterError, StateError

from ..groups import GroupPlan
from .comparing import compares, fewest_results
from .grid import SecAggGrid
from .grouped import RunGroups
from .report import RoundReport
from .settings import SecAggSettings

_INDIVIDUAL = (
    "it compares the nodes' updates with one another, and secure aggregation shows it their mean alone; take FedAvg, "
    "where clip bounds what one node can move, or have it compare the means of groups, groups=GroupPlan(...)"
)
_NO_MEAN: Mapping[str, str] = {
    "Krum": _INDIVIDUAL,
    "MultiKrum": _INDIVIDUAL,
    "Bulyan": _INDIVIDUAL,
    "FedMedian": _INDIVIDUAL,
    "FedTrimmedAvg": _INDIVIDUAL,
    "QFedAvg": "it weighs each node's update by that node's loss, and sees neither",
    "FedXgbBagging": "it collects trees, which have no mean",
    "FedXgbCyclic": "it trains on one node at a time, whose update a sum cannot hide",
    "DifferentialPrivacyServerSideFixedClipping": "it clips each node's update at the server, which sees none; take "
    "DifferentialPrivacyClientSideFixedClipping",
    "DifferentialPrivacyServerSideAdaptiveClipping": "it clips each node's update at the server, which sees none; take "
    "DifferentialPrivacyClientSideFixedClipping",
    "DifferentialPrivacyClientSideAdaptiveClipping": "it reads each node's bit in clear; take "
    "DifferentialPrivacyClientSideFixedClipping",
}
_OLDER = "flwr.server.strategy"
_MEAN = ("FedAvg", "FedAvgM", "FedAdagrad", "FedAdam", "FedYogi", "FedProx")
_WRAPPERS = ("DifferentialPrivacyClientSideFixedClipping",)


def check_strategy(strategy: Any, *, only_needs_mean: bool = False, groups: GroupPlan | None = None) -> None:
    """Return if a strategy works with the mean alone, or with the means of groups where these are planned.

    Args:
        strategy: Flower's, or a subclass of it.
        only_needs_mean: the caller says so of a strategy, or of functions in it, that this one does not know.
        groups: the plan of groups whose means it gets.

    Raises:
        ParameterError: it does not, with the reason, or it is not known to; or there are too few groups for it.
    """
    if not isinstance(strategy, Strategy):
        kind = strategy if isinstance(strategy, type) else type(strategy)
        if any(base.__module__.startswith(_OLDER) for base in kind.__mro__):
            raise ParameterError(
                f"{kind.__name__} is of flwr.server.strategy, which is older than the Message API: take "
                f"flwr.serverapp.strategy.{kind.__name__}, and by_fit for an app of NumPyClient"
            )
        instance = ", the class: make one of it" if kind is strategy else ""
        raise ParameterError(
            f"SecAgg takes one of Flower's strategies, such as FedAvg(), but was given {kind.__name__}{instance}"
        )
    names = [kind.__name__ for kind in type(strategy).__mro__ if kind.__module__.startswith("flwr.")]
    if groups is not None and fewest_results(strategy, groups) is not None:
        return
    for name in names:
        if name in _NO_MEAN:
            raise ParameterError(f"{type(strategy).__name__} does not work under secure aggregation: {_NO_MEAN[name]}")
    if getattr(strategy, "accountant", None) is not None:
        raise ParameterError(
            "the wrapper's accountant needs equal weights, which it can no longer see: account without it, or take "
            "secagg's own differential privacy"
        )
    inner = getattr(strategy, "strategy", None)
    if any(isinstance(strategy, wrapper) for wrapper in _of_flower(_WRAPPERS)):
        if groups is not None:
            raise ParameterError(
                f"the noise of {type(strategy).__name__} is for one mean of all nodes: leave groups out"
            )
        check_strategy(inner, only_needs_mean=only_needs_mean)
        return
    if only_needs_mean:
        return
    if getattr(type(strategy), "aggregate_train", None) not in {kind.aggregate_train for kind in _of_flower(_MEAN)}:
        raise ParameterError(
            f"{type(strategy).__name__} is not known to need no more than the mean of the nodes' updates: if it does "
            "not, say SecAgg(strategy, only_needs_mean=True)"
        )
    usual = flower.FedAvg().train_metrics_aggr_fn
    if getattr(strategy, "train_metrics_aggr_fn", usual) is not usual:
        raise ParameterError(
            "train_metrics_aggr_fn will see one record, the weighted mean of the nodes' metrics: leave it out, or say "
            "SecAgg(strategy, only_needs_mean=True) if that serves it"
        )


def _of_flower(names: Iterable[str]) -> list[type[Any]]:
    """The classes of these names that the installed Flower has."""
    return [getattr(flower, name) for name in names if hasattr(flower, name)]


@final
class SecAgg(Strategy):
    """A strategy under secure aggregation: `SecAgg(FedAvg())` starts as `FedAvg()` does.

    Args:
        strategy: any that works with the mean of the nodes' updates.
        settings: of all rounds; or else its fields as keyword arguments.
        only_needs_mean: you say that a strategy of your own needs no more than the mean.
        options: fields of `SecAggSettings`.

    Raises:
        ParameterError: the strategy needs more than the mean, or settings are out of range.
    """

    def __init__(
        self,
        strategy: Strategy,
        settings: SecAggSettings | None = None,
        *,
        only_needs_mean: bool = False,
        **options: Any,
    ) -> None:
        if settings is not None and options:
            raise ParameterError(f"give settings, or {sorted(options)}, but not both")
        if isinstance(strategy, SecAgg):
            raise ParameterError("the strategy is under secure aggregation already: put SecAgg around it once")
        self.settings = settings or SecAggSettings(**options)
        check_strategy(strategy, only_needs_mean=only_needs_mean, groups=self.settings.groups)
        self.strategy = strategy
        self.reports: list[RoundReport] = []
        """One for each round of training of the last start."""

    def start(self, grid: Grid, *args: Any, **options: Any) -> Result:
        """Start the strategy, with each round of training under secure aggregation; arguments as its own.

        Raises:
            ParameterError: the nodes, the settings and the strategy do not go together, as is seen before a round has
                had a mean, or no such budget is there.
            StateError: not one round had a mean. That a run trained nothing must not look like success.
        """
        if self.settings.privacy is not None:
            self.settings.privacy.check_budget()
        inner = self.strategy
        while hasattr(inner, "strategy"):
            inner = inner.strategy
        weighted_by, groups = getattr(inner, "weighted_by_key", "num-examples"), self._groups()
        secure = SecAggGrid(grid, self.settings, weighted_by=weighted_by, groups=groups)
        self.reports = secure.reports
        result = self.strategy.start(secure, *args, **options)
        if self.reports and not any(report.survivors for report in self.reports):
            raise StateError(
                f"not one of {len(self.reports)} rounds had a mean, so nothing was trained; the first: "
                f"{self.reports[0].error}"
            )
        return result

    def _groups(self) -> RunGroups | None:
        """Return the groups of a run that begins, not yet drawn."""
        plan = self.settings.groups
        if plan is None:
            return None
        return RunGroups(plan, fewest_results(self.strategy, plan), compares(self.strategy) or "")

    def summary(self) -> None:
        """Log the strategy's own summary."""
        self.strategy.summary()

    def configure_train(self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid) -> NoReturn:
        """Refuse: another wrapper would train in clear."""
        self._refuse_to_be_wrapped()

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> NoReturn:
        """Refuse: another wrapper would train in clear."""
        self._refuse_to_be_wrapped()

    def configure_evaluate(self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid) -> NoReturn:
        """Refuse as `configure_train`."""
        self._refuse_to_be_wrapped()

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Refuse as `configure_train`."""
        self._refuse_to_be_wrapped()

    def _refuse_to_be_wrapped(self) -> NoReturn:
        raise ParameterError("SecAgg must be the outermost wrapper: SecAgg(Wrapper(strategy)), and start that")
