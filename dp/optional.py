"""The one place that imports dp-accounting, and scipy, which comes with it, on first use."""

from __future__ import annotations

import importlib
from typing import Any

from .errors import MissingDependencyError


def accounting_library() -> Any:
    """Return the dp_accounting module with its modules `pld` and `rdp`; raise MissingDependencyError without it."""
    try:
        library = importlib.import_module("dp_accounting")
        importlib.import_module("dp_accounting.pld.privacy_loss_distribution")
        importlib.import_module("dp_accounting.pld.pld_pmf")
        importlib.import_module("dp_accounting.rdp")
    except ImportError as error:
        raise MissingDependencyError(
            "composition needs the accountant library: in a checkout of secagg, pip install '.[dp]'"
        ) from error
    return library


def special_functions() -> Any:
    """Return scipy.special; raise MissingDependencyError without dp-accounting."""
    accounting_library()
    return importlib.import_module("scipy.special")
