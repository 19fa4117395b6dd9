"""Thumbnails: WebP copies of at most 320 pixels a side, kept on the disk by the digest of the picture they show."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import re
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import BurstError
from orchestrator.outputs import ffmpeg, media_tiles
from orchestrator.outputs.ownership import sha256_of
from orchestrator.outputs.pictures import on_reading_thread, smaller
from orchestrator.places import ObjectPath, Place
from state.disk import Disk, refusal
from state.write_lock import WriteLock

if TYPE_CHECKING:
    from PIL.Image import Image

_log = logging.getLogger(__name__)

LONGEST_SIDE = 320
"""A browser keeps what it shows decoded: 0.4 MB each. Tiles are about 200 pixels wide."""
LARGEST_CACHE_BYTES = 1 << 30
"""About 100,000 thumbnails. Beyond that the oldest go when the folder is swept."""
_SWEPT_EVERY = 2000
_SWEPT_AFTER_SECONDS = 30.0
"""Once whoever looks has the images of the first page."""
_QUALITY = 80
_LOOK = re.compile(rb"burst (\d+)x(\d+) ([0-9a-f]{96})")
_LOOK_BYTES = 160
"""At the end of a thumbnail's file, where that is said."""
_LOOKS_KEPT = 1 << 14
_DOT = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c6360000000020001"
    "48afa4710000000049454e44ae426082"
)
"""A PNG of one pixel."""
_KEPT_NAME = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True)
class Look:
    """What is known of a picture without decoding it."""

    width: int
    height: int
    """Of its thumbnail, upright."""
    tint: str
    """Sixteen colors of six hexadecimal digits, four rows of four: what it looks like from afar."""


class Thumbnails:
    """Those of one folder, which may be removed at any time. Any thread and any process may ask at once."""

    def __init__(
        self,
        folder: Path,
        *,
        wanted: Callable[[], Collection[str]],
        disk: Disk | None = None,
        later: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        """`wanted`: the digests of all pictures that are there, asked now and then; the thumbnails of others go.

        That reads every record, so no picture waits for it. `later`: calls what it is given then, on another thread.
        """
        self._folder = folder
        self._later = later or _soon
        self._wanted = wanted
        self._disk = disk or Disk()
        self._made = 0
        self.refusal: str | None = None
        """Why the last one could not be kept; None where it was."""
        self._without_frame: set[str] = set()
        """The digests of videos that ffmpeg gives no frame of."""
        self._looks: dict[str, Look] = {}

    def get(self, picture: Place, digest: str) -> bytes | None:
        """The thumbnail of this file, made where it is not kept yet; None where the file does not decode.

        Of a video that of its first frame; None where no ffmpeg gives one, and for audio, 3D models and latents.
        It is kept under `digest` only where that is the SHA-256 of the file, so that no other picture's is ever shown.
        Errors: OSError where the file cannot be read.
        """
        kept = self._kept(digest) if _KEPT_NAME.match(digest) else None
        if kept is not None:
            return kept
        if media_tiles.has_tile(picture.name):
            return self._of_frame(picture, digest)
        # What comes over a network is not waited for on the one thread that reads pictures.
        source = picture.read_bytes() if isinstance(picture, ObjectPath) else picture
        if not _KEPT_NAME.match(digest):
            return _shrunk(source)
        return on_reading_thread(lambda _: self._make(source, digest, source), source)

    def look(self, digest: str) -> Look | None:
        """What the picture of this digest looks like; None where no thumbnail of it is kept."""
        known = self._looks.get(digest)
        if known is None and _KEPT_NAME.match(digest):
            known = _look_in(self._folder / f"{digest}.webp")
            if known is not None and len(self._looks) < _LOOKS_KEPT:
                self._looks[digest] = known
        return known

    def discard(self, digest: str) -> None:
        """Remove one, where it is. Another picture of the same bytes has it made again."""
        if _KEPT_NAME.match(digest):
            with contextlib.suppress(OSError):
                (self._folder / f"{digest}.webp").unlink(missing_ok=True)

    def sweep(self, *, largest_bytes: int = LARGEST_CACHE_BYTES) -> None:
        """Remove what a killed process left, the thumbnails of pictures that are gone, and the oldest if too much.

        Errors: LockHeld, OSError.
        """
        wanted = self._wanted()
        with self._lock():
            for torn in self._folder.glob("*.tmp"):
                torn.unlink(missing_ok=True)
            kept = []
            for path in self._folder.glob("*.webp"):
                if path.stem in wanted:
                    kept.append((path.stat(), path))
                else:
                    path.unlink(missing_ok=True)
            excess = sum(stat.st_size for stat, _ in kept) - largest_bytes
            for stat, path in sorted(kept, key=lambda one: (one[0].st_mtime_ns, one[1].name)):
                if excess <= 0:
                    break
                path.unlink(missing_ok=True)
                excess -= stat.st_size

    def _lock(self) -> WriteLock:
        return WriteLock(self._folder, disk=self._disk, name="making.lock")

    def _kept(self, digest: str) -> bytes | None:
        """One that a power loss left half is none."""
        try:
            data = (self._folder / f"{digest}.webp").read_bytes()
        except OSError:
            return None
        is_whole = data[:4] == b"RIFF" and len(data) == 8 + int.from_bytes(data[4:8], "little")
        return data if is_whole else None

    def _of_frame(self, video: Place, digest: str) -> bytes | None:
        """ffmpeg works while others read pictures; one that gives nothing of a file is not asked of it again."""
        if digest in self._without_frame or (frame := media_tiles.poster(video)) is None:
            if ffmpeg.has("ffmpeg"):
                self._without_frame.add(digest)
            return None
        if not _KEPT_NAME.match(digest):
            return _shrunk(frame)
        return on_reading_thread(lambda data: self._make(video, digest, data), frame)

    def _make(self, picture: Place | bytes, digest: str, shown: Place | bytes) -> bytes | None:
        """On the one thread that reads pictures; other processes wait at the lock. `shown`: what is made smaller."""
        found = hashlib.sha256(picture).hexdigest() if isinstance(picture, bytes) else sha256_of(picture)
        if found != digest:
            return _shrunk(shown)
        try:
            with self._lock():
                data = self._kept(digest) or _shrunk(shown)
                if data is not None:
                    self._disk.write_whole(self._folder / f"{digest}.webp", data, sync=False)
        except (BurstError, OSError) as error:
            # A folder that takes nothing costs time, not the picture.
            reason = str(error) if isinstance(error, BurstError) else str(refusal(error, self._folder))
            if reason != self.refusal:
                _log.warning("no thumbnails can be kept in %s: %s", self._folder, error)
            self.refusal = reason
            return _shrunk(shown)
        self.refusal = None
        if self._made % _SWEPT_EVERY == 0:
            self._later(self._sweep_if_possible)
        self._made += 1
        return data

    def _sweep_if_possible(self) -> None:
        with contextlib.suppress(BurstError, OSError):
            self.sweep()


def prepare() -> None:
    """Load what makes them: that takes longer than to make one."""
    _shrunk(_DOT)


def _soon(sweep: Callable[[], None]) -> None:
    timer = threading.Timer(_SWEPT_AFTER_SECONDS, sweep)
    timer.daemon = True
    timer.start()


def _shrunk(picture: Place | bytes) -> bytes | None:
    """Errors: OSError where the file cannot be opened."""
    copy = smaller(picture, longest_side=LONGEST_SIDE)
    if copy is None:
        return None
    target = io.BytesIO()
    copy.image.save(target, "WEBP", quality=_QUALITY, xmp=_look_of(copy.image))
    return target.getvalue()


def _look_of(image: Image) -> bytes:
    """What is written into a thumbnail to be found by `_look_in`."""
    from PIL.Image import Resampling

    colors = image.convert("RGB").resize((4, 4), Resampling.BOX).tobytes().hex()
    return f"burst {image.width}x{image.height} {colors}".encode()


def _look_in(path: Path) -> Look | None:
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, io.SEEK_END) - _LOOK_BYTES))
            found = _LOOK.search(stream.read())
    except OSError:
        return None
    if found is None or not (int(found[1]) and int(found[2])):
        return None
    return Look(int(found[1]), int(found[2]), found[3].decode())
