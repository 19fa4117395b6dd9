"""A SKILL.md where agents look for it: written, brought up to date, and never put in the place of somebody else's."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from orchestrator.errors import UsageError, located
from orchestrator.wording import named
from state.disk import Disk

if TYPE_CHECKING:
    from orchestrator.documents.others import SkillDocument

_MARK = "<!-- Made by `burst skill`, which replaces it; {} -->"
_MARKED = re.compile(re.escape(_MARK).replace(r"\{\}", r"([0-9a-f]{64})") + "\n")


@dataclass(frozen=True)
class SkillReport:
    """What became of the file."""

    path: Path
    state: Literal["installed", "updated", "up to date"]

    def as_json(self) -> SkillDocument:
        return {"schema": "burst.skill/1", "path": str(self.path), "state": self.state}

    def as_text(self) -> str:
        return f"{self.path}: {self.state}"


def marked(text: str) -> str:
    """The text with a last line that tells whether it was changed since."""
    return f"{text}{_MARK.format(_digest(text))}\n"


def install_skill(text: str, directory: Path, *, force: bool = False) -> SkillReport:
    """Write the skill `burst` into a directory of skills. Safe to repeat.

    Errors: UsageError where a file stands there that is not burst's, or was changed, without `force`; DiskFull.
    """
    path = directory.absolute() / "burst" / "SKILL.md"
    with located(path, OSError, UnicodeDecodeError, into=UsageError):
        before = path.read_text() if path.exists() or path.is_symlink() else None
    wanted = marked(text)
    if before == wanted:
        return SkillReport(path, "up to date")
    if before is not None and not force and not _is_ours(before):
        reason = "was changed" if _MARKED.search(before) else "is not burst's"
        raise UsageError(f"{path}: this file {reason}; move it away, or give {named('force', True)} to replace it")
    with located(path, OSError, into=UsageError, advice=f"choose another place with {named('directory')}"):
        path.parent.mkdir(parents=True, exist_ok=True)
    Disk().write_whole(path, wanted.encode())
    return SkillReport(path, "installed" if before is None else "updated")


def _is_ours(text: str) -> bool:
    """Whether it is as some version of burst wrote it."""
    found = _MARKED.search(text)
    return found is not None and found.end() == len(text) and found[1] == _digest(text[: found.start()])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
