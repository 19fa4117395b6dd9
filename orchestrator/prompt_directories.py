"""Where items come from: directories of prompt files."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from orchestrator.errors import UsageError
from orchestrator.wording import named
from state.item import Item, Status
from state.location import PassingHome

PROMPT_PATTERNS = ("*.txt",)


def prompt_items(directories: Sequence[Path], *, home: Path, patterns: Sequence[str] = PROMPT_PATTERNS) -> list[Item]:
    """One pending item for each prompt file below `directories`, in natural order (prompt_2 before prompt_10).

    Upper and lower case are one to a pattern: `A.TXT` is a prompt file.

    The key is the file's path, relative to `home` (the state file's directory) where it lies below it. The subfolder is
    the path inside the directory that was named: `prompts/EP01/a.txt` gives `EP01`; files that lie directly in it get
    its own name. What only looks like a file (a link that leads nowhere, a pipe) is an item too, and fails by itself.
    Errors: UsageError for a directory that is not there, cannot be read or holds no such file, and for a name that is
    not Unicode text.
    """
    items: list[Item] = []
    for directory in directories:
        matching = {path for pattern in patterns for path in _files(directory, pattern)}
        found = sorted(matching, key=natural_key)
        if not found:
            said = " or ".join(patterns)
            raise UsageError(
                f"{directory}: no file matches {said}; name another directory, or use {named('patterns', '*.md')}"
            )
        items += [item_of(path, root=directory.absolute(), home=home) for path in found]
    return list({item.key: item for item in items}.values())


def natural_key(path: Path) -> list[tuple[int, str]]:
    """Sorts numbers inside names by value."""
    parts = re.split(r"(\d+)", str(path).casefold())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts if part]


def item_of(path: Path, *, root: Path, home: Path) -> Item:
    """The pending item of a file below `root`, the directory that was named."""
    inside = path.parent.relative_to(root).as_posix()
    subfolder = root.resolve().name if inside == "." else inside
    return Item(key=key_of(path, home), status=Status.PENDING, subfolder=subfolder, filename=path.name)


def key_of(path: Path, home: Path) -> str:
    """How the state names a file: relative to `home` where it lies below it, unless that is a working directory."""
    resolved = Path(os.path.normpath(path))
    is_below = resolved.is_relative_to(home) and not isinstance(home, PassingHome)
    return resolved.relative_to(home).as_posix() if is_below else str(resolved)


def walk(root: Path, *, spared: Collection[Path] = ()) -> Iterator[Path]:
    """Every file below a directory, but for what is hidden and what lies in a `spared` directory, which are resolved.

    Errors: UsageError for what is no directory or holds one that cannot be read.
    """
    if not root.is_dir():
        what = "a file, not a directory; name the directory that holds it" if root.exists() else "not there"
        raise UsageError(f"{root}: {what}")

    def refuse(error: OSError) -> None:
        raise UsageError(f"{error.filename}: cannot be read: {error.strerror}") from error

    for folder, directories, names in os.walk(root.absolute(), onerror=refuse):
        directories[:] = [name for name in directories if not name.startswith(".") and not _is_in(folder, name, spared)]
        yield from (Path(folder, name) for name in names if not name.startswith("."))


def refuse_undecodable(path: Path) -> None:
    """Errors: UsageError for a name that is not Unicode text."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UsageError(f"{os.fsencode(path)!r}: the name is not UTF-8; rename it") from None


def _is_in(folder: str, name: str, spared: Collection[Path]) -> bool:
    return bool(spared) and Path(folder, name).resolve() in spared


def _any_case(pattern: str) -> str:
    """The same pattern for names in upper and lower case; what is in brackets stays."""
    parts = re.split(r"(\[[^\]]*\])", pattern)
    return "".join(part if part.startswith("[") else re.sub(r"[a-zA-Z]", _both_cases, part) for part in parts)


def _both_cases(letter: re.Match[str]) -> str:
    return f"[{letter[0].lower()}{letter[0].upper()}]"


def _files(directory: Path, pattern: str) -> list[Path]:
    # `rglob` passes over directories that it may not read, and with them over their prompts.
    for _ in walk(directory):
        pass
    root = directory.absolute()
    try:
        found = [path for path in root.rglob(_any_case(pattern)) if not path.is_dir()]
    except OSError as error:
        raise UsageError(f"{error.filename}: cannot be read: {error.strerror}") from error
    except (NotImplementedError, ValueError) as error:
        raise UsageError(
            f"{named('patterns')} {pattern!r}: say which names below the directory, such as '*.md'"
        ) from error
    wanted = [path for path in found if not any(part.startswith(".") for part in path.relative_to(root).parts)]
    for path in wanted:
        refuse_undecodable(path)
    return wanted
