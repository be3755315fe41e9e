"""The Python blocks of the documents that need Flower run, and print what stands behind them."""

import subprocess
import sys

import pytest

from tests.documents import Block, of_language

BLOCKS = [pytest.param(block, id=name) for name, block in of_language("python") if "flwr" in block.text]


def test_there_are_blocks() -> None:
    assert BLOCKS


@pytest.mark.parametrize("block", BLOCKS)
def test_blocks_run(block: Block, tmp_path) -> None:
    command = [sys.executable, "-c", block.text]
    outcome = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)  # noqa: S603
    assert outcome.returncode == 0, outcome.stderr
    assert block.output in (None, outcome.stdout)
