"""The machine that is measured, and which code on it. No name of the machine, no paths."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

from secagg.prg import cpu_count

INSTRUCTIONS = {
    "avx2": "AVX2",
    "aes": "AES",
    "vaes": "VAES",
    "avx512f": "AVX-512",
    "avx512ifma": "IFMA",
    "avx512vbmi": "VBMI",
}
LIBRARIES = ("secagg", "numpy", "numba", "pycryptodome", "pynacl", "msgspec", "gmpy2", "phe", "galois", "dp-accounting")


def facts() -> dict[str, str]:
    """Return what is measured on (processor, memory, system, Python), and versions and commit of what is measured."""
    return {
        "processor": _processor(),
        "cores": str(cpu_count()),
        "instructions": instructions(),
        "memory": _memory(),
        "system": f"{_distribution()}{platform.system()} {platform.machine()}",
        "python": sys.version.split()[0],
        "versions": ", ".join(f"{library} {_version(library)}" for library in LIBRARIES),
        "commit": _commit(),
    }


def instructions() -> str:
    """Return which of the instructions that matter here compiled loops use: NUMBA_CPU_NAME and _FEATURES have a say."""
    from numba.core.registry import cpu_target

    _, _, features = cpu_target.target_context.codegen().magic_tuple()
    used = [name for feature, name in INSTRUCTIONS.items() if f"+{feature}" in features.split(",")]
    return ", ".join(used) or "none beyond the ordinary"


def load() -> str:
    """Return the machine's load averages over 1, 5 and 15 minutes."""
    return " ".join(f"{value:.2f}" for value in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _commit() -> str:
    """Return the commit, with "-dirty" behind it where files were changed since; "unknown" without git."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--exclude=*", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"
    except (AttributeError, OSError, ValueError):
        return "unknown"


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "") + ", "
    except OSError:
        return ""
