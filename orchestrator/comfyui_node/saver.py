"""The node *Batch Image Saver*: the result under the original's name, and the image's run committed."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from . import chain, listing, pictures
from .position import Record, replace

_SKIP = "skip"


@dataclass(frozen=True)
class Target:
    """Where results go: below ComfyUI's output directory."""

    root: Path
    subfolder: str
    filename: str
    extension: str

    def path(self, number: int) -> Path:
        """Of the picture with this number, from 0; a run that gives one picture uses the original's name as it is."""
        stem, extension = os.path.splitext(self.filename)
        # A BASENAME may have dots too, which begin no extension.
        stem = stem if extension.lower() in listing.EXTENSIONS else self.filename
        return self.root / self.subfolder / (stem + (f"_batch_{number:05}" if number else "") + self.extension)

    def relative(self, number: int) -> str:
        return self.path(number).relative_to(self.root).as_posix()


class BatchImageSaver:
    """Errors reach ComfyUI as exceptions whose text is one message for the user."""

    CATEGORY = "image/batch"
    DESCRIPTION = "Saves results under the names of the originals, below ComfyUI's output directory."
    FUNCTION = "save"
    RETURN_TYPES: ClassVar[tuple[str, ...]] = ()
    OUTPUT_NODE = True
    # One call has all pictures of a run, however the nodes before it hand them on: the last one of them commits.
    INPUT_IS_LIST = True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "image": ("IMAGE",),
                "filename": ("STRING", {"default": "", "tooltip": "The Loader's FILENAME."}),
                "subfolder": ("STRING", {"default": "", "tooltip": "Below ComfyUI's output directory."}),
                "format": (list(pictures.CHOICES), {"default": pictures.SAME}),
                "quality": ("INT", {"default": 95, "min": 1, "max": 100, "tooltip": "Of jpg and webp."}),
                "if_exists": (["overwrite", _SKIP], {"default": "overwrite"}),
            },
            "hidden": {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO", "unique_id": "UNIQUE_ID"},
        }

    def save(
        self,
        image: list[Any],
        filename: list[str],
        subfolder: list[str],
        format: list[str],
        quality: list[int],
        if_exists: list[str],
        prompt: list[Any] | None = None,
        extra_pnginfo: list[Any] | None = None,
        unique_id: list[str] | None = None,
    ) -> dict[str, Any]:
        """Errors: ValueError, OSError, PositionUnreadable."""
        target = _target(filename[0], subfolder[0], format[0])
        texts = _texts((prompt or [None])[0], (extra_pnginfo or [None])[0])
        frames = [frame for batch in image for frame in pictures.frames(batch)]
        target.path(0).parent.mkdir(parents=True, exist_ok=True)
        outputs = [
            _place(target, number, frame, quality=quality[0], texts=texts, keeps=if_exists[0] == _SKIP)
            for number, frame in enumerate(frames)
        ]
        chain.saved(str((unique_id or [""])[0]), outputs)
        places = [os.path.split(output["path"]) for output in outputs]
        return {"ui": {"images": [{"filename": name, "subfolder": where, "type": "output"} for where, name in places]}}


def _place(
    target: Target, number: int, frame: pictures.Array, *, quality: int, texts: dict[str, str], keeps: bool
) -> Record:
    """One picture under its final name, whole and synced; what the position's file says of it."""
    path = target.path(number)
    if keeps and path.exists():
        data = path.read_bytes()
    else:
        data = pictures.encode(frame, target.extension.lower(), quality=quality, texts=texts)
        replace(path, data)
    return {"path": target.relative(number), "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _target(filename: str, subfolder: str, choice: str) -> Target:
    """Errors: ValueError where the name leads elsewhere, or into a directory that the prompt walks."""
    import folder_paths

    root = Path(folder_paths.get_output_directory()).resolve()
    if not filename or filename != os.path.basename(filename.replace("\\", "/")) or filename in (".", ".."):
        raise ValueError(f"filename is {filename!r}: connect the FILENAME of a Batch Image Loader")
    where = (root / subfolder.strip()).resolve()
    if not where.is_relative_to(root):
        raise ValueError(f"subfolder: {subfolder} leads out of the output directory {root}")
    run = chain.current()
    taken = [] if run is None else run.taken
    if any(walk.directory == where for walk, _ in taken):
        raise ValueError(f"{where} is the directory of the input images: choose another subfolder for the results")
    target = Target(root, where.relative_to(root).as_posix(), filename, pictures.extension_for(filename, choice))
    of_others = {path for walk, name in taken for path in walk.outputs_of_others(name)}
    if target.relative(0) in of_others:
        # a.jpg and a.png, both saved as png: neither may take the other's place.
        return Target(target.root, target.subfolder, f"{filename}{target.extension}", target.extension)
    return target


def _texts(prompt: Any, extra_pnginfo: Any) -> dict[str, str]:
    """What SaveImage embeds: the prompt and the browser's workflow."""
    options = getattr(sys.modules.get("comfy.cli_args"), "args", None)
    if getattr(options, "disable_metadata", False):
        return {}
    texts = {} if prompt is None else {"prompt": json.dumps(prompt)}
    return texts | {name: json.dumps(value) for name, value in (extra_pnginfo or {}).items()}
