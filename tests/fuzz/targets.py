"""The decoders, each as a function of one byte string: it returns, or raises an error of ours, and nothing else.

Where a digest guards the bytes, the target computes it, so that a fuzzer sees what is behind. Where more can be said of
what is accepted than that it is, the target says so: a ValueError out of a target is a find like any other.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

from dp.errors import DpError
from secagg.errors import SecAggError

from . import (
    core_targets,
    file_targets,
    group_targets,
    hierarchy_targets,
    ledger_targets,
    service_targets,
    session_targets,
    statistics_targets,
)
from .texts import check_text

MAX_INPUT = 1 << 14
"""The longest input that the fuzzer makes; decoders are told the round's own limits."""

HAS_FLOWER = importlib.util.find_spec("flwr") is not None
"""Its targets are there only where it is: users of the other extras may fuzz as well."""

TARGETS: dict[str, Callable[[bytes], None]] = {}
WEIGHTS: dict[str, float] = {}
"""How large a part of an equal share a target gets: those that compute more get fewer inputs. 1 if it is not named."""

_MODULES = [core_targets, file_targets, group_targets, hierarchy_targets, ledger_targets]
_MODULES += [service_targets, session_targets, statistics_targets]
if HAS_FLOWER:
    from . import flower_group_targets, flower_query_targets, flower_targets

    _MODULES += [flower_targets, flower_query_targets, flower_group_targets]
for _module in _MODULES:
    TARGETS |= {target.__name__: target for target in _module.TARGETS}
    WEIGHTS |= _module.WEIGHTS


def run(name: str, data: bytes) -> None:
    """One input: the value is thrown away, an error on purpose is what is wanted, and any other goes up."""
    try:
        TARGETS[name](data)
    except (SecAggError, DpError) as error:
        check_text(str(error))
