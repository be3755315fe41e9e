"""How a mutant takes its module's place: before the import, or in a function of a module that is loaded already."""

from __future__ import annotations

import functools
import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from .mutants import Mutant, path_of


def before_import(mutant: Mutant) -> None:
    """Let the next import of the module take the mutant's source."""
    if mutant.module in sys.modules:
        raise SystemExit(f"{mutant.module} is loaded already, so its mutant would not be seen")
    sys.meta_path.insert(0, _Finder(mutant.module, path_of(mutant.module), mutant.write()))


def in_loaded_function(mutant: Mutant) -> bool:
    """Give the loaded function that the change is in the mutant's code; return whether there is such a function."""
    function = _function(mutant)
    if function is None:
        return False
    code = compile(mutant.write(), str(path_of(mutant.module)), "exec", dont_inherit=True)
    for name in mutant.path:
        inside = [part for part in code.co_consts if isinstance(part, CodeType) and part.co_name == name]
        if len(inside) != 1:  # a property and its setter share a name
            return False
        (code,) = inside
    if code.co_freevars != function.__code__.co_freevars:
        return False
    function.__code__ = code
    return True


def _function(mutant: Mutant) -> FunctionType | None:
    """Return the plain function under whatever decorates it; compiled ones are none."""
    if not mutant.path:
        return None
    found: Any = importlib.import_module(mutant.module)
    for name in mutant.path:
        found = vars(found).get(name)
        if isinstance(found, property):
            found = found.fget
        if isinstance(found, functools.cached_property):
            found = found.func
        if isinstance(found, classmethod | staticmethod):
            found = found.__func__
        while hasattr(found, "__wrapped__"):
            found = found.__wrapped__
        if found is None:
            return None
    return found if isinstance(found, FunctionType) else None


class _Finder(MetaPathFinder):
    def __init__(self, module: str, path: Path, source: str) -> None:
        self._module, self._path, self._source = module, path, source

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._module:
            return None
        loader = _Loader(fullname, str(self._path))
        loader.source = self._source
        return importlib.util.spec_from_file_location(fullname, self._path, loader=loader)


class _Loader(importlib.machinery.SourceFileLoader):
    source: str

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.source, self.path, "exec", dont_inherit=True)
