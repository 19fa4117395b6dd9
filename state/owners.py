"""Who owns a file: root that works in another user's directory must not take the files from that user."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

_ROOT = 0


def give_to_directory_owner(path: Path) -> None:
    """A file or directory that root has just made in another user's directory becomes that user's.

    Does nothing for any other process. A failure is ignored: what was made stays root's then.
    """
    if os.geteuid() != _ROOT:
        return
    with contextlib.suppress(OSError):
        directory = os.stat(path.parent)
        if directory.st_uid != _ROOT:
            os.chown(path, directory.st_uid, directory.st_gid, follow_symlinks=False)


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
                return None if found.st_uid == os.geteuid() else _name(found.st_uid)
    return None


def _change_owner(path: Path, uid: int, gid: int) -> None:
    try:
        os.chown(path, uid, gid, follow_symlinks=False)
    except OSError:
        # An ordinary user may still hand a file to a group of theirs.
        with contextlib.suppress(OSError):
            os.chown(path, -1, gid, follow_symlinks=False)


def _name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
