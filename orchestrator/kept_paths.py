"""How a state names a path: relative to its own directory where it lies below it, so that both can be moved."""

from __future__ import annotations

from pathlib import Path

from orchestrator.host_roots import below, name_of, plain
from orchestrator.places import ObjectPath, Place
from state.location import DatabaseHome, PassingHome


def kept_path(path: Place, home: Path) -> str:
    """`path` (absolute) from `home` on, with `/` between its parts; as it is where it does not lie below `home`.

    A state in a database keeps what lies below a root of this host by the root's name, `root://NAME/…`; one on a server
    has no directory of its own, so nothing is relative there. Object storage has one name everywhere.
    """
    if isinstance(path, ObjectPath):
        return str(path)
    if not isinstance(home, PassingHome) and (inside := below(path, home)) is not None:
        return inside
    if isinstance(home, DatabaseHome) and (named := name_of(path)) is not None:
        return named
    return str(plain(path))
