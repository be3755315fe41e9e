"""Fuzz every decoder, guided by coverage: python -m tests.fuzz [--inputs N] [--seconds S] [--jobs J].

Each target runs in a process of its own under atheris (libFuzzer), which is told to stop at an input that takes longer
than a minute or more than two gigabytes. Without atheris, the seeds are mutated at random instead, unguided.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import random
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
MAX_INPUT_SECONDS = 60
MAX_MEMORY_MIB = 2048
MAX_CORPUS_BYTES = 200_000


def write_corpus(found: dict[str, list[bytes]]) -> None:
    """Add inputs to the committed corpus, by the hash of what they are."""
    for name, inputs in found.items():
        (CORPUS / name).mkdir(parents=True, exist_ok=True)
        for data in inputs:
            (CORPUS / name / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


def guided(name: str, inputs: int, seconds: int, scratch: Path) -> None:
    """Run one target in this process; libFuzzer does not return."""
    import atheris

    with atheris.instrument_imports(include=["secagg", "dp", "protocols"]):
        from . import targets
    targets.run(name, b"")  # what is made once is made now
    arguments = [sys.argv[0], f"-runs={inputs}", f"-timeout={MAX_INPUT_SECONDS}", f"-rss_limit_mb={MAX_MEMORY_MIB}"]
    arguments += [
        f"-max_len={targets.MAX_INPUT}",
        "-seed=1",
        f"-artifact_prefix={scratch}/crash-",
        "-print_final_stats=1",
    ]
    arguments += [f"-max_total_time={seconds}"] if seconds else []
    grown = scratch / "grown"
    grown.mkdir(exist_ok=True)
    atheris.Setup([*arguments, str(grown), str(CORPUS / name)], lambda data: targets.run(name, data))
    atheris.Fuzz()


def unguided(name: str, inputs: int, seconds: int) -> None:
    """Mutate the corpus at random: what is left where atheris cannot be installed."""
    from . import targets

    rng, end = random.Random(1), time.monotonic() + (seconds or float("inf"))
    corpus = [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]
    for _ in range(inputs):
        data = bytearray(rng.choice(corpus))
        for _ in range(rng.randint(1, 8)):
            at = rng.randint(0, len(data))
            data[at : at + rng.choice((0, 1, 1, 4))] = rng.randbytes(rng.choice((0, 1, 1, 4)))
        targets.run(name, bytes(data))
        if time.monotonic() > end:
            return


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="in all, over all targets")
    parser.add_argument("--seconds", type=int, default=0, help="at most, for each target; 0: as long as it takes")
    parser.add_argument("--jobs", type=int, default=1, help="so many targets at a time")
    parser.add_argument("--target", help="this one alone")
    parser.add_argument("--write", action="store_true", help="write the seeds to the committed corpus, and stop")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    can_guide = importlib.util.find_spec("atheris") is not None
    if options.child:
        guided(options.target, options.inputs, options.seconds, Path(options.child))
        return 0
    if options.write:
        from .seeds import seeds

        write_corpus(seeds())
        return 0
    from .targets import TARGETS, WEIGHTS

    names = [options.target] if options.target else list(TARGETS)
    whole = sum(WEIGHTS.get(name, 1) for name in names)

    def one(name: str) -> bool:
        """Run a target, say how it went, and tell whether it held."""
        share = -int(-options.inputs * WEIGHTS.get(name, 1) // whole)
        start = time.perf_counter()
        scratch = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
        if not can_guide:
            unguided(name, share, options.seconds)
            print(f"{name:24} {share:>8} inputs, unguided  {time.perf_counter() - start:7.1f} s", flush=True)
            return True
        command = [sys.executable, "-m", "tests.fuzz", "--target", name, "--inputs", str(share)]
        command += ["--seconds", str(options.seconds), "--child", str(scratch)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        tail = [line for line in done.stderr.splitlines() if line.startswith("stat::number_of_executed_units")]
        verdict = f"{tail[-1].split()[-1]} run" if tail and not done.returncode else f"CRASHED, see {scratch}"
        print(f"{name:24} {share:>8} inputs  {time.perf_counter() - start:7.1f} s  {verdict}", flush=True)
        if done.returncode or not tail:
            (scratch / "log").write_text(done.stdout + done.stderr)
            return False
        return True

    with ThreadPoolExecutor(options.jobs if can_guide else 1) as pool:
        crashed = [name for name, held in zip(names, pool.map(one, names), strict=True) if not held]
    print(f"{len(names)} targets, {len(crashed)} crashed {' '.join(crashed)}")
    return bool(crashed)


if __name__ == "__main__":
    sys.exit(main())
