"""`burst servers clean`: remove from servers' output folders what is downloaded, and say what stays and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.clients import client_for
from orchestrator.comfyui import ComfyUI
from orchestrator.documents.lists import shortened
from orchestrator.errors import EXIT_DONE, EXIT_ITEMS_FAILED, SettingsError, TransientError, UsageError, located
from orchestrator.formatting import counted, in_lines, key_lines, spoken_bytes
from orchestrator.host_config import HostConfig, load_host_config
from orchestrator.outputs.placement import Placement, placement_of
from orchestrator.server_copies.judging import Found, Judge, Verdict, refusal_of, sorted_out
from orchestrator.server_copies.locating import NoFolder, output_folder
from orchestrator.server_copies.shelf import LocalShelf
from orchestrator.server_options import speaks_v2
from orchestrator.servers import Server, is_given_name, parse_server
from orchestrator.settings import Overrides, Settings, load_settings
from orchestrator.wording import named
from state.open_store import open_store
from state.store import Store

if TYPE_CHECKING:
    from orchestrator.documents.servers import CleanedServerDocument, ServersCleanDocument

_KEPT = {
    Verdict.UNFINISHED: "of items that are not completed",
    Verdict.NOT_HERE: "whose download is missing or changed; see `burst verify`",
    Verdict.IN_USE: "that an item is made from or has as its output",
    Verdict.LEFTOVER: "that are kept nowhere else",
    Verdict.FOREIGN: "of other states",
}


@dataclass(frozen=True)
class CleanedServer:
    """What became of one server's copies."""

    server: Server
    folder: Path | None = None
    found: Found = field(default_factory=Found)
    empty_folders: int = 0
    are_folders_gone: bool = False
    """Whether these were removed, or would be; only while the server has nothing to do."""
    reason: str | None = None
    """Why it was not cleaned, or not wholly, and what to do."""

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.found.removed)

    def as_json(self, *, everything: bool) -> CleanedServerDocument:
        document: CleanedServerDocument = {
            "name": self.server.name,
            "address": self.server.url,
            "folder": None if self.folder is None else str(self.folder),
            "reason": self.reason,
            "removed": [file.path for file in self.found.removed],
            "removed_total": len(self.found.removed),
            "bytes": self.bytes,
            "empty_folders": self.empty_folders,
            "folders_removed": self.empty_folders if self.are_folders_gone else 0,
            "kept": {verdict.value: counted.count for verdict, counted in self.found.kept.items()},
        }
        return shortened(document, "removed", everything=everything)

    def lines(self, *, dry_run: bool, everything: bool) -> list[str]:
        """For a person."""
        if self.folder is None:
            return [f"{self.server.shown}: not cleaned: {self.reason}"]
        count, folders = len(self.found.removed), self.empty_folders if self.are_folders_gone else 0
        gone = [f"{counted(count, 'file')} ({spoken_bytes(self.bytes)})"] if count else []
        gone += [counted(folders, "empty folder")] if folders else []
        would = "would remove" if dry_run else "removed"
        lines = [f"{self.server.shown}: {f'{would} ' + ' and '.join(gone) if gone else 'nothing to remove'}"]
        lines += key_lines([file.path for file in self.found.removed], everything=everything) if dry_run else []
        for why, one in self.found.kept.items():
            advice = f"; {named('leftovers', True)} removes them too" if why is Verdict.LEFTOVER else ""
            lines.append(f"  kept {counted(one.count, 'file')} ({spoken_bytes(one.bytes)}) {_KEPT[why]}{advice}")
        if self.empty_folders and not self.are_folders_gone:
            lines.append(
                f"  left {counted(self.empty_folders, 'empty folder')}: the server is at work or does not answer"
            )
        return [*lines, *([f"  not finished: {self.reason}"] if self.reason else [])]


@dataclass(frozen=True)
class CleanedServers:
    """What `servers clean` removed, or would."""

    servers: tuple[CleanedServer, ...]
    dry_run: bool

    @property
    def exit_code(self) -> int:
        """1 where a server was not cleaned."""
        return EXIT_ITEMS_FAILED if any(one.reason for one in self.servers) else EXIT_DONE

    def as_json(self, *, everything: bool = False) -> ServersCleanDocument:
        """As `burst servers clean --json` prints it; `everything`: with all entries of its lists."""
        return {
            "schema": "burst.servers_clean/1",
            "dry_run": self.dry_run,
            "servers": [one.as_json(everything=everything) for one in self.servers],
        }

    def as_text(self, *, everything: bool = False) -> str:
        """A few lines for a person."""
        return in_lines(line for one in self.servers for line in one.lines(dry_run=self.dry_run, everything=everything))


def clean_servers(
    state: Path,
    names: Sequence[str] = (),
    *,
    folder: Path | None = None,
    leftovers: bool = False,
    dry_run: bool = False,
    overrides: Overrides | None = None,
) -> CleanedServers:
    """Remove from servers' output folders the copies of outputs that are here, byte for byte, or deleted for good.

    `names`: servers by name or address; without any, those that a run uses. `folder`: where this host has the output
    folder of the one server. `leftovers`: also what else completed items have there, which is kept nowhere else.
    Reads the state and writes nothing to it; any number of bursts may be at work. It can be
    repeated, also after a kill. Errors: UsageError, SettingsError, StateError, OutputRootUnusable.
    """
    settings = load_settings(state, overrides)
    servers = [_server(text, settings) for text in names] or list(settings.servers)
    config = load_host_config()
    if folder is not None:
        config = _with_folder(servers, folder)
    with open_store(state, read_only=True) as store:
        cleaning = _Cleaning(store, placement_of(store, settings), settings, config, leftovers, dry_run)
        return CleanedServers(tuple(map(cleaning.clean, servers)), dry_run)


def _server(text: str, settings: Settings) -> Server:
    """Errors: UsageError for a name that nobody knows."""
    if (found := settings.find_server(text)) is not None:
        return found
    if is_given_name(text):
        raise UsageError(f"SERVER: no address is known of {text}; give its address, or NAME=URL")
    with located("SERVER", SettingsError, into=UsageError):
        return parse_server(text)


def _with_folder(servers: Sequence[Server], folder: Path) -> HostConfig:
    """Errors: UsageError."""
    if len(servers) != 1:
        raise UsageError(f"{named('folder', str(folder))}: name the one server whose output folder this is")
    if not folder.is_dir():
        raise UsageError(f"{named('folder', str(folder))}: no such directory; name the server's output folder")
    return HostConfig(output_folders={servers[0].name: folder.absolute()})


@dataclass(frozen=True)
class _Cleaning:
    store: Store
    placement: Placement
    settings: Settings
    config: HostConfig
    leftovers: bool
    dry_run: bool

    def clean(self, server: Server) -> CleanedServer:
        """Errors: as `clean_servers`."""
        if speaks_v2(server, self.settings.options_of(server)):
            return CleanedServer(
                server, reason="a hosted service keeps outputs as it likes; delete them in its own pages"
            )
        with client_for(server, self.settings, retry_seconds=0.0) as client:
            try:
                folder = output_folder(server, client, self.config)
            except TransientError as error:
                advice = f"start it, or name its output folder with {named('folder', 'DIR')}"
                return CleanedServer(server, reason=f"it was asked where it saves, and {error}; {advice}")
            if isinstance(folder, NoFolder):
                return CleanedServer(server, reason=folder.reason)
            return self._clean_folder(server, client, folder)

    def _clean_folder(self, server: Server, client: ComfyUI, folder: Path) -> CleanedServer:
        shelf = LocalShelf(folder)
        try:
            files = shelf.files()
            judge = Judge(self.store, self.placement, {file.prompt_id for file in files})
            found = sorted_out(files, judge, shelf, leftovers=self.leftovers, dry_run=self.dry_run)
            empty = shelf.empty_folders(without={file.path for file in found.removed})
            # A prompt that runs may need one for what it saves next.
            are_gone = bool(empty) and _is_idle(client)
            if are_gone and not self.dry_run:
                shelf.remove_folders(empty)
        except OSError as error:
            return CleanedServer(server, folder, reason=refusal_of(error))
        return CleanedServer(server, folder, found, len(empty), are_gone, found.refusal)


def _is_idle(client: ComfyUI) -> bool:
    try:
        return client.queue_remaining() == 0
    except TransientError:
        return False
