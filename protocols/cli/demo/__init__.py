"""Demonstrations on real data: `secagg demo`."""
