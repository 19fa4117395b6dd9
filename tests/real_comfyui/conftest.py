"""Tests against a real ComfyUI: `COMFYUI_URL=… COMFYUI_DIR=… COMFYUI_PYTHON=… pytest -m comfyui`.

`COMFYUI_URL` names a server that runs. `COMFYUI_DIR` is a checkout from which tests start servers of their own, on free
ports and with directories of their own, by the interpreter `COMFYUI_PYTHON`. Either is enough for some of the tests.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.real_scene import Scene
from support.real_server import RealServer

URL = os.environ.get("COMFYUI_URL", "").rstrip("/")
CHECKOUT = os.environ.get("COMFYUI_DIR", "")
INTERPRETER = os.environ.get("COMFYUI_PYTHON", "") or sys.executable


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = f"{Path(__file__).parent}{os.sep}"
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.comfyui)


def _started(directory: Path) -> RealServer:
    if not CHECKOUT:
        pytest.skip("COMFYUI_DIR is not set: this test starts a ComfyUI of its own")
    return RealServer(Path(CHECKOUT), interpreter=INTERPRETER, directory=directory)


@pytest.fixture(scope="session")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """A server that no one else uses, whose directories a test may look into; it must not be killed."""
    with _started(tmp_path_factory.mktemp("comfyui")) as server:
        yield server


@pytest.fixture
def mortal_server(tmp_path: Path) -> Iterator[RealServer]:
    """A server of this test's own, to be killed and started again."""
    with _started(tmp_path / "comfyui") as server:
        yield server


@pytest.fixture
def start_server() -> Callable[[Path], RealServer]:
    """For a test that needs one more, in a directory of its own: a context manager."""
    return _started


@pytest.fixture(scope="session")
def server_url(request: pytest.FixtureRequest) -> str:
    """The server that COMFYUI_URL names, or one of our own. Others may use it: nothing of theirs is touched."""
    if URL:
        return URL
    if not CHECKOUT:
        pytest.skip("neither COMFYUI_URL nor COMFYUI_DIR is set: no real ComfyUI to test against")
    server: RealServer = request.getfixturevalue("own_server")
    return server.url


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path / "work")
