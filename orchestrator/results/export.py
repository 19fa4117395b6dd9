"""`burst export`: images with their captions as a folder that training tools and Hugging Face's ImageFolder read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from orchestrator.errors import EXIT_DONE, EXIT_ITEMS_FAILED, UsageError
from orchestrator.formatting import counted, first_of, in_lines
from orchestrator.outputs.containers import Kind, kind_of
from orchestrator.places import Place
from orchestrator.results.captions import PROMPT, Captions, read_captions
from orchestrator.results.dataset_folder import METADATA, Content, DatasetFolder
from orchestrator.results.rendered import Rendered
from orchestrator.results.selection import Selection, open_selection
from orchestrator.settings import Overrides
from state.disk import Disk

if TYPE_CHECKING:
    from orchestrator.documents.results import ExportDocument

_CHUNK_BYTES = 1 << 20
_SHOWN = 5


@dataclass
class Exported:
    """What an export did."""

    folder: Path
    images: int = 0
    written: int = 0
    """Of these; the others were there."""
    kept: list[str] = field(default_factory=list)
    """Files that somebody changed since: left as they are."""
    missing: list[str] = field(default_factory=list)
    """Images whose files are not there."""
    left_out: int = 0
    """Files that are no images: videos, audio and so on."""
    removed: int = 0
    """Files of an earlier export whose images are not selected any more."""

    @property
    def exit_code(self) -> int:
        """1 where files were missing."""
        return EXIT_ITEMS_FAILED if self.missing else EXIT_DONE

    def as_json(self) -> ExportDocument:
        return {
            "schema": "burst.export/1",
            "folder": str(self.folder),
            "images": self.images,
            "written": self.written,
            "kept": self.kept,
            "missing": self.missing,
            "left_out": self.left_out,
            "removed": self.removed,
        }

    def as_text(self) -> str:
        lines = [f"{counted(self.images, 'image')} in {self.folder}, {self.written} of them new or changed"]
        if self.removed:
            lines.append(f"Removed {counted(self.removed, 'file')} of images that are not selected any more")
        if self.kept:
            lines.append(f"Kept as somebody changed them: {first_of(self.kept, _SHOWN)}")
        if self.left_out:
            lines.append(f"Left out {counted(self.left_out, 'file')} that are no images")
        if self.missing:
            lines.append(f"Missing, so not exported: {first_of(self.missing, _SHOWN)}. `burst verify` lists them")
        return in_lines(lines)


def export_dataset(
    state: Path,
    words: Sequence[str],
    folder: Path,
    *,
    caption: str = PROMPT,
    link: bool = False,
    overrides: Overrides | None = None,
    disk: Disk | None = None,
) -> Exported:
    """Copy the images of a batch or a search into `folder`, each with a caption of its name, and `metadata.jsonl`.

    `caption`: `prompt`, or a file with `{prompt}` and other fields. `link`: symbolic links in place of copies. Safe to
    repeat, also after a kill: what is there stays, and what is no longer selected goes. Nothing that this did not
    write is replaced or removed. Errors: UsageError, also for somebody else's file; DiskFull, LockHeld, StateError,
    OutputRootUnusable.
    """
    if not "".join(words).strip():
        raise UsageError("name a batch or a search; is:image finds every image")
    captions = read_captions(caption)
    with open_selection(state, words, overrides=overrides, names_batch=True) as selection:
        _refuse_nothing(selection)
        selected = f"batch:{selection.batch}" if selection.batch is not None else selection.text
        done = Exported(folder)
        with DatasetFolder(folder, state=str(state.resolve()), selection=selected, disk=disk) as place:
            place.put_stream(METADATA, _lines(selection, place, captions, done, link=link))
            done.removed = place.remove_others()
            place.finish()
        return done


def _refuse_nothing(selection: Selection) -> None:
    if next(iter(selection), None) is not None:
        return
    if selection.batch is not None:
        raise UsageError(f"the batch {selection.text} has no images; `burst status {selection.text}` shows why")
    raise UsageError(f"nothing to export: no batch is called {selection.text!r}, and no image matches it")


def _lines(
    selection: Selection, place: DatasetFolder, captions: Captions, done: Exported, *, link: bool
) -> Iterator[bytes]:
    """The lines of `metadata.jsonl`; each once its image and its caption are in place."""
    for one in selection:
        if kind_of(one.output.path) is not Kind.IMAGE:
            done.left_out += 1
            continue
        image = f"{one.item.key}\0{one.output.path}"
        name = place.name_for(image, one.output.path)
        source = selection.walk.placement.found(one.item, one.output.path)
        if source is not None:
            _put_image(
                place, name, Content(_chunks(source), one.output.sha256, _link(source) if link else None), image, done
            )
        elif not place.keep(name, one.output.sha256):
            done.missing.append(selection.walk.shown_file(one))
            continue
        done.images += 1
        text = _put_caption(place, f"{name.rpartition('.')[0]}.txt", captions.of(one), done)
        line = json.dumps(metadata(one, file_name=name, text=text), ensure_ascii=False)
        yield line.encode("utf-8", "replace") + b"\n"


def _put_image(place: DatasetFolder, name: str, content: Content, image: str, done: Exported) -> None:
    placed = place.put(name, content, image=image)
    done.written += placed == "written"
    if placed == "kept":
        done.kept.append(name)


def _link(source: Place) -> Path:
    """Where a link leads. Errors: UsageError."""
    if not isinstance(source, Path):
        raise UsageError(f"{source} lies in object storage, where no link can lead; copy it")
    return source.absolute()


def _put_caption(place: DatasetFolder, name: str, text: str, done: Exported) -> str:
    """The caption that is there afterwards: one that a person wrote over ours stays."""
    data = f"{text}\n".encode("utf-8", "replace")
    if place.put(name, Content([data], hashlib.sha256(data).hexdigest())) != "kept":
        return text
    done.kept.append(name)
    return place.text_of(name)


def _chunks(source: Place) -> Iterator[bytes]:
    stream: IO[bytes]
    with source.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk


def metadata(one: Rendered, *, file_name: str, text: str) -> dict[str, Any]:
    """A line of `metadata.jsonl`: the same columns for all images, as ImageFolder needs them."""
    return {
        "file_name": file_name,
        "text": text,
        "prompt": one.prompt,
        "negative": one.text("negative"),
        "model": one.text("model"),
        "loras": [lora.as_text() for lora in one.loras],
        "seed": one.seed,
        "sampler": one.text("sampler"),
        "scheduler": one.text("scheduler"),
        "steps": one.number("steps"),
        "cfg": one.number("cfg"),
        "width": one.number("width"),
        "height": one.number("height"),
        "seconds": one.item.seconds,
        "batch": one.item.batch,
        "item": one.item.key,
        "tags": list(one.item.tags),
        "favorite": one.favorite,
    }
