"""Every example and every Python block of the README runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README_BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)


def run(*arguments: str, folder: Path = ROOT) -> str:
    outcome = subprocess.run([sys.executable, *arguments], cwd=folder, check=False, capture_output=True, text=True)  # noqa: S603
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


def test_aggregate_sums_without_the_client_that_vanished():
    output = run("examples/aggregate.py")
    assert "[1, 2, 3, 4, 5, 6, 8, 9, 10]" in output
    secure, plain = (re.findall(r"-?\d+\.\d*", line) for line in output.splitlines()[1:3])
    assert len(plain) == 4
    assert all(abs(float(a) - float(b)) <= 0.001 for a, b in zip(secure, plain, strict=True))


@pytest.mark.parametrize("block", README_BLOCKS)
def test_readme_blocks_run(block, tmp_path):
    run("-c", block, folder=tmp_path)  # what they write stays apart


def test_the_readme_has_blocks():
    assert README_BLOCKS
