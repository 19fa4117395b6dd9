"""What the tests of this room share with those of kills: the support modules, a sandbox, a project; and a studio."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from kills.conftest import make_project, sandbox
from proxy import Proxy
from studio import Place

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
