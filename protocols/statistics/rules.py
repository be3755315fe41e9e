"""The rules by which the release gate hides something."""

from __future__ import annotations

from enum import StrEnum


class Rule(StrEnum):
    """Which rule hides something."""

    SITES = "sites"
    """Fewer sites are in the sum than the policy asks for, or agree: nothing is shown."""
    RECORDS = "records"
    """Fewer rows are in the sum than the policy asks for, or than its least cell: nothing is shown."""
    CELL = "cell"
    """From 1 to below `min_cell` rows, or what would betray such a cell by subtraction."""
    COMPLEMENTARY = "complementary"
    """Beside what is shown it would tell of few rows."""
    TOGETHER = "together"
    """It shares a column with another statistic of the query, and both would tell of few rows: ask for it alone."""
    TABLE = "table"
    """The margins alone bound some cell too closely: the whole table is hidden."""
    PARAMETERS = "parameters"
    """There are too few rows for so many coefficients: they would tell of rows, not of a trend."""
    UNDEFINED = "undefined"
    """Nothing is hidden: these data have no such number, as a constant has no correlation."""
