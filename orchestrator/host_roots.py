"""Roots by names: `[roots]` of this host's configuration says where each is mounted here."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

SCHEME = "root://"


def directory_named(name: str) -> Path | str:
    """The directory of a root on this host, or why there is none, for a message. Errors: SettingsError."""
    from orchestrator.host_config import host_config_path, load_host_config

    found = load_host_config().roots.get(name)
    if found is None:
        return (
            f"{SCHEME}{name}: this host has no root of this name; say where it is here in {host_config_path()}, "
            f'under [roots]: {name} = "/its/directory"'
        )
    if not found.is_dir():
        return (
            f"{SCHEME}{name}: {found}, which {host_config_path()} names, is not there; mount it, or make the "
            "directory if this host is the first one"
        )
    return found


def name_of(path: Path) -> str | None:
    """`root://NAME/…` for an absolute path below a root of this host: of the innermost one. Errors: SettingsError."""
    from orchestrator.host_config import has_host_config, load_host_config

    if not has_host_config():
        return None
    roots = ((name, below(path, directory)) for name, directory in load_host_config().roots.items())
    found = [(name, inside) for name, inside in roots if inside is not None]
    if not found:
        return None
    name, inside = min(found, key=lambda root: len(PurePosixPath(root[1]).parts))
    return f"{SCHEME}{name}/{inside}".removesuffix("/.")


def below(path: Path, directory: Path) -> str | None:
    """An absolute path from a directory on, with `/` between its parts; None where it does not lie below it.

    Links do not hide that it does: only what follows the directory is kept as it was written, without detours
    (`a/../b`).
    """
    path = plain(path)
    if path.is_relative_to(directory):
        return path.relative_to(directory).as_posix()
    for parent in (path, *path.parents):
        try:
            if os.path.samefile(parent, directory):
                return path.relative_to(parent).as_posix()
        except OSError:
            continue
    return None


def plain(path: Path) -> Path:
    """Without detours. Behind a link to a directory, `..` is another place than it reads: then as it is."""
    found = Path(os.path.normpath(path))
    return found if os.path.realpath(found) == os.path.realpath(path) else path
