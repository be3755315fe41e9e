"""The Python blocks of the documents that need Flower run, and print what stands behind them."""

import pytest

from tests.documents import Block, of_language
from tests.processes import python

BLOCKS = [pytest.param(block, id=name) for name, block in of_language("python") if "flwr" in block.text]


def test_there_are_blocks() -> None:
    assert BLOCKS


@pytest.mark.parametrize("block", BLOCKS)
def test_blocks_run(block: Block, tmp_path) -> None:
    assert block.output in (None, python("-c", block.text, folder=tmp_path))
