"""What the tests of directories of pictures share: the support modules, a sandbox, a proxy, and a project over it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults.conftest import _own_network, _short_pauses, burst, set_times
from kills.conftest import proxy, sandbox
from support.image_project import PictureProject

from orchestrator.sandbox import Sandbox

__all__ = ["_own_network", "_short_pauses", "burst", "proxy", "sandbox", "set_times"]


@pytest.fixture
def make_project(tmp_path: Path, sandbox: Sandbox) -> Callable[..., PictureProject]:
    """A project in a directory of its own; its server is the sandbox, unless `server` names another."""

    def make(**parts: Any) -> PictureProject:
        home = tmp_path / "project"
        home.mkdir()
        return PictureProject(home, **{"server": sandbox.url} | parts)

    return make
