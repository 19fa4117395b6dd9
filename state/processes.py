"""Which process this is, and whether another one of this host is still there."""

from __future__ import annotations

import os
import socket

import msgspec

from state.operating_system import boot_id, started


class Process(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A process, so that it can be told from earlier ones of the same number and from those of other hosts."""

    host: str
    boot_id: str
    pid: int
    process: str = ""
    """When it was started, as the kernel counts; empty where nobody can say."""

    @property
    def is_dead_here(self) -> bool:
        """It was one of this host and is gone; False where nobody here can say."""
        if self.host != socket.gethostname() or not self.boot_id or self.boot_id != boot_id():
            return False
        return bool(self.process) and started(self.pid) != self.process


def this_process() -> Process:
    pid = os.getpid()
    return Process(host=socket.gethostname(), boot_id=boot_id(), pid=pid, process=started(pid))
