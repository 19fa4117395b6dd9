"""One bucket of an S3 storage, through obstore, which is imported with the first request.

Nothing is guessed: a request without an answer is repeated, and whether something is there is known, or an error
says why not. What a person reads names the bucket and the storage's own words, never a key.
"""

from __future__ import annotations

import io
import itertools
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from orchestrator.errors import OutputRootAway, OutputRootUnusable
from orchestrator.object_storage import NOT_INSTALLED, PAGE, SCHEME
from orchestrator.object_storage.access import bucket_settings, shown_endpoint

if TYPE_CHECKING:
    from obstore.store import S3Store

    from state.patience import Patience

_T = TypeVar("_T")

SHA256, PROMPT_ID = "burst-sha256", "burst-prompt-id"
"""The metadata of what a run has put there."""
LARGEST_IN_ONE_BYTES = 32 << 20
"""What is larger is sent in parts, and is not held in memory."""
LARGEST_BYTES = 5 << 30
"""Of what a storage copies at once."""
_PIECE_BYTES = 1 << 20
_CONNECT_SECONDS = 5
_REQUEST_SECONDS = 120
_TRIES = 3
_ERROR_CODE = re.compile(r"<Code>([A-Za-z0-9]{1,64})</Code>")
_ERROR_MESSAGE = re.compile(r"<Message>([^<]{1,300})</Message>")
_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_OF_CREDENTIALS = ("169.254.169.254", "169.254.170.2", "WebIdentity", "credential")
_OF_CERTIFICATES = ("certificate", "CertNotValid", "UnknownIssuer")
_OF_REGIONS = "without LOCATION"
_WHY_AWAY = {"dns error": "its name is not known here", "InvalidContentType": "it does not speak TLS there"}
_IN_PASSING = {
    "RequestTimeout",
    "SlowDown",
    "InternalError",
    "ServiceUnavailable",
    "OperationAborted",
    "ConditionalRequestConflict",
}
_ADVICE = {
    "NoSuchBucket": "make it, or choose another with `burst update --output`",
    "InvalidAccessKeyId": "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "SignatureDoesNotMatch": "check AWS_SECRET_ACCESS_KEY and AWS_REGION",
    "ExpiredToken": "renew the keys, then run again",
    "AccessDenied": "the keys need s3:ListBucket, GetObject, PutObject and DeleteObject",
    "PermanentRedirect": "set AWS_REGION to the bucket's region",
}


@dataclass(frozen=True)
class Looked:
    """An object, as the storage tells of it without its contents."""

    size_bytes: int
    modified_ns: int
    attributes: Mapping[str, str]

    @property
    def sha256(self) -> str | None:
        """Of what a run put there; None where somebody else did, or where it was put there in parts."""
        return self.attributes.get(SHA256)

    @property
    def prompt_id(self) -> str | None:
        return self.attributes.get(PROMPT_ID)


@dataclass(frozen=True)
class Listed:
    """An object, as a list has it."""

    key: str
    size_bytes: int
    modified_ns: int


class Bucket:
    """One output root in a bucket. Any thread may use it.

    All methods raise OutputRootUnusable where the storage refuses, and OutputRootAway, which is one, where it does not
    answer.
    """

    def __init__(self, name: str, prefix: str, *, patience: Patience | None = None) -> None:
        """`prefix`: of the root. `patience`: None to try for some seconds only."""
        self.name = name
        self._prefix = prefix
        self._patience = patience
        self._mutex = threading.Lock()
        self._store: S3Store | None = None
        self._is_checked = False
        self._where = ""
        """Where the storage is, unless it is Amazon's."""

    @property
    def root(self) -> str:
        return f"{SCHEME}{self.name}/{self._prefix}" if self._prefix else f"{SCHEME}{self.name}"

    def check(self) -> None:
        """Is the bucket there, and may this process list it? Looked at once.

        Otherwise a bucket that is not there reads as an empty one.
        """
        if not self._is_checked:
            self._answer(lambda store: _obstore().list_with_delimiter(store, self._prefix or None))
            self._is_checked = True

    def look(self, key: str) -> Looked | None:
        """None where no object has this name."""
        self.check()
        if not key:
            return None
        try:
            found = self._answer(lambda store: _obstore().get(store, key, options={"head": True}))
        except FileNotFoundError:
            return None
        meta = found.meta
        attributes = {str(name): str(value) for name, value in found.attributes.items()}
        return Looked(meta["size"], int(meta["last_modified"].timestamp()) * 1_000_000_000, attributes)

    def open(self, key: str) -> IO[bytes]:
        """To read and seek. Errors: FileNotFoundError too; OSError while reading where another object has its name."""
        self.check()
        meta = self._answer(lambda store: _obstore().head(store, key))
        return io.BufferedReader(_Contents(self, key, meta["size"], meta["e_tag"]), _PIECE_BYTES)

    def piece(self, key: str, start: int, end: int, e_tag: str | None) -> memoryview:
        """Some bytes of the object with this ETag. Errors: FileNotFoundError, OSError where it has another now."""
        options: dict[str, Any] = {"range": (start, end)}
        if e_tag is not None:
            options["if_match"] = e_tag
        try:
            return self._answer(lambda store: memoryview(_obstore().get(store, key, options=options).bytes()))
        except _exceptions().PreconditionError as error:
            raise OSError(f"{SCHEME}{self.name}/{key} changed while it was read") from error

    def put(self, key: str, data: bytes | Path, *, replace: bool, attributes: Mapping[str, str] | None = None) -> None:
        """Whole or not at all. Without `replace` a free name only: of two who put at once, one gets FileExistsError.

        That may be the name's owner itself, whose first answer was lost: look. A large file goes to `parts` first.
        """
        mode = "overwrite" if replace else "create"

        def send(store: S3Store) -> None:
            _obstore().put(
                store,
                key,
                data,
                mode=mode,
                attributes=dict(attributes or {}),
                use_multipart=None if replace else False,
                chunk_size=LARGEST_IN_ONE_BYTES // 2,
                max_concurrency=4,
            )

        self._exclusively(key, send)

    def put_in_parts(self, key: str, path: Path, *, aside: str) -> None:
        """The same for a free name and a large file: sent to the name `aside`, copied to `key` only if that is free."""
        try:
            self._answer(lambda store: _obstore().put(store, aside, path, chunk_size=LARGEST_IN_ONE_BYTES // 2))
            self._exclusively(key, lambda store: _obstore().copy(store, aside, key, overwrite=False))
        finally:
            self.delete(aside)

    def copy(self, source: str, key: str, *, replace: bool) -> None:
        """Whole or not at all; without `replace` to a free name only. Errors: FileNotFoundError, FileExistsError.

        The name's owner may be a copy of before, whose answer was lost: look. Attributes come along, but for those of
        a large object without `replace`: no storage copies them to a free name only.
        """
        found = None if replace else self.look(source)
        if found is not None and found.size_bytes <= LARGEST_IN_ONE_BYTES:
            with self.open(source) as stream:
                self.put(key, stream.read(), replace=False, attributes=found.attributes)
        else:
            self._exclusively(key, lambda store: _obstore().copy(store, source, key, overwrite=replace))

    def delete(self, key: str) -> None:
        """No error where it is not there."""
        try:
            self._answer(lambda store: _obstore().delete(store, key))
        except FileNotFoundError:
            return

    def holds_any(self, key: str) -> bool:
        """Whether some object lies below this name."""
        return bool(self.keys(key, most=1))

    def keys(self, key: str, *, most: int = PAGE) -> list[str]:
        """Those of the first objects below this name."""

        def first(store: S3Store) -> list[str]:
            for found in _obstore().list(store, key or None, chunk_size=PAGE):
                return [str(one["path"]) for one in itertools.islice(found, most)]
            return []

        return self._answer(first)

    def every(self, key: str) -> Iterator[Listed]:
        """All objects below this name."""

        def listed(store: S3Store) -> list[Listed]:
            chunks = _obstore().list(store, f"{key}/", chunk_size=PAGE)
            return [
                Listed(str(one["path"]), one["size"], int(one["last_modified"].timestamp()) * 1_000_000_000)
                for chunk in chunks
                for one in chunk
            ]

        self.check()
        yield from self._answer(listed)

    def sizes(self, key: str, *, most: int) -> dict[str, int] | None:
        """Key → bytes of all objects below this name, a request for each `PAGE`; None for more than `most`."""

        def listed(store: S3Store) -> dict[str, int] | None:
            found: dict[str, int] = {}
            for chunk in _obstore().list(store, f"{key}/" if key else None, chunk_size=PAGE):
                found.update((str(one["path"]), one["size"]) for one in chunk)
                if len(found) > most:
                    return None
            return found

        self.check()
        return self._answer(listed)

    def folders(self, key: str) -> list[str]:
        found = self._answer(lambda store: _obstore().list_with_delimiter(store, key or None))
        return sorted(str(prefix).rstrip("/").rpartition("/")[2] for prefix in found["common_prefixes"])

    def _exclusively(self, key: str, send: Callable[[S3Store], object]) -> None:
        try:
            self._answer(send)
        except _exceptions().AlreadyExistsError as error:
            raise FileExistsError(17, "the name is taken", f"{SCHEME}{self.name}/{key}") from error

    def _answer(self, question: Callable[[S3Store], _T]) -> _T:
        """Ask until there is an answer, or nobody waits for it any more."""
        store = self._opened()
        pause: Callable[[], bool] | None = None
        for attempt in itertools.count():
            try:
                return question(store)
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise self._unusable(error) from error
                raise
            except (_exceptions().AlreadyExistsError, _exceptions().PreconditionError):
                raise
            except _exceptions().BaseError as error:
                if not _is_away(error):
                    raise self._unusable(error) from error
                reason = f"{self.root}: {_said(error, self._where)}"
                if attempt == 0:
                    continue  # obstore repeats no write whose answer it has lost
                if pause is None and self._patience is not None:
                    pause = self._patience.begin(reason)
                if pause is None or not pause():
                    raise OutputRootAway(self.root, f"{reason}; try again when it does") from error
        raise AssertionError

    def _unusable(self, error: Exception) -> OutputRootUnusable:
        code = "PermanentRedirect" if _OF_REGIONS in str(error) else _code(error)
        advice = _ADVICE.get(code or "", "check the bucket, its storage (AWS_ENDPOINT_URL_S3) and the keys")
        if code is None and any(sign in str(error) for sign in _OF_CREDENTIALS):
            return OutputRootUnusable(
                self.root,
                f"{self.root}: no keys for this storage; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
                "AWS_PROFILE",
            )
        return OutputRootUnusable(self.root, f"{self.root}: {_said(error, self._where)}; {advice}")

    def _opened(self) -> S3Store:
        with self._mutex:
            if self._store is None:
                try:
                    from obstore.store import S3Store
                except ImportError as error:
                    raise OutputRootUnusable(self.root, f"{self.root}: {NOT_INSTALLED}") from error
                config, is_plain = bucket_settings()
                self._where = shown_endpoint(config)
                try:
                    self._store = S3Store(
                        self.name,
                        config=config,  # type: ignore[arg-type]
                        client_options={
                            "allow_http": is_plain,
                            "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
                            "timeout": timedelta(seconds=_REQUEST_SECONDS),
                        },
                        retry_config={
                            "max_retries": _TRIES - 1,
                            "retry_timeout": timedelta(seconds=_CONNECT_SECONDS * _TRIES),
                        },
                    )
                except (ValueError, _exceptions().BaseError) as error:
                    raise self._unusable(error) from error
            return self._store


class _Contents(io.RawIOBase):
    """What an object holds, fetched in pieces."""

    def __init__(self, bucket: Bucket, key: str, size_bytes: int, e_tag: str | None) -> None:
        self._bucket, self._key, self._size, self._e_tag = bucket, key, size_bytes, e_tag
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, into: Any) -> int:
        view = memoryview(into).cast("B")
        piece = self._piece(len(view))
        view[: len(piece)] = piece
        return len(piece)

    def readall(self) -> bytes:
        return bytes(self._piece(self._size))

    def _piece(self, most: int) -> memoryview:
        end = min(self._size, self._at + most)
        if end <= self._at:
            return memoryview(b"")
        piece = self._bucket.piece(self._key, self._at, end, self._e_tag)
        self._at += len(piece)
        return piece


def _is_away(error: Exception) -> bool:
    """Whether the same request may be answered later: nothing came, or the storage is busy."""
    text = str(error)
    if _code(error) in _IN_PASSING:
        return True
    if any(sign in text for sign in (*_OF_CREDENTIALS, *_OF_CERTIFICATES)):
        return False
    status = _STATUS.search(text)
    if status is not None:
        return int(status[1]) >= 500 or int(status[1]) in (408, 429)
    return "HTTP error" in text or "error sending request" in text or "timed out" in text


def _code(error: Exception) -> str | None:
    found = _ERROR_CODE.search(str(error))
    return found[1] if found else None


def _said(error: Exception, where: str) -> str:
    """The storage's own words, or why there are none. Headers, keys and what was signed are left out."""
    text = str(error)
    code, message, status = _code(error), _ERROR_MESSAGE.search(text), _STATUS.search(text)
    if code is not None:
        return f"{code}: {message[1].rstrip('.')}" if message else code
    if status is not None:
        return f"the storage answers {status[1]}"
    if any(sign in text for sign in _OF_CERTIFICATES):
        return "its certificate is not trusted here"
    if _OF_REGIONS in text:
        return "the bucket is in another region"
    if _is_away(error):
        why = next((f" ({words})" for sign, words in _WHY_AWAY.items() if sign in text), "")
        return f"the storage{where} does not answer{why}"
    return text.split("\n", 1)[0].split("http", 1)[0].strip(" :-")[:200] or type(error).__name__


def _obstore() -> Any:
    import obstore

    return obstore


def _exceptions() -> Any:
    from obstore import exceptions

    return exceptions
