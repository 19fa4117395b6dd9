"""The pages of the documents: README.md and docs/, with the blocks of code in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "docs"


@dataclass(frozen=True)
class Block:
    """A fenced block. `info`: what stands behind the fence, such as `sh` or `sh not-run`."""

    page: Path
    line: int
    """Of its fence, from 1."""
    info: str
    text: str
    not_run: str | None = None
    """Why nobody runs it: the comment `<!-- not run: … -->` in the line before."""

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """README and every page of docs/, those that are made from the code too."""
    return [README, *sorted(DOCS.rglob("*.md"))]


def page(name: str) -> str:
    """The text of `docs/NAME`."""
    return (DOCS / name).read_text()


def blocks(page: Path, language: str | None = None) -> list[Block]:
    """The fenced blocks of a page, or those of one language."""
    text = page.read_text()
    pattern = r"(?:^<!-- not run: (.*?) -->\n)?^```([^\n`]*)\n(.*?)^```$"
    found = [
        Block(page, text[: match.start(2)].count("\n") + 1, match[2].strip(), match[3], match[1])
        for match in re.finditer(pattern, text, flags=re.MULTILINE | re.DOTALL)
    ]
    return [block for block in found if language is None or block.info.split()[:1] == [language]]
