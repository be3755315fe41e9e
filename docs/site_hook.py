"""Prepares the site: pages from outside docs/, pages of the API reference, links that work here as in the repository.

Source files are no pages: a link to one keeps its text and loses its target. A link to nothing is left as it is, so
that the strict build fails on it.
"""

from __future__ import annotations

import importlib
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
ROOT_PAGES = {"README.md": "index.md"} | {
    name: name for name in ("SPEC.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md")
}
LINK = re.compile(r"(?<!!)\[([^\]\[]*)\]\(([^)\s]+)\)")
IMAGE = re.compile(r"(!\[[^\]]*\])\(([^)\s]+)\)")
FENCE = re.compile(r"(^```.*?^```$)", flags=re.DOTALL | re.MULTILINE)

PRIMITIVES = (
    *("encoding", "residues", "prg", "masking", "shamir"),
    *("key_agreement", "aead", "signatures", "derivation"),
)
# Page of the reference -> its title, and the packages and modules whose public names it lists.
REFERENCE = {
    "protocols": (
        "protocols: the round",
        ("protocols", "protocols.masking.wire", "protocols.paillier"),
    ),
    "statistics": (
        "protocols.statistics: questions to many tables",
        ("protocols.statistics", "protocols.statistics.private"),
    ),
    "groups": ("protocols.groups: many small sums, and rules that bear liars", ("protocols.groups",)),
    "hierarchy": ("protocols.hierarchy: sums of sums", ("protocols.hierarchy",)),
    "ray": ("protocols.ray: groups on a cluster", ("protocols.ray",)),
    "costs": ("protocols.costs: what a round will cost", ("protocols.costs",)),
    "service": ("protocols.service: sessions over HTTPS", ("protocols.service",)),
    "flower": ("protocols.flower: the Flower adapter", ("protocols.flower",)),
    "secagg": ("secagg: the primitives", ("secagg", *(f"secagg.{module}" for module in PRIMITIVES))),
    "paillier": ("secagg.paillier: packed vectors, sums, threshold keys", ("secagg.paillier",)),
    "dp": ("dp: differential privacy", ("dp",)),
    "ledger": ("dp.ledger: budgets that survive crashes", ("dp.ledger",)),
    "errors": ("Errors", ("secagg.errors", "dp.errors")),
}


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that docs/ does not hold."""
    for source, page in ROOT_PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    for page, (title, packages) in REFERENCE.items():
        files.append(File.generated(config, f"reference/{page}.md", content=reference_page(title, packages)))
    files.append(File.generated(config, "reference/index.md", content=reference_index()))
    return files


def on_page_markdown(markdown: str, page: Any, files: Any, **_: Any) -> str:
    """Make links that are right in the repository right in the site."""
    here = page.file.src_uri
    source = next((name for name, target in ROOT_PAGES.items() if target == here), f"docs/{here}")

    def rewritten(target: str) -> str | None:
        path, mark, anchor = target.partition("#")
        if not path or "://" in target:
            return target
        wanted = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        uri = ROOT_PAGES.get(wanted, wanted.removeprefix("docs/"))
        if uri == "decisions":
            uri += "/README.md"
        if files.get_file_from_path(uri):
            return posixpath.relpath(uri, posixpath.dirname(here) or ".") + mark + anchor
        return None if (ROOT / wanted).exists() else target

    def link(match: re.Match[str]) -> str:
        target = rewritten(match[2])
        return match[1] if target is None else f"[{match[1]}]({target})"

    def image(match: re.Match[str]) -> str:
        return f"{match[1]}({rewritten(match[2])})"

    parts = FENCE.split(markdown)
    parts[::2] = [LINK.sub(link, IMAGE.sub(image, part)) for part in parts[::2]]
    return "".join(parts)


def public_names(module: str) -> list[str]:
    """Return what a package hands on but for errors, which have their page; or what a module defines itself."""
    loaded = importlib.import_module(module)
    if hasattr(loaded, "__path__"):
        return [name for name in loaded.__all__ if not is_error(getattr(loaded, name))]
    return [
        name
        for name, value in vars(loaded).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module and getattr(value, "__doc__", None)
    ]


def is_error(value: object) -> bool:
    """Return whether a public name is the class of an error."""
    return isinstance(value, type) and issubclass(value, Exception)


def entry(module: str, name: str) -> tuple[str, str]:
    """Return where a public name is documented, and the first sentence of what is said of it."""
    value = getattr(importlib.import_module(module), name)
    home = getattr(value, "__module__", "") or ""
    if not home.startswith(module.partition(".")[0]):  # a constant or a union: where the package names it
        return f"{module}.{name}", ""
    first = " ".join((getattr(value, "__doc__", None) or "").strip().partition("\n\n")[0].split())
    return f"{home}.{name}", re.split(r"(?<=[^.]{3}\.)\s", first)[0].replace("|", "\\|")


def listing(module: str, page: str = "") -> list[str]:
    """Return a table of a module's public names, each a link to where a page documents it."""
    lines = ["| name | |", "|---|---|"]
    for name in public_names(module):
        path, sentence = entry(module, name)
        lines.append(f"| [`{name}`]({page}#{path}) | {sentence} |")
    return [*lines, ""]


def reference_page(title: str, modules: tuple[str, ...]) -> str:
    """Return a page that lists the public names of modules and then documents them, each where it is defined."""
    lines = [f"# {title}", ""]
    for module in modules:
        loaded = importlib.import_module(module)
        lines += [f"## `{module}`", "", (loaded.__doc__ or "").strip(), "", *listing(module)]
        for name in public_names(module):
            lines += [f"::: {entry(module, name)[0]}", ""]
    return "\n".join(lines)


def reference_index() -> str:
    """Return the reference's first page: all public names."""
    lines = ["# API reference", "", "All public names, from their docstrings.", ""]
    for page, (title, modules) in REFERENCE.items():
        lines += [f"## [{title}]({page}.md)", ""]
        for module in modules:
            lines += [f"**`{module}`**", "", *listing(module, f"{page}.md")]
    return "\n".join(lines)
