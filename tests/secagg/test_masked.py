"""Masked arrays are known for what they are, whatever numpy has loaded by then."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest

from secagg._masked import is_masked_array


def test_masked_arrays_are_told_from_others() -> None:
    assert is_masked_array(np.ma.masked_array([1.0], mask=[True]))
    assert not is_masked_array(np.ones(1))


def test_a_module_that_another_thread_is_loading_has_no_arrays_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy.ma", ModuleType("numpy.ma"))
    assert not is_masked_array(np.ones(1))
