"""What the tests of recipes share: a sandbox and a directory in which `burst` is called."""

from __future__ import annotations

from pathlib import Path

import pytest
from kills.conftest import make_project, sandbox
from support.postgres import fresh_database
from support.recipe_project import RecipeProject
from support.two_hosts import HostDirectory, MakeHost

from orchestrator.sandbox import Sandbox
from state.location import DatabaseAddress

__all__ = ["make_project", "sandbox"]


@pytest.fixture
def project(tmp_path: Path, sandbox: Sandbox) -> RecipeProject:
    home = tmp_path / "studio"
    home.mkdir()
    return RecipeProject(home, sandbox.url)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeHost:
    return lambda name: HostDirectory(tmp_path / name, monkeypatch)


@pytest.fixture
def nas(tmp_path: Path) -> Path:
    """A directory that all hosts share."""
    (tmp_path / "nas").mkdir()
    return tmp_path / "nas"


@pytest.fixture(params=["sqlite", "postgresql"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> DatabaseAddress:
    """Of a state that does not exist yet."""
    (tmp_path / "db").mkdir()
    return DatabaseAddress(f"sqlite:///{tmp_path}/db/burst.db" if request.param == "sqlite" else fresh_database())


@pytest.fixture
def sqlite(tmp_path: Path) -> DatabaseAddress:
    """The same, where nothing is about which database it is."""
    (tmp_path / "db").mkdir()
    return DatabaseAddress(f"sqlite:///{tmp_path}/db/burst.db")
