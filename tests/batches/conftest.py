"""What the tests of this room share with those of kills: the support modules, a sandbox, a project; and a studio."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kills.conftest import make_project, sandbox
from support.generate_project import Place
from support.proxy import Proxy

from orchestrator.sandbox import Sandbox

__all__ = ["make_project", "sandbox"]


@pytest.fixture
def place(tmp_path: Path, sandbox: Sandbox) -> Place:
    home = tmp_path / "studio"
    home.mkdir()
    return Place(home, sandbox.url)


@pytest.fixture
def proxy(sandbox: Sandbox) -> Iterator[Proxy]:
    with Proxy(sandbox.url) as running:
        yield running
