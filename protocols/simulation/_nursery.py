"""Imported by the process that workers are forked from, which loads once for all of them what takes long to load."""

from ..masking.warming import warm_up

warm_up()
