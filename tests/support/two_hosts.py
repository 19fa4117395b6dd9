"""Hosts in one process: each has a home, a configuration and a working directory of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


class HostDirectory:
    """`be` it: from then on this process reads its configuration and works in its directory."""

    def __init__(self, path: Path, patch: pytest.MonkeyPatch) -> None:
        self.path = path
        self._patch = patch
        self.work.mkdir(parents=True)

    @property
    def work(self) -> Path:
        """The working directory."""
        return self.path / "work"

    def mount(self, name: str, target: Path) -> Path:
        """A root of its configuration: a directory of this host that leads to `target`."""
        mounted = self.path / "mnt" / name
        mounted.parent.mkdir(exist_ok=True)
        mounted.symlink_to(target)
        config = self.path / "host.toml"
        text = config.read_text() if config.exists() else "[roots]\n"
        config.write_text(f'{text}{name} = "{mounted}"\n')
        config.chmod(0o644)
        return mounted

    def be(self) -> None:
        self._patch.chdir(self.work)
        for variable, folder in (("HOME", ""), ("XDG_CONFIG_HOME", "etc"), ("XDG_CACHE_HOME", "cache")):
            self._patch.setenv(variable, str(self.path / folder))
        self._patch.setenv("XDG_STATE_HOME", str(self.path / "var"))
        config = self.path / "host.toml"
        if config.exists():
            self._patch.setenv("BURST_HOST_CONFIG", str(config))
        else:
            self._patch.delenv("BURST_HOST_CONFIG", raising=False)


MakeHost = Callable[[str], HostDirectory]
"""The fixture `host`: a new one of this name."""
