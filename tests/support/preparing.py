"""Items prepared as a run does it, without the run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from orchestrator.places import Place
from orchestrator.preparation import Items, Preparation
from orchestrator.recipes import Recipes
from orchestrator.settings import Settings
from state.recipe import RecipeBook


def preparation_of(
    home: Path,
    template: Path | str | None = None,
    *,
    bindings: Mapping[str, str] = {},
    book: RecipeBook | None = None,
    items: Items | None = None,
    output: Place | None = None,
) -> Preparation:
    """`template`, `bindings`, `output` as in the settings; `book`, `items`: of the state in `home`, if there is one."""
    named = str(template) if template is not None else None
    settings = Settings(output_dir=output or home / "output", template=named, bindings=bindings)
    return Preparation(Recipes(book, home), settings, home, items=items)
