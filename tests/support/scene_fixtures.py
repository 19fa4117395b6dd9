"""The fixtures of a scene that begins with an empty state: over every kind of state, or over the quickest one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

import pytest

from support.stores import KINDS, Kind, State


class _Scene(Protocol):
    opened: State


_S = TypeVar("_S", bound=_Scene)


def over_every_kind(scene: Callable[[Kind, Path], _S]) -> Callable[..., Iterator[_S]]:
    """`any_scene = over_every_kind(Scene)`: relative addresses are those of its folder."""

    @pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
    def any_scene(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_S]:
        monkeypatch.chdir(tmp_path)
        made = scene(request.param, tmp_path)
        with made.opened:
            yield made

    return any_scene


def over_json(scene: Callable[[Kind, Path], _S]) -> Callable[..., Iterator[_S]]:
    """`scene = over_json(Scene)`."""

    @pytest.fixture
    def json_scene(tmp_path: Path) -> Iterator[_S]:
        made = scene(KINDS[0], tmp_path)
        with made.opened:
            yield made

    return json_scene
