"""The machine that is measured, and which code on it: facts for the report, and what keeps results of others apart."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from secagg.prg import cpu_count

LIBRARIES = ("secagg", "numpy", "numba", "pycryptodome", "pynacl", "msgspec", "gmpy2", "phe", "galois", "dp-accounting")
_CODE = ("secagg", "dp", "protocols", "bench")
_NOT_MEASURED = ("bench/suite", "protocols/audit", "protocols/reporting")
"""Folders that only report: what they become changes no figure."""


def facts() -> dict[str, str]:
    """Return what was measured on: processor, memory, system, Python. No name of the machine, no paths."""
    return {
        "processor": _processor(),
        "cores": str(cpu_count()),
        "memory": _memory(),
        "system": _system(),
        "python": sys.version.split()[0],
    }


def versions() -> dict[str, str]:
    """Return the versions of ours and of the libraries beneath and beside; "absent" where one is not there."""
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            found[library] = "absent"
    return found


def load() -> str:
    """Return the machine's load averages over 1, 5 and 15 minutes."""
    return " ".join(f"{value:.2f}" for value in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"


def commit(root: Path) -> str:
    """Return the commit of the measured code, and whether it was changed since; empty without git or a repository."""
    git = shutil.which("git")
    if git is None:
        return ""

    def ask(*words: str) -> subprocess.CompletedProcess[str]:
        command = [git, "-C", str(root), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    found = ask("rev-parse", "--short=12", "HEAD")
    if found.returncode:
        return ""
    changed = ask("status", "--porcelain", "--", "*.py").stdout.strip()
    return found.stdout.strip() + (" and changes" if changed else "")


def fingerprint(root: Path) -> str:
    """Return what changes with the measured code, the libraries and the machine: results under another do not count."""
    digest = hashlib.sha256()
    for path in sorted(path for folder in _CODE for path in (root / folder).rglob("*.py")):
        parts = path.relative_to(root).parts
        if "/".join(parts[:2]) in _NOT_MEASURED or any(part.startswith(".") for part in parts):
            continue
        digest.update("/".join(parts).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    for name, value in (facts() | versions()).items():
        digest.update(f"{name}={value}\0".encode())
    return digest.hexdigest()[:16]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory() -> str:
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return "unknown"
    return f"{total / 2**30:.0f} GiB"


def _system() -> str:
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        name = ""
    return ", ".join(part for part in (name, f"{platform.system()} {platform.machine()}") if part)
