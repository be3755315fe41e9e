"""The documents for people, cut into their blocks of code."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
DOCUMENTS += sorted((ROOT / "docs/guides").glob("*.md"))
SPECIFICATION = [ROOT / "SPEC.md", *sorted((ROOT / "docs/spec").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block, and the `text` block right behind it, which is what it prints."""

    language: str
    text: str
    output: str | None


def specification() -> str:
    """SPEC.md and its chapters, one after another."""
    return "\n".join(page.read_text() for page in SPECIFICATION)


def blocks(document: Path) -> list[Block]:
    text = document.read_text()
    found = list(FENCE.finditer(text))
    made = []
    for match, following in zip(found, [*found[1:], None], strict=False):
        prints = following is not None and following[1] == "text" and not text[match.end() : following.start()].strip()
        made.append(Block(match[1], match[2], following[2] if prints and following else None))
    return made


def of_language(language: str) -> list[tuple[str, Block]]:
    """Every block in a language, with a name that tells where it stands."""
    return [
        (f"{document.relative_to(ROOT)}:{number}", block)
        for document in DOCUMENTS
        for number, block in enumerate(blocks(document))
        if block.language == language
    ]


def commands(text: str) -> Iterator[list[str]]:
    """The commands of a shell block, as lists of words, without comments."""
    for line in text.replace("\\\n", " ").splitlines():
        words: list[str] = []
        for word in [*shlex.split(line, comments=True), "&&"]:
            if word != "&&":
                words.append(word)
            elif words:
                yield words
                words = []
