"""An output root, where an output appears under its name whole, decoded and synced, or not at all.

Until then it is a `.part` file, in a directory beside that name: `fetch` fills it and syncs it, `place` gives it the
name and makes that durable, and only then may a checkpoint say that it is there.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import DiskFull, OutputRefused, StopBurst
from orchestrator.formatting import folded, spoken_bytes
from orchestrator.outputs import containers, names
from orchestrator.outputs.claims import Claims
from orchestrator.outputs.fetched import Fetched, Own, Placed, Sidecar, Waiting
from orchestrator.outputs.ownership import refuse_foreign
from orchestrator.outputs.root import root_at
from orchestrator.outputs.writers import Writer, download_of, writer_beside, writer_of
from orchestrator.places import Place, relative_place
from orchestrator.wording import named
from state.disk import Disk, Handle, refusals

if TYPE_CHECKING:
    from orchestrator.comfyui import ComfyUI, OutputFile, OutputText


class Outputs:
    """One output root. Any number of threads fetch, one at a time places; `abandon` may come from any."""

    def __init__(
        self, output_dir: Place, *, disk: Disk | None = None, overwrite: bool = False, claims: Claims | None = None
    ) -> None:
        """`overwrite` replaces whatever file is there but what the `claims` spare. Several directories share those."""
        self.output_dir = output_dir
        self._disk = disk or Disk()
        self._overwrite = overwrite
        self._claims = claims or Claims()
        self._root = root_at(output_dir, disk=self._disk, claims=self._claims)
        self._guard = threading.RLock()
        """Held while a temporary file is made, renamed or removed: never while one is filled, synced or sent."""
        self._committing: contextlib.AbstractContextManager[object] = (
            self._guard if self._root.commits_one_by_one else contextlib.nullcontext()
        )
        self._in_flight: set[Path] = set()
        self.placed_count = 0
        """How many items' outputs it gave their names."""
        self._abandoned = False

    def target_names(self, subfolder: str, filename: str, extensions: Sequence[str]) -> list[Place]:
        """The place of each output, one for each extension: `stem.png`, `stem_002.png`, …. Errors: OutputRefused."""
        return [self.output_dir / name for name in names.output_names(subfolder, filename, extensions)]

    def places(self, subfolder: str, filename: str, extensions: Sequence[str], sidecar: str | None) -> list[Place]:
        """The places of an item's outputs and, last, of its sidecar. Errors: OutputRefused."""
        targets = self.target_names(subfolder, filename, extensions)
        if sidecar is None:
            return targets
        beside = self.output_dir / names.sidecar_name(sidecar)
        if folded(str(beside)) in {folded(str(target)) for target in targets}:
            raise OutputRefused(f"the sidecar {sidecar!r} has the name of an output of the same item; choose another")
        return [*targets, beside]

    def occupied(
        self,
        subfolder: str,
        filename: str,
        extensions: Sequence[str],
        own: Collection[str],
        *,
        prompt_ids: Collection[str] = (),
        sidecar: str | None = None,
    ) -> Place | None:
        """The first place that holds something that is not the item's own, asked before rendering.

        Errors: OutputRefused and DiskFull where no output of this item can be placed at all.
        """
        mine = Own(own, tuple(prompt_ids))
        targets = self.places(subfolder, filename, extensions, sidecar)
        folder = self.output_dir / names.checked_folder(subfolder)
        for used in dict.fromkeys((folder, *(target.parent for target in targets))):
            self._root.refuse_blocked(used)
        return next((target for target in targets if self._is_taken(target, mine, sha256=None)), None)

    def refuse_blocked(self) -> None:
        """What shows of the root without writing to it. Errors: DiskFull."""
        self._root.refuse_blocked(self.output_dir)

    def promised(
        self, key: str, subfolder: str, filename: str, extensions: Sequence[str], *, sidecar: str | None = None
    ) -> str | None:
        """Keep the places of this item's outputs for it until they are placed; the other item that has one of them.

        Names that only some disks take for one are no reason to refuse here: what is in the way then shows later.
        """
        return self._claims.promise(key, self.places(subfolder, filename, extensions, sidecar))

    def in_the_way(self, place: Place) -> str:
        """What to say of a place that is occupied."""
        if self._overwrite and not self._root.is_directory(place):
            return f"{place} already belongs to another item; give one of the two another filename or subfolder"
        return (
            f"{place} already exists and does not belong to this item; "
            "move it away, choose another output directory (`burst update --output`), or run with "
            f"{named('overwrite', True)}"
        )

    def fetch(
        self,
        client: ComfyUI,
        files: Sequence[OutputFile],
        texts: Sequence[OutputText],
        *,
        subfolder: str,
        filename: str,
        prompt_id: str,
        own: Collection[str],
        prompt_ids: Collection[str] = (),
        must_be_own: bool = False,
        sidecar: Sidecar | None = None,
    ) -> Fetched:
        """Bring every output of a prompt into temporary files beside their places, in order: files, texts, sidecar.

        Threads may do it at once for different prompts. The contents are durable when it returns; on any error nothing
        of it is left. A file in the way is replaced later only if it is the item's own: `own` (recorded paths) names
        it, it has the same bytes, or its graph saved under one of the item's `prompt_ids`. A file of another format
        than the server's name promises gets the extension of what it is. With `must_be_own` a
        download whose graph saved under another prefix is damaged: for files that are known by their names alone.
        Errors: OutputRefused, OutputDamaged, DiskFull, StopBurst after `abandon`, and those of `ComfyUI.view`.
        """
        for file in files:
            names.check_served(file.filename, file.subfolder)
        extensions = [names.server_extension(file.filename) for file in files] + [".txt"] * len(texts)
        targets = self.places(subfolder, filename, extensions, sidecar.path if sidecar is not None else None)
        writers = [download_of(client, file) for file in files] + [writer_of(text.text) for text in texts]
        mine = Own(own, (prompt_id, *prompt_ids))
        if not writers:
            return Fetched((), mine)
        for folder in dict.fromkeys(target.parent for target in targets):
            self._root.prepare(folder)
        with contextlib.ExitStack() as undoing:
            waiting: list[Waiting] = []
            if sidecar is not None:
                writers.append(writer_beside(sidecar, waiting))
            for number, (target, write) in enumerate(zip(targets, writers, strict=True), 1):
                temporary = self._root.staging(target.parent) / names.temporary_name(prompt_id, number)
                undoing.callback(self._remove, temporary)
                waiting.append(self._fill(temporary, target, write, is_served=number <= len(files)))
            if must_be_own:
                for file, one in zip(files, waiting, strict=False):
                    with self._still_there(one.temporary):
                        refuse_foreign(file, one.temporary, prompt_id)
            undoing.pop_all()
        return Fetched(tuple(waiting), mine)

    def place(self, fetched: Sequence[Fetched]) -> list[list[Placed] | OutputRefused]:
        """Give the outputs of some items their names; one outcome for each, in order.

        When it returns, names and contents of what was placed are durable, at one sync for each directory. A refused
        item has all its outputs removed and hinders no other. No temporary file of any of them is left, also on errors;
        what had its name by then keeps it, and is the item's own when it is fetched again.
        Errors: DiskFull, SyncFailed, StopBurst after `abandon`.
        """
        try:
            outcomes = self._root.each(self._renamed, fetched)
            named = [one for one, outcome in zip(fetched, outcomes, strict=True) if isinstance(outcome, list)]
            self._root.settle(dict.fromkeys(waiting.target.parent for one in named for waiting in one.waiting))
            with self._guard:
                self.placed_count += len(named)
        finally:
            for one in fetched:
                self.discard(one)
        return outcomes

    def discard(self, fetched: Fetched) -> None:
        """Remove its temporary files. Safe to repeat, also after `place`."""
        for waiting in fetched.waiting:
            self._remove(waiting.temporary)

    def remove_leftovers(self, subfolder: str, prompt_ids: Collection[str]) -> int:
        """Remove the `.part` files that killed bursts left for these prompts; returns how many.

        Errors: OutputRefused, DiskFull.
        """
        folder = self._root.staging(self.output_dir / names.checked_folder(subfolder))
        prefixes = tuple(names.temporary_prefix(prompt_id) for prompt_id in prompt_ids)
        if not prefixes:
            return 0
        with refusals(folder):
            there = list(folder.iterdir()) if folder.is_dir() else []
        found = [path for path in there if path.name.startswith(prefixes) and path.suffix == ".part"]
        for path in found:
            self._disk.remove(path)
        return len(found) + self._root.remove_parts(prompt_ids)

    def abandon(self) -> None:
        """Unlink the temporary files in flight; when it returns, nothing more will be placed. For the last second."""
        with self._guard:
            self._abandoned = True
            for path in tuple(self._in_flight):
                with contextlib.suppress(DiskFull):
                    self._disk.remove(path)

    def _fill(self, temporary: Path, target: Place, write: Writer, *, is_served: bool) -> Waiting:
        """`is_served`: its extension is the server's, and gives way to that of what it is."""
        with self._create(temporary) as handle, self._still_there(temporary):
            # A burst that was killed may have left a part of it.
            handle.truncate(0)
            written = write(handle, self._check_wanted)
            handle.sync()
            if is_served:
                extension = containers.extension_of(target.suffix, written.start)
                target = target.parent / f"{target.name.removesuffix(target.suffix)}{extension}"
        most = self._root.largest_bytes
        if most is not None and written.size > most:
            raise OutputRefused(
                f"{target} would have {spoken_bytes(written.size)}, more than object storage takes at once "
                f"({spoken_bytes(most)}); make it smaller, or save it to a directory"
            )
        return Waiting(temporary, target, Placed(self._relative(target), written.size, written.sha256))

    def _create(self, temporary: Path) -> Handle:
        with self._guard:
            self._check_wanted()
            self._in_flight.add(temporary)
            # Opened to append, so that writing goes on at 0 after a truncation.
            try:
                return self._disk.append_to(temporary, create=True)
            except FileNotFoundError:
                self._root.make_staging(temporary.parent)
                return self._disk.append_to(temporary, create=True)

    def _renamed(self, fetched: Fetched) -> list[Placed] | OutputRefused:
        """Looked at one item after the other, so that one of two items with the same name is refused."""
        try:
            for one in fetched.waiting:
                if self._is_taken(one.target, fetched.own, sha256=one.placed.sha256):
                    return OutputRefused(self.in_the_way(one.target))
        except OutputRefused as refused:
            return refused
        new: list[Place] = []
        for one in fetched.waiting:
            with self._committing, self._still_there(one.temporary):
                self._check_wanted()
                if not self._rename(one, fetched.own, new):
                    for target in new:
                        self._root.remove(target)
                    return OutputRefused(self.in_the_way(one.target))
                with self._guard:
                    self._in_flight.discard(one.temporary)
            self._claims.filled(one.target)
            if self._overwrite:
                self._claims.spare([one.target])
        return [one.placed for one in fetched.waiting]

    def _rename(self, one: Waiting, own: Own, new: list[Place]) -> bool:
        """Whether it got its name: another state's burst may have taken that since it was looked at.

        Appends it to `new` where nothing had the name before.
        """
        try:
            self._root.commit(one, replace=False, prompt_id=own.prompt_ids[0])
        except FileExistsError:
            if self._is_taken(one.target, own, sha256=one.placed.sha256):
                return False
            self._root.commit(one, replace=True, prompt_id=own.prompt_ids[0])
        else:
            new.append(one.target)
        return True

    def _relative(self, target: Place) -> Path:
        return relative_place(target, self.output_dir)

    def _is_taken(self, target: Place, own: Own, *, sha256: str | None) -> bool:
        is_own = bool(own.paths) and self._relative(target).as_posix() in own.paths
        replaceable = is_own or (self._overwrite and not self._claims.is_spared(target))
        return self._root.holds_another(target, replaceable=replaceable, sha256=sha256, prompt_ids=own.prompt_ids)

    def _check_wanted(self) -> None:
        if self._abandoned:
            raise StopBurst("the burst was stopped; the outputs will be collected by the next one")

    @contextlib.contextmanager
    def _still_there(self, temporary: Path) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            self._check_wanted()
            raise DiskFull(f"{temporary} was removed while it was in use; run again") from error

    def _remove(self, temporary: Path) -> None:
        with self._guard:
            if temporary in self._in_flight:
                self._in_flight.discard(temporary)
                with contextlib.suppress(DiskFull):
                    self._disk.remove(temporary)
