"""Where this host has a server's output folder: as somebody says, or as a server that runs here tells."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from orchestrator.comfyui import ComfyUI
from orchestrator.errors import UnexpectedAnswer
from orchestrator.host_config import HostConfig
from orchestrator.servers import Server
from orchestrator.wording import named

_FLAGS = (("--output-directory", ""), ("--base-directory", "output"))
"""ComfyUI's own flags, and what its output folder is called below the directory that they name."""


class NoFolder(msgspec.Struct, frozen=True):
    """Nobody knows where this host has a server's output folder."""

    reason: str
    """With what to do instead."""


def output_folder(server: Server, client: ComfyUI, config: HostConfig) -> Path | NoFolder:
    """The server's output folder on this host. A wrong one does no harm: files are known by names and bytes alone.

    Errors: TransientError if the server has to be asked and does not answer.
    """
    if (told := config.output_folder_of(server)) is not None:
        if told.is_dir():
            return told
        return NoFolder(f"host.toml says that it saves in {told}, which is not there; mount it, or correct host.toml")
    if not server.is_local:
        return NoFolder(
            f"its disk is not known to be this host's, and ComfyUI deletes no outputs on request; {_advice()}"
        )
    asked = list(_told_by(client))
    found = next((folder for folder in asked if folder.is_dir()), None)
    if found is not None:
        return found
    seen = f"it saves in {asked[0]}, which is not on this host" if asked else "it does not tell where it saves"
    return NoFolder(f"{seen}; {_advice()}")


def _advice() -> str:
    return (
        f"clean it on its own host, name the folder with {named('folder', 'DIR')} or in host.toml, or remove its "
        "`burst` folder by hand while no item is submitted"
    )


def _told_by(client: ComfyUI) -> Iterator[Path]:
    """Folders that it may be, the likeliest first. Errors: TransientError."""
    argv = client.system_stats().get("system", {}).get("argv", [])
    words = [str(word) for word in argv] if isinstance(argv, list) else []
    for flag, below in _FLAGS:
        said = _value(words, flag)
        if said is not None and os.path.isabs(said):
            yield Path(said) / below
        if said is not None and (os.path.isabs(said) or not below):
            return
    with contextlib.suppress(UnexpectedAnswer):
        for folders in client.model_folders().values():
            for folder in map(Path, folders):
                if folder.parent.name == "models" and folder.is_absolute():
                    yield folder.parent.parent / "output"


def _value(words: Sequence[str], flag: str) -> str | None:
    """What a flag is given, as `--flag VALUE` or `--flag=VALUE`; the last one counts."""
    found = None
    for word, after in zip(words, [*words[1:], None], strict=True):
        if word == flag:
            found = after
        elif word.startswith(f"{flag}="):
            found = word.partition("=")[2]
    return found
