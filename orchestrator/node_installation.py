"""The ComfyUI nodes inside a ComfyUI: copied or linked into its `custom_nodes`, looked at, and taken away again.

A manifest beside the copied files says which they are. What is not in it, or was changed, is somebody's own: it is
never overwritten or removed unless that is asked for.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import EXIT_DONE, EXIT_ITEMS_FAILED, ConfigurationError, UsageError
from orchestrator.formatting import counted, in_lines
from orchestrator.wording import named
from state.disk import Disk, refusals

if TYPE_CHECKING:
    from orchestrator.documents.others import NodesDocument

SOURCE = Path(__file__).parent / "comfyui_node"
NAME = "burst"
"""The directory in `custom_nodes`."""
MANIFEST = ".burst_manifest.json"
_BYTECODE = "__pycache__"
_RESTART = "Restart ComfyUI: it loads nodes when it starts."


class Kind(StrEnum):
    """What is in the nodes' place."""

    ABSENT = "absent"
    COPIED = "copied"
    LINKED = "linked"
    """A link to this burst's own directory."""
    FOREIGN = "foreign"
    """Something that burst did not put there."""


@dataclass(frozen=True)
class Installed:
    """What is in the nodes' place, file by file, all by their names below `path`."""

    path: Path
    kind: Kind
    version: str = ""
    ours: tuple[str, ...] = ()
    """As burst wrote them, now or in an earlier version."""
    changed: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    outdated: tuple[str, ...] = ()
    """Missing, or not as this burst would write them."""

    @property
    def is_ready(self) -> bool:
        return self.kind is Kind.LINKED or (self.kind is Kind.COPIED and not self.outdated)


@dataclass(frozen=True)
class NodeReport:
    """How the nodes stand, after what was done."""

    installed: Installed
    done: str = ""
    exit_code: int = EXIT_DONE

    def as_json(self) -> NodesDocument:
        return {
            "schema": "burst.node/1",
            "path": str(self.installed.path),
            "state": self.installed.kind.value,
            "version": self.installed.version,
            "ready": self.installed.is_ready,
            "changed": list(self.installed.changed),
            "outdated": list(self.installed.outdated),
            "others": list(self.installed.others),
        }

    def as_text(self) -> str:
        return in_lines([self.done] if self.done else _lines(self.installed))


def node_status(comfyui: Path) -> NodeReport:
    """What is there. `exit_code` 1: not there, or not as this burst would install it. Errors: UsageError, DiskFull."""
    found = look(comfyui)
    return NodeReport(found, exit_code=EXIT_DONE if found.is_ready else EXIT_ITEMS_FAILED)


def install_node(comfyui: Path, *, link: bool = False, force: bool = False) -> NodeReport:
    """Copy or link the nodes; an earlier version is replaced. Safe to repeat, also after a kill in the middle.

    Errors: UsageError; ConfigurationError where something that is not ours would be lost; DiskFull.
    """
    found = look(comfyui)
    _refuse_foreign(found)
    if found.changed and not force:
        raise _changed(found, "overwrites")
    if link and found.others:
        raise ConfigurationError(
            f"{found.path} holds files that burst did not put there ({', '.join(found.others)}): move them away first"
        )
    with refusals(found.path):
        if found.kind is Kind.LINKED or link:
            _clear(found)
        if link:
            found.path.symlink_to(SOURCE, target_is_directory=True)
        else:
            _copy(found)
    return NodeReport(look(comfyui), done=f"{'Linked' if link else 'Copied'} the nodes to {found.path}. {_RESTART}")


def uninstall_node(comfyui: Path, *, force: bool = False) -> NodeReport:
    """Take the nodes away; files of others stay. Safe to repeat.

    Errors: UsageError; ConfigurationError where something that is not ours would be lost; DiskFull.
    """
    found = look(comfyui)
    if found.kind is Kind.ABSENT:
        return NodeReport(found, done=f"Nothing to do: {found.path} is not there.")
    _refuse_foreign(found)
    if found.changed and not force:
        raise _changed(found, "removes")
    with refusals(found.path):
        _clear(found)
    words = f"Removed the nodes from {found.path}. {_RESTART}"
    if found.others:
        words += f" Files that burst did not put there stay: {', '.join(found.others)}."
    return NodeReport(look(comfyui), done=words)


def look(comfyui: Path) -> Installed:
    """Errors: UsageError where this is no directory of ComfyUI; ConfigurationError where the manifest is damaged."""
    nodes = comfyui.expanduser().absolute() / "custom_nodes"
    if not nodes.is_dir():
        raise UsageError(f"{nodes.parent} has no directory custom_nodes: name ComfyUI's own, or its --base-directory")
    path = nodes / NAME
    if path.is_symlink():
        ours = path.resolve() == SOURCE.resolve()
        return Installed(path, Kind.LINKED if ours else Kind.FOREIGN, version=_version() if ours else "")
    if not path.is_dir():
        return Installed(path, Kind.FOREIGN if path.exists() else Kind.ABSENT)
    with refusals(path):
        return _compare(path)


def _compare(path: Path) -> Installed:
    """By content. Without a manifest, files that are all our own were copied by hand, or by a run that was killed."""
    known = _read_manifest(path)
    here = {name: _digest(path / name) for name in _names(path)}
    fresh = {name: _digest(SOURCE / name) for name in _names(SOURCE)}
    ours = {name for name, digest in here.items() if digest in (known.files.get(name), fresh.get(name))}
    changed = {name for name in here if name in known.files or name in fresh} - ours
    others = here.keys() - ours - changed
    is_foreign = not known.files and (changed or not ours)
    return Installed(
        path,
        Kind.FOREIGN if is_foreign else Kind.COPIED,
        version=known.version,
        ours=tuple(sorted(ours)),
        changed=tuple(sorted(changed)),
        others=tuple(sorted(others)),
        outdated=tuple(sorted({name for name in fresh if here.get(name) != fresh[name]} | ours - fresh.keys())),
    )


@dataclass(frozen=True)
class _Manifest:
    version: str
    files: Mapping[str, str]


def _read_manifest(path: Path) -> _Manifest:
    manifest = path / MANIFEST
    try:
        document = json.loads(manifest.read_bytes())
        return _Manifest(str(document["version"]), dict(document["files"]))
    except FileNotFoundError:
        return _Manifest("", {})
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigurationError(
            f"{manifest} is damaged: it is not known which files are burst's. Move {path} away and install again"
        ) from error


def _copy(found: Installed) -> None:
    disk = Disk()
    disk.make_directory(found.path)
    fresh = _names(SOURCE)
    for name in fresh:
        disk.write_whole(found.path / name, (SOURCE / name).read_bytes())
    for name in {*found.ours, *found.changed} - set(fresh):
        (found.path / name).unlink()
    manifest = {"version": _version(), "files": {name: _digest(SOURCE / name) for name in fresh}}
    disk.write_whole(found.path / MANIFEST, json.dumps(manifest, indent=1).encode())


def _clear(found: Installed) -> None:
    """Everything of ours; the directory too, if nothing is left in it."""
    if found.kind is Kind.LINKED:
        found.path.unlink()
        return
    if found.kind is Kind.ABSENT:
        return
    for name in (*found.ours, *found.changed, MANIFEST):
        (found.path / name).unlink(missing_ok=True)
    shutil.rmtree(found.path / _BYTECODE, ignore_errors=True)
    if not any(found.path.iterdir()):
        found.path.rmdir()


def _names(directory: Path) -> list[str]:
    """Files below it, but for bytecode and the manifest."""
    found = [path.relative_to(directory) for path in directory.rglob("*") if not path.is_dir()]
    return sorted(path.as_posix() for path in found if _BYTECODE not in path.parts and path.name != MANIFEST)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _version() -> str:
    try:
        return version("comfyui-burst")
    except PackageNotFoundError:
        return "from a checkout"


def _refuse_foreign(found: Installed) -> None:
    if found.kind is Kind.FOREIGN:
        raise ConfigurationError(f"{found.path} is not burst's: move it away first")


def _changed(found: Installed, does: str) -> ConfigurationError:
    return ConfigurationError(
        f"{counted(len(found.changed), 'file')} in {found.path} changed since burst wrote them: "
        f"{', '.join(found.changed)}. Keep a copy of what you want; {named('force', True)} {does} them"
    )


def _lines(found: Installed) -> Sequence[str]:
    if found.kind is Kind.ABSENT:
        return [f"{found.path}: not installed", "Next: burst node install --comfyui DIR"]
    if found.kind is Kind.FOREIGN:
        return [f"{found.path}: there is something that burst did not put there"]
    lines = [f"{found.path}: {found.kind}" + (f", version {found.version}" if found.version else "")]
    lines += [f"changed: {', '.join(found.changed)}"] if found.changed else []
    lines += [f"not burst's: {', '.join(found.others)}"] if found.others else []
    if not found.is_ready:
        lines += [f"not as this burst has them: {', '.join(found.outdated)}", "Next: burst node install --comfyui DIR"]
    return lines
