"""How a state names a path, whichever way it was typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.kept_paths import kept_path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for folder in ("home/flows", "elsewhere/deep"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "home")
    (tmp_path / "home" / "away").symlink_to(tmp_path / "elsewhere" / "deep")
    return tmp_path / "home"


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("home/flows/a.json", "flows/a.json"),
        ("home", "."),
        ("home/not/there", "not/there"),
        ("home/flows/../out", "out"),
        ("elsewhere/../home/out", "out"),
        ("link/flows/a.json", "flows/a.json"),
        ("link/not/there", "not/there"),
        ("link", "."),
        ("home/away/out", "away/out"),
    ],
)
def test_what_lies_below_the_state_is_named_from_there(home: Path, typed: str, kept: str) -> None:
    assert kept_path(home.parent / typed, home) == kept


@pytest.mark.parametrize("typed", ["elsewhere/out", "home2/out"])
def test_anything_else_is_named_whole(home: Path, typed: str) -> None:
    assert kept_path(home.parent / typed, home) == str(home.parent / typed)


def test_two_dots_behind_a_link_lead_where_the_system_leads(home: Path) -> None:
    """`away/..` is `elsewhere`, not the state's directory."""
    typed = home / "away" / ".." / "out"
    assert (home / kept_path(typed, home)).resolve() == home.parent / "elsewhere" / "out"
