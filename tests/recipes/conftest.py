"""What the tests of recipes share: a sandbox and a directory in which `burst` is called as real processes."""

from __future__ import annotations

from pathlib import Path

import pytest
from kills.conftest import make_project, sandbox
from support.recipe_project import RecipeProject

from orchestrator.sandbox import Sandbox

__all__ = ["make_project", "sandbox"]


@pytest.fixture
def project(tmp_path: Path, sandbox: Sandbox) -> RecipeProject:
    home = tmp_path / "studio"
    home.mkdir()
    return RecipeProject(home, sandbox.url)
