"""From exact sums to statistics: pure functions, each result with the error that rounding of the inputs leaves."""
