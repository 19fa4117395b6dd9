"""Places under output roots: local paths, and names in object storage, which read as paths do. A root may be named
`root://NAME`: each host's own configuration says which directory that is.

A local place is a `Path`. An `ObjectPath` has those of its methods that readers of outputs use: whoever gets a `Place`
reads it in one way, wherever it lies.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Literal, TypeAlias, cast

import msgspec

from orchestrator.errors import OutputRootUnusable, UsageError
from orchestrator.host_roots import SCHEME as ROOT
from orchestrator.object_storage import NOT_INSTALLED, SCHEME

if TYPE_CHECKING:
    from orchestrator.object_storage.bucket import Bucket
    from state.patience import Patience

_ANY_SCHEME = re.compile(r"s3:|root:/|[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_BUCKET = re.compile(r"(?!\d+\.\d+\.\d+\.\d+\Z)[a-z0-9](?:[a-z0-9-]|\.(?!\.)){1,61}[a-z0-9]\Z")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")
_WANTED = {"s3": "write s3://BUCKET/PREFIX", "root": "write root://NAME or root://NAME/DIRECTORY"}
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f\\?#*]")


class ObjectStat(msgspec.Struct, frozen=True):
    """What `os.stat` tells of a file, as far as object storage knows it."""

    st_size: int
    """In bytes."""
    st_mtime_ns: int


class ObjectPath:
    """`s3://BUCKET/KEY`: an output root, or a place below one. Nothing is asked of the storage until it is read.

    What reads raises FileNotFoundError where nothing has this name, `OutputRootUnusable` where that cannot be known.
    """

    __slots__ = ("_key", "bucket")

    def __init__(self, bucket: Bucket, key: str) -> None:
        self.bucket = bucket
        self._key = key

    @classmethod
    def parse(cls, text: str, *, patience: Patience | None = None) -> ObjectPath:
        """A root. Errors: UsageError."""
        from orchestrator.object_storage.bucket import Bucket

        name, _, prefix = text.removeprefix(SCHEME).partition("/")
        if "@" in name or ":" in name:
            raise UsageError(
                "a bucket's address holds no keys and no host: write s3://BUCKET/PREFIX, with the keys in "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the host in AWS_ENDPOINT_URL_S3"
            )
        if not _BUCKET.match(name):
            raise UsageError(
                f"{text!r}: {name!r} is not the name of a bucket, which is 3 to 63 lower-case letters, digits, dots "
                "and hyphens; write s3://BUCKET/PREFIX"
            )
        parts = prefix.rstrip("/").split("/") if prefix.strip("/") else []
        if any(part in ("", ".", "..") or _UNUSABLE.search(part) for part in parts):
            raise UsageError(
                f"{text!r}: the prefix must be plain names with one / between them, without . and .. and ? # * \\"
            )
        key = "/".join(parts)
        return cls(Bucket(name, key, patience=patience), key)

    def waiting(self, patience: Patience | None) -> ObjectPath:
        """The same root, whose storage is waited for when it does not answer."""
        return ObjectPath.parse(str(self), patience=patience)

    @property
    def key(self) -> str:
        """Without a slash at either end; empty for the whole bucket."""
        return self._key

    @property
    def name(self) -> str:
        return self._key.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> ObjectPath:
        return type(self)(self.bucket, self._key.rpartition("/")[0])

    @property
    def parents(self) -> Sequence[ObjectPath]:
        """From its own folder up to the bucket."""
        found = [self.parent] if self._key else []
        while found and found[-1].key:
            found.append(found[-1].parent)
        return found

    @property
    def parts(self) -> Sequence[str]:
        return (self.bucket.name, *self._key.split("/")) if self._key else (self.bucket.name,)

    def __truediv__(self, other: str | PurePath) -> ObjectPath:
        added = PurePosixPath(other).as_posix()
        return type(self)(self.bucket, "/".join(part for part in (self._key, added) if part not in ("", ".")))

    def relative_to(self, root: Place) -> Path:
        """Errors: ValueError for what does not lie below it."""
        if not isinstance(root, ObjectPath) or root.bucket.name != self.bucket.name:
            raise ValueError(f"{self} is not below {root}")
        return Path(PurePosixPath("/", self._key).relative_to(PurePosixPath("/", root.key)))

    def is_relative_to(self, root: Place) -> bool:
        try:
            self.relative_to(root)
        except ValueError:
            return False
        return True

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket.name}/{self._key}" if self._key else f"{SCHEME}{self.bucket.name}"

    def __repr__(self) -> str:
        return f"ObjectPath({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectPath) and str(other) == str(self)

    def __hash__(self) -> int:
        return hash(str(self))

    def stat(self) -> ObjectStat:
        """Errors: FileNotFoundError, OutputRootUnusable."""
        found = self.bucket.look(self._key)
        if found is None:
            raise FileNotFoundError(2, "no such object", str(self))
        return ObjectStat(found.size_bytes, found.modified_ns)

    def is_file(self) -> bool:
        """Errors: OutputRootUnusable where that cannot be known."""
        return self.bucket.look(self._key) is not None

    def exists(self) -> bool:
        """Whether an object has this name, or lies below it. Errors: OutputRootUnusable."""
        return self.is_file() or self.bucket.holds_any(self._key)

    def open(self, mode: Literal["rb"] = "rb") -> IO[bytes]:
        """To read and seek. Errors: FileNotFoundError, OutputRootUnusable; OSError where it changes meanwhile."""
        return self.bucket.open(self._key)

    def read_bytes(self) -> bytes:
        """All of it. Errors: as `open`."""
        with self.open() as stream:
            return stream.read()

    def folders(self) -> list[str]:
        """The names of the folders in it, sorted. Errors: OutputRootUnusable."""
        return self.bucket.folders(self._key)

    def write_whole(self, data: bytes) -> None:
        """Replace what is there. Durable on return. Errors: OutputRootUnusable."""
        self.bucket.put(self._key, data, replace=True)

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove it; nobody is told where it is not there. Errors: OutputRootUnusable."""
        self.bucket.delete(self._key)

    def rmdir(self) -> None:
        """Nothing: what holds no object is not there."""


class UnknownRoot(ObjectPath):
    """`root://NAME/…`, which this host cannot find: it reads as a path does, and whatever needs its files is refused.

    Errors, of all that reads: OutputRootUnusable, which names the root and what to write into which file.
    """

    __slots__ = ()

    @classmethod
    def named(cls, name: str, rest: str, *, reason: str) -> UnknownRoot:
        return cls(cast("Bucket", _Nowhere(name, reason)), rest)

    @property
    def reason(self) -> str:
        """Why, and what to do."""
        return cast("_Nowhere", self.bucket).reason

    def waiting(self, patience: Patience | None) -> UnknownRoot:
        """Nobody waits for it: it is not away."""
        return self

    def __str__(self) -> str:
        return f"{ROOT}{self.bucket.name}/{self.key}".rstrip("/")


class _Nowhere:
    """In place of a bucket. Every question to it is refused."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason

    def __getattr__(self, question: str) -> Any:
        """Errors: OutputRootUnusable."""
        raise OutputRootUnusable(f"{ROOT}{self.name}", self.reason)


Place: TypeAlias = Path | ObjectPath
"""An output root, or something below one."""


def is_object_address(text: str) -> bool:
    """Whether this names object storage and no directory."""
    return text.startswith(SCHEME)


def is_named_root(text: str) -> bool:
    """Whether this is a root by its name, which each host's configuration resolves."""
    return text.startswith(ROOT)


def root_named(text: str) -> Place:
    """An output root as a person names it.

    Errors: UsageError for an address that is none, one in object storage without obstore, and a name that this host's
    configuration does not have.
    """
    if is_named_root(text):
        found = _resolved(text)
        if isinstance(found, UnknownRoot):
            raise UsageError(found.reason)
        return found
    if is_object_address(text):
        import importlib.util

        if importlib.util.find_spec("obstore") is None:
            raise UsageError(NOT_INSTALLED)
        return ObjectPath.parse(text)
    if _ANY_SCHEME.match(text):
        scheme = text.partition(":")[0]
        wanted = _WANTED.get(scheme.lower(), "name a directory, s3://BUCKET/PREFIX or root://NAME/DIRECTORY")
        raise UsageError(f"{text!r}: {wanted}; other addresses are not supported")
    return Path(text)


def root_at_home(kept: str, home: Path) -> Place:
    """An output root as a state names it; `UnknownRoot` where this host does not know it."""
    if is_named_root(kept):
        return _resolved(kept)
    return ObjectPath.parse(kept) if is_object_address(kept) else home / kept


def _resolved(text: str) -> Path | UnknownRoot:
    """Errors: UsageError for what is no such address; SettingsError for a host configuration that cannot be used."""
    from orchestrator.host_roots import directory_named

    name, _, rest = text.removeprefix(ROOT).partition("/")
    parts = rest.rstrip("/").split("/") if rest.strip("/") else []
    if not _NAME.match(name) or any(part in ("", ".", "..") or _CONTROL.search(part) for part in parts):
        raise UsageError(
            f"{text!r}: {_WANTED['root']}: a name of letters, digits, - and _, then plain names with one / between them"
        )
    found = directory_named(name)
    return Path(found, *parts) if isinstance(found, Path) else UnknownRoot.named(name, "/".join(parts), reason=found)


def absolute_root(root: Place) -> Place:
    """Whatever the working directory is later."""
    return root if isinstance(root, ObjectPath) else root.absolute()


def relative_place(place: Place, root: Place) -> Path:
    """The way to a place from its root on. Errors: ValueError for what does not lie below it."""
    if isinstance(place, ObjectPath):
        return place.relative_to(root)
    return place.relative_to(local(root))


def local(place: Place) -> Path:
    """Of a place that is known to be local."""
    assert isinstance(place, Path)
    return place


def real_root(root: Place) -> str:
    """The same text for all ways to one root."""
    return str(root) if isinstance(root, ObjectPath) else os.path.realpath(root)
