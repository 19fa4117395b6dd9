"""From the server's files to the user's: name, download, verify, place.

An output appears under its name whole, decoded and synced, or not at all. Until then it is a `.part` file beside it.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import DiskFull, OutputDamaged, OutputRefused, StopBurst
from orchestrator.outputs import names
from orchestrator.outputs.fetch import Fetch
from orchestrator.outputs.pictures import embedded_graph
from state.disk import Disk, Handle, refusals
from state.item import OutputRecord

if TYPE_CHECKING:
    from orchestrator.comfyui import ComfyUI, OutputFile, OutputText

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Placed:
    """An output in its place. `path` is relative to the output directory."""

    path: Path
    bytes: int
    sha256: str

    def as_record(self) -> OutputRecord:
        return OutputRecord(path=self.path.as_posix(), bytes=self.bytes, sha256=self.sha256)


@dataclass(frozen=True)
class Problem:
    """What is wrong with a recorded output. `kind`: missing, cut, changed or refused."""

    path: str
    kind: str
    message: str


@dataclass(frozen=True)
class _Waiting:
    """A synced temporary file and where it goes."""

    temporary: Path
    target: Path
    placed: Placed


@dataclass(frozen=True)
class _Own:
    """How an item knows its own files."""

    paths: Collection[str]
    prompt_ids: tuple[str, ...]


class Outputs:
    """The output directory. One thread collects; `abandon` may come from another."""

    def __init__(self, output_dir: Path, *, disk: Disk | None = None, overwrite: bool = False) -> None:
        self.output_dir = output_dir
        self._disk = disk or Disk()
        self._overwrite = overwrite
        self._guard = threading.RLock()
        self._in_flight: set[Path] = set()
        self._abandoned = False

    def target_names(self, subfolder: str, filename: str, extensions: Sequence[str]) -> list[Path]:
        """The place of each output, one for each extension: `stem.png`, `stem_002.png`, …. Errors: OutputRefused."""
        return [self.output_dir / name for name in names.output_names(subfolder, filename, extensions)]

    def occupied(
        self,
        subfolder: str,
        filename: str,
        extensions: Sequence[str],
        own: Collection[str],
        *,
        prompt_ids: Collection[str] = (),
    ) -> Path | None:
        """The first place that holds something that is not the item's own, asked before rendering."""
        mine = _Own(own, tuple(prompt_ids))
        targets = self.target_names(subfolder, filename, extensions)
        return next((target for target in targets if self._is_taken(target, mine, sha256=None)), None)

    def collect(
        self,
        client: ComfyUI,
        entry_files: Sequence[OutputFile],
        texts: Sequence[OutputText],
        *,
        subfolder: str,
        filename: str,
        prompt_id: str,
        own: Collection[str],
        prompt_ids: Collection[str] = (),
        must_be_own: bool = False,
    ) -> list[Placed]:
        """Bring every output of a prompt to its place, in order, texts last. Safe to repeat.

        A file in the way is replaced only if it is the item's own: `own` (recorded paths) names it, it has the same
        bytes, or its graph saved under one of the item's `prompt_ids`. With `must_be_own` a download whose graph saved
        under another prefix is damaged: for files that are known by their names alone. When it returns, names and
        contents are durable; on any error no temporary file is left.
        Errors: OutputRefused, OutputDamaged, DiskFull, StopBurst after `abandon`, and those of `ComfyUI.view`.
        """
        files = _worth_keeping(entry_files)
        for file in files:
            names.check_served(file.filename, file.subfolder)
        extensions = [names.server_extension(file.filename) for file in files] + [".txt"] * len(texts)
        targets = self.target_names(subfolder, filename, extensions)
        writers = [_download_of(client, file) for file in files] + [_write_of(text) for text in texts]
        if not targets:
            return []
        self._prepare_directory(targets[0].parent)
        with contextlib.ExitStack() as cleaning:
            waiting = []
            for number, (target, write) in enumerate(zip(targets, writers, strict=True), 1):
                temporary = target.parent / names.temporary_name(prompt_id, number)
                cleaning.callback(self._discard, temporary)
                waiting.append(self._fill(temporary, target, write))
            if must_be_own:
                for file, one in zip(files, waiting, strict=False):
                    _refuse_foreign(file, one.temporary, prompt_id)
            return self._place(waiting, _Own(own, (prompt_id, *prompt_ids)))

    def remove_leftovers(self, subfolder: str, prompt_ids: Collection[str]) -> int:
        """Remove the `.part` files that killed bursts left for these prompts; returns how many."""
        folder = self.output_dir / names.checked_folder(subfolder)
        prefixes = tuple(names.temporary_prefix(prompt_id) for prompt_id in prompt_ids)
        if not prefixes or not folder.is_dir():
            return 0
        found = [path for path in folder.iterdir() if path.name.startswith(prefixes) and path.suffix == ".part"]
        for path in found:
            self._disk.remove(path)
        return len(found)

    def abandon(self) -> None:
        """Unlink the temporary files in flight; when it returns, nothing more will be placed. For the last second."""
        with self._guard:
            self._abandoned = True
            for path in tuple(self._in_flight):
                with contextlib.suppress(DiskFull):
                    self._disk.remove(path)

    def _prepare_directory(self, folder: Path) -> None:
        if _is_there(self.output_dir) and not self.output_dir.is_dir():
            raise DiskFull(f"{self.output_dir}: the output directory is a file; move it away or choose another")
        with refusals(folder):
            for place in (folder, *folder.parents):
                if place == self.output_dir:
                    break
                if _is_there(place) and not place.is_dir():
                    raise OutputRefused(f"{place} is a file where a directory should be; move it away")
        self._disk.make_directory(folder)

    def _fill(self, temporary: Path, target: Path, write: _Writer) -> _Waiting:
        with self._create(temporary) as handle:
            size, digest = write(handle, self._check_wanted)
            handle.sync()
        return _Waiting(temporary, target, Placed(target.relative_to(self.output_dir), size, digest))

    def _create(self, temporary: Path) -> Handle:
        with self._guard:
            self._check_wanted()
            self._in_flight.add(temporary)
            # Opened to append, so that writing goes on at 0 after a truncation.
            try:
                return self._disk.append_to(temporary, create=True)
            except FileNotFoundError:
                self._disk.make_directory(temporary.parent)
                return self._disk.append_to(temporary, create=True)

    def _place(self, waiting: Sequence[_Waiting], own: _Own) -> list[Placed]:
        for one in waiting:
            if self._is_taken(one.target, own, sha256=one.placed.sha256):
                raise OutputRefused(
                    f"{one.target} is there already and is not this item's; "
                    "move it away, choose another output directory, or run with --overwrite"
                )
        for one in waiting:
            with self._guard:
                self._check_wanted()
                self._disk.replace(one.temporary, one.target)
        return [one.placed for one in waiting]

    def _is_taken(self, target: Path, own: _Own, *, sha256: str | None) -> bool:
        with refusals(target):
            if target.is_dir():
                return True
            if self._overwrite or not _is_there(target) or target.relative_to(self.output_dir).as_posix() in own.paths:
                return False
            if not target.is_file():
                return True
            return _sha256(target) != sha256 and not _saved_by(target, own.prompt_ids)

    def _check_wanted(self) -> None:
        if self._abandoned:
            raise StopBurst("the burst was told to stop; the outputs will be collected by the next one")

    def _discard(self, temporary: Path) -> None:
        with self._guard:
            self._in_flight.discard(temporary)
            with contextlib.suppress(DiskFull):
                self._disk.remove(temporary)


def verify(output_dir: Path, outputs: Iterable[OutputRecord], *, full: bool) -> list[Problem]:
    """What of an item's recorded outputs is missing or cut; with `full`, also what has other bytes. Changes nothing."""
    return [problem for output in outputs if (problem := _problem(output_dir, output, full=full))]


def _problem(output_dir: Path, output: OutputRecord, *, full: bool) -> Problem | None:
    try:
        path = names.inside(output_dir, output.path)
    except OutputRefused as error:
        return Problem(output.path, "refused", str(error))
    if not path.is_file():
        return Problem(output.path, "missing", f"{path} is missing")
    size = path.stat().st_size
    if size != output.bytes:
        kind = "cut" if size < output.bytes else "changed"
        return Problem(output.path, kind, f"{path} has {size} bytes, {output.bytes} were recorded")
    if full and _sha256(path) != output.sha256:
        return Problem(output.path, "changed", f"{path} has the recorded size but other bytes")
    return None


_Writer = Callable[[Handle, Callable[[], None]], tuple[int, str]]
"""Writes one output into an empty file and returns its size and sha256; calls the second argument between pieces."""


def _worth_keeping(files: Sequence[OutputFile]) -> list[OutputFile]:
    """Files of type temp are previews: wanted only where a prompt leaves nothing else."""
    kept = [file for file in files if file.type != "temp"]
    return kept or list(files)


def _write_of(text: OutputText) -> _Writer:
    def write(handle: Handle, check: Callable[[], None]) -> tuple[int, str]:
        check()
        data = text.text.encode("utf-8", "replace")
        handle.write(data)
        return len(data), hashlib.sha256(data).hexdigest()

    return write


def _download_of(client: ComfyUI, file: OutputFile) -> _Writer:
    def write(handle: Handle, check: Callable[[], None]) -> tuple[int, str]:
        return Fetch(client, file, handle, check).run()

    return write


def _refuse_foreign(file: OutputFile, temporary: Path, prompt_id: str) -> None:
    graph = embedded_graph(temporary)
    if graph is not None and not _saves_under(graph, (prompt_id,)):
        raise OutputDamaged(f"the server's {file.filename} is another prompt's picture, not that of {prompt_id}")


def _saved_by(path: Path, prompt_ids: Collection[str]) -> bool:
    """Does a graph inside this picture say that one of these prompts saved it?"""
    graph = embedded_graph(path)
    return graph is not None and _saves_under(graph, prompt_ids)


def _saves_under(graph: Mapping[str, Any], prompt_ids: Collection[str]) -> bool:
    nodes = [node for node in graph.values() if isinstance(node, dict)]
    inputs = [node["inputs"] for node in nodes if isinstance(node.get("inputs"), dict)]
    prefixes = [prefix for given in inputs if isinstance(prefix := given.get("filename_prefix"), str)]
    return any(prompt_id and prompt_id in prefix for prompt_id in prompt_ids for prefix in prefixes)


def _is_there(path: Path) -> bool:
    """Also a dangling link: renaming over it would destroy it."""
    return path.is_symlink() or path.exists()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
