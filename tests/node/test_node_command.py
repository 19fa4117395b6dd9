"""`burst node`: the nodes into a ComfyUI and out of it, and nothing of anybody else's touched."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.documents import checked

from burst import cli
from orchestrator import node_installation
from orchestrator.node_installation import MANIFEST, SOURCE


@pytest.fixture
def comfyui(tmp_path: Path) -> Path:
    (tmp_path / "ComfyUI" / "custom_nodes").mkdir(parents=True)
    return tmp_path / "ComfyUI"


@pytest.fixture
def place(comfyui: Path) -> Path:
    return comfyui / "custom_nodes" / "burst"


def node(command: str, comfyui: Path, *flags: str) -> Result:
    return CliRunner().invoke(cli, ["node", command, "--comfyui", str(comfyui), *flags])


def state(comfyui: Path) -> tuple[int, dict[str, object]]:
    result = node("status", comfyui, "--json")
    return result.exit_code, checked(json.loads(result.stdout))


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file() and path.name != MANIFEST}


def test_install_status_uninstall(comfyui: Path, place: Path) -> None:
    assert state(comfyui)[0] == 1
    installed = node("install", comfyui)

    assert installed.exit_code == 0, installed.output
    assert "Restart ComfyUI" in installed.output
    assert contents(place) == contents(SOURCE)
    code, said = state(comfyui)
    assert code == 0
    assert (said["schema"], said["state"], said["ready"]) == ("burst.node/1", "copied", True)

    (place / "__pycache__").mkdir()
    (place / "__pycache__" / "loader.cpython-311.pyc").write_bytes(b"")
    assert state(comfyui)[1]["others"] == [], "what Python writes there is nobody's"
    assert node("uninstall", comfyui).exit_code == 0
    assert not place.exists()
    assert node("uninstall", comfyui).exit_code == 0, "safe to repeat"


def test_the_copy_works_alone(comfyui: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loaded as ComfyUI loads it, from where it lies, with nothing of burst to import."""
    node("install", comfyui)
    for name in [name for name in sys.modules if name.split(".")[0] in ("orchestrator", "state", "templates")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [part for part in sys.path if "site-packages" in part or "lib" in part])
    before = set(sys.modules)
    spec = importlib.util.spec_from_file_location(str(place), place / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, str(place), module)
    spec.loader.exec_module(module)

    assert module.NODE_DISPLAY_NAME_MAPPINGS == {
        "BatchImageLoader": "Batch Image Loader",
        "BatchImageSaver": "Batch Image Saver",
    }
    new = {name.split(".")[0] for name in set(sys.modules) - before if not name.startswith(str(comfyui.parent))}
    assert not new & {"orchestrator", "state", "templates", "click", "msgspec", "requests"}


def test_link(comfyui: Path, place: Path) -> None:
    assert node("install", comfyui, "--link").exit_code == 0
    assert place.resolve() == SOURCE.resolve()
    assert state(comfyui)[1]["state"] == "linked"

    assert node("install", comfyui).exit_code == 0, "a copy takes the link's place"
    assert not place.is_symlink()
    assert node("install", comfyui, "--link").exit_code == 0, "and the other way round"
    assert place.is_symlink()
    assert node("uninstall", comfyui).exit_code == 0
    assert not place.is_symlink()
    assert (SOURCE / "loader.py").exists()


def test_an_earlier_version_is_replaced(comfyui: Path, place: Path) -> None:
    """A file that it had and this one has not is removed; one that it had not is added."""
    node("install", comfyui)
    (place / "old.py").write_text("x = 1\n")
    (place / "walk.py").write_text("old = True\n")
    manifest = json.loads((place / MANIFEST).read_text())
    digest = node_installation._digest
    manifest["files"] |= {"old.py": digest(place / "old.py"), "walk.py": digest(place / "walk.py")}
    (place / MANIFEST).write_text(json.dumps(manifest | {"version": "0.0.1"}))
    (place / "chain.py").unlink()
    code, said = state(comfyui)
    assert (code, said["version"], said["changed"]) == (1, "0.0.1", [])
    assert said["outdated"] == ["chain.py", "old.py", "walk.py"]

    assert node("install", comfyui).exit_code == 0
    assert contents(place) == contents(SOURCE)
    assert state(comfyui)[0] == 0


@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_a_users_change_is_never_lost_silently(comfyui: Path, place: Path, command: str) -> None:
    node("install", comfyui)
    (place / "loader.py").write_text("mine = True\n")

    refused = node(command, comfyui)
    assert refused.exit_code == 2
    assert "loader.py" in refused.stderr
    assert (place / "loader.py").read_text() == "mine = True\n"
    assert len(contents(place)) == len(contents(SOURCE))
    code, said = state(comfyui)
    assert (code, said["changed"]) == (1, ["loader.py"])

    assert node(command, comfyui, "--force").exit_code == 0
    assert (contents(place) == contents(SOURCE)) if command == "install" else not place.exists()


def test_a_users_own_files_stay(comfyui: Path, place: Path) -> None:
    node("install", comfyui)
    (place / "notes.txt").write_text("mine")
    assert state(comfyui)[1]["others"] == ["notes.txt"]
    assert node("install", comfyui).exit_code == 0
    refused = node("install", comfyui, "--link")
    assert refused.exit_code == 2
    assert (place / "loader.py").exists(), "refused before anything was done"

    removed = node("uninstall", comfyui)
    assert removed.exit_code == 0
    assert "notes.txt" in removed.output
    assert [path.name for path in place.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("what", ["directory", "file", "link", "dangling link"])
@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_something_else_in_its_place(comfyui: Path, place: Path, tmp_path: Path, what: str, command: str) -> None:
    """Not touched, with --force neither."""
    (tmp_path / "theirs").mkdir()
    if what == "directory":
        place.mkdir()
        (place / "__init__.py").write_text("NODE_CLASS_MAPPINGS = {}\n")
    elif what == "file":
        place.write_text("theirs")
    else:
        place.symlink_to(tmp_path / ("theirs" if what == "link" else "gone"))
    before = os.lstat(place)

    refused = node(command, comfyui, "--force")
    assert refused.exit_code == 2
    assert "is not burst's" in refused.stderr
    assert os.lstat(place).st_ino == before.st_ino
    assert state(comfyui)[1]["state"] == "foreign"


def test_copied_by_hand(comfyui: Path, place: Path) -> None:
    """It counts as installed, is brought up to date and can be removed."""
    shutil.copytree(SOURCE, place, ignore=shutil.ignore_patterns("__pycache__"))
    assert state(comfyui)[0] == 0
    assert node("install", comfyui).exit_code == 0
    shutil.copytree(SOURCE, place, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    (place / MANIFEST).unlink()

    assert node("uninstall", comfyui).exit_code == 0
    assert not place.exists()


def test_an_installation_that_was_killed_is_finished_by_the_next(comfyui: Path, place: Path) -> None:
    """Two files were there, and a temporary one."""
    place.mkdir()
    for name in ("chain.py", "listing.py"):
        shutil.copy(SOURCE / name, place / name)
    (place / "loader.py.tmp").write_text("half")

    assert state(comfyui)[1]["ready"] is False
    assert node("install", comfyui).exit_code == 0
    assert contents(place) == contents(SOURCE)


def test_a_damaged_manifest_is_not_an_empty_one(comfyui: Path, place: Path) -> None:
    node("install", comfyui)
    (place / MANIFEST).write_text('{"version": "1", "fil')
    for command in ("install", "uninstall", "status"):
        refused = node(command, comfyui)
        assert refused.exit_code == 2
        assert MANIFEST in refused.stderr
    assert (place / "loader.py").exists()


def test_no_comfyui_there(tmp_path: Path) -> None:
    refused = node("install", tmp_path)
    assert refused.exit_code == 2
    assert "custom_nodes" in refused.stderr
    assert not (tmp_path / "custom_nodes").exists()


def test_the_directory_may_come_from_the_environment(comfyui: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFYUI_DIR", str(comfyui))
    result = CliRunner().invoke(cli, ["node", "status"])
    assert result.exit_code == 1
    assert "not installed" in result.output
