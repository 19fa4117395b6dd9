"""Who owns a file: root that works in another user's directory must not take the files from that user."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from state import operating_system


def give_to_directory_owner(path: Path) -> None:
    """A file or directory that root has just made in another user's directory becomes that user's.

    Does nothing for any other process. A failure is ignored: what was made stays root's then.
    """
    if operating_system.user_id() != operating_system.ROOT:
        return
    with contextlib.suppress(OSError):
        directory = os.stat(path.parent)
        if directory.st_uid != operating_system.ROOT:
            operating_system.change_owner(path, directory.st_uid, directory.st_gid)


def take_after(path: Path, replaced: Path) -> None:
    """`path` is to replace a file: it gets the owner, group and mode of that one, as far as this process may."""
    with contextlib.suppress(OSError):
        old, new = os.stat(replaced), os.lstat(path)
        if not stat.S_ISREG(new.st_mode):
            return
        if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
            _change_owner(path, old.st_uid, old.st_gid)
        if stat.S_IMODE(old.st_mode) != stat.S_IMODE(new.st_mode):
            os.chmod(path, stat.S_IMODE(old.st_mode))


def owner_of_refused(path: Path) -> str | None:
    """Whose permission a refused write needs: the owner of the file or directory that refuses it, by name.

    None where that is this process's own user, or where it cannot be found out.
    """
    there = path
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    for place in (there, path.parent):
        with contextlib.suppress(OSError):
            found = os.stat(place)
            if not os.access(place, os.W_OK):
                return None if operating_system.is_own(found.st_uid) else operating_system.user_name(found.st_uid)
    return None


def _change_owner(path: Path, uid: int, gid: int) -> None:
    try:
        operating_system.change_owner(path, uid, gid)
    except OSError:
        # An ordinary user may still hand a file to a group of theirs.
        with contextlib.suppress(OSError):
            operating_system.change_owner(path, -1, gid)
