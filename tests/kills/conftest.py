"""What the kill tests share: the support modules, a sandbox, a project before it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.projects import MakeProject, Project
from support.proxy import Proxy

from orchestrator.sandbox import Sandbox


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(directory=tmp_path / "server") as running:
        yield running


@pytest.fixture
def proxy(sandbox: Sandbox) -> Iterator[Proxy]:
    """Stands before the sandbox."""
    with Proxy(sandbox.url) as running:
        yield running


@pytest.fixture
def make_project(tmp_path: Path, sandbox: Sandbox) -> MakeProject:
    """A project in a directory of its own; its server is the sandbox, unless `server` names another."""

    def make(**parts: Any) -> Project:
        home = tmp_path / "project"
        home.mkdir()
        return Project(home, **{"server": sandbox.url} | parts)

    return make
