"""Whose rows a site may count: those of people who have agreed to a purpose, for as long as they do."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from secagg.errors import ParameterError

from ..core.numbers import real
from .chosen import Mask
from .columns import text


@dataclass(frozen=True)
class Consent:
    """Who has agreed, and to what. Looked up anew for each question: what is withdrawn counts from then on.

    Args:
        purpose: what they agreed to. A query states it with the data set, `admissions for heart research`, so that it
            is part of the query's digest and all sites answer for one purpose.
        given: the ids of who has agreed, a set that the site changes; or the name of a column of booleans, of 0 and 1.
        least_share: where fewer rows than this fraction agreed, the site answers nothing: few would stand for all.

    Raises:
        ParameterError: a value is out of range; from `rows`, the table says of some row neither yes nor no.
    """

    purpose: str
    given: Container[str] | str
    least_share: float = 0.5

    def __post_init__(self) -> None:
        """Check the fields that do not change."""
        text(self.purpose, "purpose")
        object.__setattr__(self, "least_share", real(self.least_share, "least_share", 0, 1))

    def dataset(self, name: str) -> str:
        """Return what a query must call the data set."""
        return f"{name} for {self.purpose}"

    def rows(self, columns: Mapping[str, Any], ids: Sequence[str] | None) -> Mask:
        """Return whose rows count, (n,)."""
        if not isinstance(self.given, str):
            if ids is None:
                raise ParameterError("consent by ids needs the ids of the rows: give the site `ids`")
            return np.array([each in self.given for each in ids], dtype=np.bool_)
        if self.given not in columns:
            raise ParameterError(f"consent is in the column {self.given!r:.60}, but there is none")
        values = np.asarray(columns[self.given])
        if isinstance(columns[self.given], np.ma.MaskedArray) or values.dtype.kind not in "biuf":
            raise ParameterError(f"consent in the column {self.given!r:.60} must be booleans, or 0 and 1")
        if not (np.isin(values, (0, 1)) | np.isnan(values)).all():  # who has not said yes, has not agreed
            raise ParameterError(f"consent in the column {self.given!r:.60} must be booleans, or 0 and 1")
        return np.asarray(values == 1)
