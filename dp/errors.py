"""Every error that dp raises on purpose. Facts are attributes; texts name the value, the limit and the remedy."""

from __future__ import annotations


class DpError(Exception):
    """The root: catch this to catch everything that dp raises on purpose."""


class ParameterError(DpError, ValueError):
    """An impossible or unsafe privacy parameter; no noise was drawn."""


class MissingDependencyError(DpError, ImportError):
    """An optional package is not installed; the text says which extra brings it."""
