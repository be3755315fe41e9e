"""The files of vectors that come with the audit, each held against its digest before anything is read from it."""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from ..outcome import Check, Found, Refuted, Trials, demand
from .manifest import FILES


def folder() -> Traversable:
    """Return where the files are."""
    return resources.files("protocols.audit") / "vectors"


def vectors(name: str) -> Any:
    """Return one of the files.

    Raises:
        Refuted: the file is missing, or not the one that this version was shipped with.
    """
    data = _data(name)
    found, (expected, _) = hashlib.sha256(data).hexdigest(), FILES[name]
    demand(found == expected, f"{name}.json is not the file of this version: its SHA-256 is {found}, not {expected}")
    return json.loads(data.decode())


def cases(name: str) -> int:
    """Return how many cases a file has, as the manifest says: a check of it must compare as many."""
    return FILES[name][1]


def _data(name: str) -> bytes:
    try:
        return (folder() / f"{name}.json").read_bytes()
    except FileNotFoundError:
        raise Refuted(f"{name}.json is missing") from None


def _files(trials: Trials) -> Found:
    there = {each.name for each in folder().iterdir()}
    foreign = there - {f"{name}.json" for name in FILES}
    demand(not foreign, f"{min(foreign, default='')} lies among the vectors, and is none of them")
    for name in FILES:
        vectors(name)
    return Found({"cases": sum(number for _, number in FILES.values())} | {name: of for name, (of, _) in FILES.items()})


CHECKS = (Check("vectors", "files", "the files of vectors are whole, and those that this version came with", _files),)
