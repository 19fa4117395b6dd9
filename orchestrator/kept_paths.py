"""How a state names a path: relative to its own directory where it lies below it, so that both can be moved."""

from __future__ import annotations

import os
from pathlib import Path

from orchestrator.places import ObjectPath, Place


def kept_path(path: Place, home: Path) -> str:
    """`path` (absolute) from `home` on, with `/` between its parts; as it is where it does not lie below `home`.

    Links do not hide that it does: only what follows `home` is kept as it was written, without detours (`a/../b`).

    Object storage has one name everywhere.
    """
    if isinstance(path, ObjectPath):
        return str(path)
    plain = Path(os.path.normpath(path))
    # Behind a link to a directory, `..` is another place than it reads.
    path = plain if os.path.realpath(plain) == os.path.realpath(path) else path
    if path.is_relative_to(home):
        return path.relative_to(home).as_posix()
    for parent in (path, *path.parents):
        try:
            if os.path.samefile(parent, home):
                return path.relative_to(parent).as_posix()
        except OSError:
            continue
    return str(path)
