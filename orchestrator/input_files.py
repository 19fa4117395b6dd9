"""An item's own pictures, as a server is given them: read, checked, and named after what they hold."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from orchestrator.errors import UploadError
from orchestrator.outputs import pictures
from orchestrator.outputs.names import server_extension
from orchestrator.places import ObjectPath, Place
from orchestrator.text_files import read_ordinary
from state.item import ItemOutput

LARGEST_UPLOAD_BYTES = 1 << 30
"""A larger file is a mistake; it would be held in memory."""
FOLDER = "burst"
"""Of the server's input directory: nothing of anybody else's is there."""


Uploads = Mapping[str, str | ItemOutput]
Locate = Callable[[str | ItemOutput], Place]
"""Where an upload lies. Errors: UploadError where that is an output of another item that is not there."""


@dataclass(frozen=True)
class InputFile:
    """One file. Equal bytes have one name, other bytes another: no upload can ever overwrite something else."""

    path: Place
    sha256: str
    data: bytes = field(repr=False)

    @property
    def subfolder(self) -> str:
        return f"{FOLDER}/{self.sha256[:2]}"

    @property
    def filename(self) -> str:
        extension = server_extension(self.path.name)
        # By these names a prompt is taken to make one picture, and a forgotten one is rescued as one.
        if extension in (".png", ".jpg", ".jpeg") and not self._is_single:
            extension = ".frames"
        return self.sha256 + extension

    @property
    def kept_name(self) -> str:
        """As a copy of it is called: its extension tells what it is, as before."""
        return self.sha256 + server_extension(self.path.name)

    @property
    def as_input(self) -> str:
        """The value of a LoadImage's `image`, unless the server gives it another name."""
        return f"{self.subfolder}/{self.filename}"

    @property
    def _is_single(self) -> bool:
        """A PNG that does not move, or a JPEG; what else may hide behind their names may hold many pictures."""
        is_png = self.data.startswith(b"\x89PNG") and b"acTL" not in self.data
        return is_png or self.data.startswith(b"\xff\xd8\xff")


class UploadedFile(msgspec.Struct, frozen=True):
    """The name of a picture by its contents, and what the item's server calls it."""

    wanted: str
    told: str


def read_uploads(uploads: Uploads, locate: Locate) -> dict[str, InputFile]:
    """An item's pictures by binding, each whole. `locate`: where a file lies. Errors: UploadError."""
    found = _read_all(uploads, locate)
    for picture in found.values():
        _refuse_damaged(picture)
    return found


def name_uploads(uploads: Uploads, locate: Locate) -> dict[str, UploadedFile]:
    """As if a server had them under their own names, whether they are whole or not. Errors: UploadError."""
    return names_of(_read_all(uploads, locate))


def refuse_unreadable(uploads: Uploads, locate: Locate) -> None:
    """What shows of an item's images when their files are opened, without reading them. Errors: UploadError."""
    for source in uploads.values():
        _read(locate(source), most_bytes=1)


def names_of(found: Mapping[str, InputFile]) -> dict[str, UploadedFile]:
    """The pictures' own names."""
    return {name: UploadedFile(picture.as_input, picture.as_input) for name, picture in found.items()}


def stand_ins(uploads: Uploads) -> dict[str, UploadedFile]:
    """In place of the pictures' names, for a check that reads no file and before there are any."""
    names = {
        name: source if isinstance(source, str) else f"{source.item}.{source.output}.png"
        for name, source in uploads.items()
    }
    return {name: UploadedFile(path, path) for name, path in names.items()}


def _read_all(uploads: Uploads, locate: Locate) -> dict[str, InputFile]:
    return {name: read_input(locate(source)) for name, source in uploads.items()}


def read_input(path: Place) -> InputFile:
    """One file, whole or damaged. Errors: UploadError."""
    data = _read(path, most_bytes=LARGEST_UPLOAD_BYTES + 1)
    if len(data) > LARGEST_UPLOAD_BYTES:
        raise UploadError(f"{path}: over {LARGEST_UPLOAD_BYTES >> 30} GiB, too large for an upload; make it smaller")
    return InputFile(path, hashlib.sha256(data).hexdigest(), data)


def _read(path: Place, *, most_bytes: int) -> bytes:
    try:
        if isinstance(path, ObjectPath):
            with path.open() as stream:
                return stream.read(most_bytes)
        return read_ordinary(path, most_bytes=most_bytes)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UploadError(f"the file {path} is gone; restore it, then `burst retry`") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UploadError(f"{path}: cannot be read: {reason}; fix it, then `burst retry`") from error


def _refuse_damaged(picture: InputFile) -> None:
    """A server may know formats that are not known here; what has a well-known name must be whole."""
    if picture.path.suffix.lower() not in pictures.WELL_KNOWN:
        return
    if (fault := pictures.fault_of(picture.data)) is not None:
        raise UploadError(f"{picture.path}: {fault}; put a whole image there, then `burst retry`")
