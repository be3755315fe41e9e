"""What an analyst is shown of a sum: the policy."""

from __future__ import annotations

from dataclasses import dataclass

from secagg.errors import ParameterError

from ..core.numbers import real, whole


@dataclass(frozen=True)
class ReleasePolicy:
    """What an analyst is shown of a sum.

    Args:
        min_cell: counts from 1 to below this are hidden, and what would betray them. 1 hides nothing.
        min_records: fewer rows in all, or fewer than `min_cell`, and nothing is shown.
        min_sites: fewer sites in the sum, and nothing is shown; a consensus has so many on each side, or none.
        max_coefficients: a regression has at most this many coefficients a row.

    Raises:
        ParameterError: a value is out of range.
    """

    min_cell: int = 10
    min_records: int = 10
    min_sites: int = 3
    max_coefficients: float = 0.2

    def __post_init__(self) -> None:
        """Check every field."""
        for name in ("min_cell", "min_records", "min_sites"):
            object.__setattr__(self, name, whole(getattr(self, name), name, 1))
        object.__setattr__(self, "max_coefficients", real(self.max_coefficients, "max_coefficients", 0, 1))

    @property
    def least_records(self) -> int:
        """Fewer rows in all, and nothing is shown: the number of all rows is a cell, too."""
        return max(self.min_records, self.min_cell)

    @classmethod
    def preset(cls, name: str) -> ReleasePolicy:
        """Return a policy whose least cell is that of others; raise ParameterError where there is no such name.

        `cms`: 11, the cell size of the Centers for Medicare and Medicaid Services. `datashield`: 3, DataSHIELD's
        default `nfilter.tab`. `opensafely`: 8, as OpenSAFELY redacts counts up to 7; it rounds to 5 besides, which is
        not done here. The other values are the defaults here.
        """
        least = {"cms": 11, "datashield": 3, "opensafely": 8}
        if name not in least:
            raise ParameterError(f"preset is {name!r:.60}, but must be one of {', '.join(least)}")
        return cls(min_cell=least[name])
