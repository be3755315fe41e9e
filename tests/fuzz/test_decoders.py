"""No decoder without a target: modules that decode are found by the calls that do it."""

import re
from pathlib import Path

from .__main__ import CORPUS
from .decoders import CALLS, DECODERS, NOT_FROM_OUTSIDE
from .targets import HAS_FLOWER, TARGETS

ROOT = Path(__file__).parents[2]
PATTERN = re.compile("|".join(CALLS))


def decoding_modules():
    for package in ("secagg", "dp", "protocols", "bench/suite"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if PATTERN.search(path.read_text(encoding="utf-8")):
                yield ".".join(path.relative_to(ROOT).with_suffix("").parts)


def test_every_module_that_decodes_has_a_target_or_reads_nothing_of_a_strangers():
    assert not DECODERS.keys() & NOT_FROM_OUTSIDE.keys()
    assert set(decoding_modules()) == DECODERS.keys() | NOT_FROM_OUTSIDE.keys()


def test_the_targets_that_are_named_are_there():
    named = {target for targets in DECODERS.values() for target in targets}
    assert all(any((CORPUS / name).iterdir()) for name in named)
    here = {name for name in named if HAS_FLOWER or not name.startswith("flower_")}
    assert here <= TARGETS.keys()
    assert len(here) > 20
