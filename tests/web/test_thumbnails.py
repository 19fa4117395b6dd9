"""Thumbnails: small, upright, made once whoever asks, and never another picture's."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.background import Threads
from support.media_files import by_extension, program

from orchestrator.errors import StateAway
from orchestrator.outputs import media_tiles, pictures
from orchestrator.outputs.media_length import seconds_of
from orchestrator.web import thumbnails
from orchestrator.web.thumbnails import Thumbnails

ROOT = Path(__file__).parents[2]
RED, GREEN, BLUE = (220, 20, 20), (20, 200, 20), (20, 20, 220)


class Folder:
    """A thumbnail folder beside pictures. `wanted` is what the gallery would say."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.cache = home / "state.burst" / "thumbnails"
        self.wanted: set[str] = set()
        self.thumbnails = Thumbnails(self.cache, wanted=self._wanted)

    def _wanted(self) -> Collection[str]:
        return self.wanted

    def put(self, data: bytes, name: str = "picture.png") -> tuple[Path, str]:
        path, digest = self.home / name, hashlib.sha256(data).hexdigest()
        path.write_bytes(data)
        self.wanted.add(digest)
        return path, digest

    def get(self, data: bytes) -> Image.Image | None:
        made = self.thumbnails.get(*self.put(data))
        return None if made is None else Image.open(io.BytesIO(made))

    def kept(self) -> list[str]:
        return sorted(path.name for path in self.cache.iterdir() if path.suffix != ".lock")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def plain(colour: tuple[int, ...] = RED, size: tuple[int, int] = (64, 48), mode: str = "RGB") -> Image.Image:
    return Image.new(mode, size, colour)


def near(image: Image.Image, place: tuple[int, int], colour: tuple[int, ...]) -> bool:
    found = image.convert("RGB").getpixel(place)
    return isinstance(found, tuple) and all(abs(one - other) < 24 for one, other in zip(found, colour, strict=True))


@pytest.mark.parametrize(
    ("size", "small"),
    [((1024, 1024), (320, 320)), ((2000, 500), (320, 80)), ((64, 48), (64, 48)), ((4000, 2), (320, 1))],
)
def test_a_thumbnail_is_webp_of_at_most_320_pixels(
    folder: Folder, size: tuple[int, int], small: tuple[int, int]
) -> None:
    made = folder.get(encoded(plain(size=size)))
    assert made is not None
    assert (made.format, made.size) == ("WEBP", small)


def test_it_is_kept_by_the_pictures_digest_and_read_from_there(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    path, digest = folder.put(encoded(plain()))
    made = folder.thumbnails.get(path, digest)
    assert folder.kept() == [f"{digest}.webp"]
    path.unlink()
    assert Thumbnails(folder.cache, wanted=set).get(path, digest) == made


@pytest.mark.parametrize("cut", [0, 10, 100])
def test_one_that_a_power_loss_cut_is_made_again(folder: Folder, cut: int) -> None:
    path, digest = folder.put(encoded(Image.effect_noise((64, 64), 50)))
    made = folder.thumbnails.get(path, digest)
    assert made is not None
    (folder.cache / f"{digest}.webp").write_bytes(made[:cut])
    assert folder.thumbnails.get(path, digest) == made
    assert (folder.cache / f"{digest}.webp").read_bytes() == made


def test_a_picture_that_was_changed_shows_as_it_is_and_nothing_is_kept(folder: Folder) -> None:
    path, recorded = folder.put(encoded(plain(RED)))
    path.write_bytes(encoded(plain(BLUE)))
    made = folder.thumbnails.get(path, recorded)
    assert made is not None
    assert near(Image.open(io.BytesIO(made)), (5, 5), BLUE)
    path.write_bytes(encoded(plain(RED)))
    made = folder.thumbnails.get(path, recorded)
    assert made is not None
    assert near(Image.open(io.BytesIO(made)), (5, 5), RED)


@pytest.mark.parametrize("digest", ["../../escaped", "", "AB" * 32, "ab" * 31, "ab" * 32 + "\n", "/tmp/x"])
def test_a_digest_that_is_none_names_no_file(folder: Folder, digest: str) -> None:
    path, _ = folder.put(encoded(plain()))
    folder.cache.mkdir(parents=True)
    (folder.home / "escaped.webp").write_bytes(encoded(plain(BLUE), "WEBP"))
    made = folder.thumbnails.get(path, digest)
    assert made is not None
    assert near(Image.open(io.BytesIO(made)), (5, 5), RED)
    assert sorted(found.name for found in folder.home.rglob("*") if found.is_file()) == ["escaped.webp", "picture.png"]


EXIF_TURNS = {1: (RED, GREEN), 3: (GREEN, RED), 6: (RED, RED), 8: (GREEN, GREEN)}
"""Orientation → the colours at the left and right of the top row, of a picture that is red left and green right."""


@pytest.mark.parametrize("turn", EXIF_TURNS)
def test_a_picture_that_a_camera_turned_stands_upright(folder: Folder, turn: int) -> None:
    image = plain(GREEN, size=(80, 40))
    image.paste(RED, (0, 0, 40, 40))
    exif = Image.Exif()
    exif[0x0112] = turn
    made = folder.get(encoded(image, "JPEG", exif=exif, quality=95))
    assert made is not None
    assert made.size == ((80, 40) if turn < 5 else (40, 80))
    left, right = EXIF_TURNS[turn]
    assert near(made, (4, 4), left)
    assert near(made, (made.width - 5, 4), right)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF"])
def test_of_what_moves_the_first_frame(folder: Folder, kind: str) -> None:
    frames = [plain(BLUE), plain(GREEN)]
    made = folder.get(encoded(plain(RED), kind, save_all=True, append_images=frames, duration=100))
    assert made is not None
    assert getattr(made, "n_frames", 1) == 1
    assert near(made, (5, 5), RED)


def test_transparency_stays(folder: Folder) -> None:
    image = plain((0, 0, 0, 0), mode="RGBA")
    image.paste((*RED, 255), (32, 0, 64, 48))
    for data in (encoded(image), encoded(image.quantize(8))):
        made = folder.get(data)
        assert made is not None
        assert made.mode == "RGBA"
        assert made.getpixel((5, 5))[3] == 0  # type: ignore[index]
        assert made.getpixel((60, 5))[3] == 255  # type: ignore[index]


def test_colours_of_other_modes(folder: Folder) -> None:
    deep = Image.new("I;16", (40, 40), 32768)
    cases: list[tuple[bytes, tuple[int, ...]]] = [
        (encoded(deep), (128, 128, 128)),
        (encoded(plain((255,), mode="L")), (255, 255, 255)),
        (encoded(Image.new("1", (40, 40), 1)), (255, 255, 255)),
        (encoded(plain().convert("CMYK"), "JPEG"), RED),
        (encoded(plain().quantize(4)), RED),
    ]
    for data, colour in cases:
        made = folder.get(data)
        assert made is not None
        assert near(made, (20, 20), colour)


def test_a_palette_is_made_smaller_by_averaging(folder: Folder) -> None:
    """By picking pixels a chessboard would become one colour."""
    board = Image.new("1", (2, 2))
    board.putdata([0, 1, 1, 0])
    tiled = Image.new("1", (1024, 1024))
    for x in range(0, 64, 2):
        for y in range(0, 64, 2):
            tiled.paste(board, (x, y))
    tiled.paste(tiled.crop((0, 0, 64, 64)), (0, 0))
    for data in (encoded(tiled), encoded(tiled.convert("P"))):
        made = folder.get(data)
        assert made is not None
        assert near(made, (8, 8), (128, 128, 128))


@pytest.mark.parametrize(
    "data", [b"", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\x89PNG\r\n\x1a\n", encoded(plain())[:60]]
)
def test_what_does_not_decode_has_none(folder: Folder, data: bytes) -> None:
    assert folder.get(data) is None
    assert folder.kept() == []


def test_one_too_large_to_decode_has_none(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "LARGEST_DECODED_PIXELS", 1000)
    assert folder.get(encoded(plain())) is None


def test_odd_metadata_warns_nobody(folder: Folder) -> None:
    broken = b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0" + b"\xff" * 20
    assert folder.get(encoded(plain(), "JPEG", exif=broken)) is not None


def test_a_folder_that_takes_nothing_costs_no_picture(folder: Folder) -> None:
    folder.cache.parent.mkdir()
    folder.cache.write_text("a file stands in the way")
    assert folder.get(encoded(plain())) is not None
    assert "a file stands where a directory should be" in str(folder.thumbnails.refusal)
    folder.cache.unlink()
    assert folder.get(encoded(plain(RED, (9, 9)))) is not None
    assert folder.thumbnails.refusal is None, "it can be written to again"


_ASKING = """
import os, sys, threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from orchestrator.web import thumbnails

cache, picture, digest, made = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
original = thumbnails._shrunk

def slow(path):
    with open(made, "ab", buffering=0) as stream:
        stream.write(b".")
    threading.Event().wait(0.3)
    return original(path)

thumbnails._shrunk = slow
found = thumbnails.Thumbnails(cache, wanted=lambda: {digest})
print("ready", flush=True)
sys.stdin.readline()
with ThreadPoolExecutor(20) as threads:
    answers = set(threads.map(lambda _: found.get(picture, digest), range(20)))
assert len(answers) == 1 and None not in answers, answers
"""


def test_twenty_threads_of_two_processes_have_it_made_once(folder: Folder) -> None:
    path, digest = folder.put(encoded(plain()))
    made = folder.home / "made"
    command = [sys.executable, "-c", _ASKING, str(folder.cache), str(path), digest, str(made)]
    both = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    try:
        for process in both:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in both:
            process.communicate("go\n", timeout=30)
        assert [process.returncode for process in both] == [0, 0]
    finally:
        for process in both:
            process.kill()
            process.wait()
    assert made.read_bytes() == b"."
    assert folder.kept() == [f"{digest}.webp"]


def test_one_thread_decodes_for_all(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """So memory holds one decoded picture, however many pages ask."""
    seen: list[str] = []
    original = thumbnails._shrunk

    def noted(picture: Path | bytes) -> bytes | None:
        seen.append(threading.current_thread().name)
        return original(picture)

    monkeypatch.setattr(thumbnails, "_shrunk", noted)
    asked = [folder.put(encoded(plain((number, 0, 0))), f"{number}.png") for number in range(6)]
    with Threads(6) as threads:
        assert None not in list(threads.map(lambda one: folder.thumbnails.get(*one), asked))
    assert (len(seen), len(set(seen))) == (6, 1)


def made_of(folder: Folder, count: int) -> list[str]:
    """So many thumbnails; the first is the oldest."""
    digests = []
    for number in range(count):
        path, digest = folder.put(encoded(plain((number, 0, 0))))
        assert folder.thumbnails.get(path, digest) is not None
        os.utime(folder.cache / f"{digest}.webp", (number, number))
        digests.append(digest)
    return digests


def test_sweeping_removes_what_no_picture_needs(folder: Folder) -> None:
    first, second = made_of(folder, 2)
    (folder.cache / f"{second}.webp.tmp").write_bytes(b"of a killed process")
    folder.wanted.discard(first)
    folder.thumbnails.sweep()
    assert folder.kept() == [f"{second}.webp"]


def test_sweeping_keeps_within_its_bound_and_takes_the_oldest(folder: Folder) -> None:
    digests = made_of(folder, 4)
    largest = sum((folder.cache / f"{digest}.webp").stat().st_size for digest in digests[2:])
    folder.thumbnails.sweep(largest_bytes=largest)
    assert folder.kept() == sorted(f"{digest}.webp" for digest in digests[2:])


def test_the_first_that_is_made_has_the_folder_swept_later(folder: Folder) -> None:
    """What is wanted stands in every record of a state: the first image does not wait until they are read."""
    first, second = made_of(folder, 2)
    folder.wanted.discard(first)
    asked: list[str] = []
    due: list[Callable[[], None]] = []

    def wanted() -> Collection[str]:
        asked.append("all")
        return folder.wanted

    again = Thumbnails(folder.cache, wanted=wanted, later=due.append)
    assert again.get(*folder.put(encoded(plain(BLUE)))) is not None
    assert (asked, len(due)) == ([], 1)
    due.pop()()
    assert f"{first}.webp" not in folder.kept()
    assert f"{second}.webp" in folder.kept()


def test_a_sweep_of_a_state_that_is_away_harms_nobody(folder: Folder) -> None:
    def wanted() -> Collection[str]:
        raise StateAway("the database does not answer", advice="start it", was_connected=True)

    due: list[Callable[[], None]] = []
    again = Thumbnails(folder.cache, wanted=wanted, later=due.append)
    assert again.get(*folder.put(encoded(plain(BLUE)))) is not None
    due.pop()()
    assert len(folder.kept()) == 1


# Videos and what else is no image


def frame_program(folder: Folder, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    (folder.home / "frame.png").write_bytes(encoded(Image.new("RGB", (900, 300), RED)))
    program(folder.home / "bin", "ffmpeg", script)
    monkeypatch.setenv("PATH", f"{folder.home / 'bin'}:{os.defpath}")


def test_the_frame_of_a_video_is_made_once_and_kept(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    frame_program(folder, monkeypatch, f"echo asked >>{folder.home}/asked; cat {folder.home}/frame.png")
    video = folder.put(by_extension()[".mp4"], "clip.mp4")
    for _ in range(2):
        made = folder.thumbnails.get(*video)
        assert made is not None
        shown = Image.open(io.BytesIO(made)).convert("RGB")
        assert shown.size == (320, 107)
        red, green, _ = shown.getpixel((200, 80))  # type: ignore[misc]
        assert red > 180 > 60 > green
    assert (folder.home / "asked").read_text() == "asked\n"
    assert folder.kept() == [f"{video[1]}.webp"]


@pytest.mark.parametrize("script", ["exit 1", "echo 'no image'", "kill -9 $$", "true"])
def test_a_video_without_a_frame_is_not_asked_for_again(
    script: str, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame_program(folder, monkeypatch, f"echo asked >>{folder.home}/asked; {script}")
    video = folder.put(by_extension()[".webm"], "clip.webm")
    assert [folder.thumbnails.get(*video) for _ in range(2)] == [None, None]
    assert (folder.home / "asked").read_text() == "asked\n"
    assert not folder.cache.exists() or folder.kept() == []


def test_without_ffmpeg_nothing_is_remembered(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    video = folder.put(by_extension()[".mp4"], "clip.mp4")
    assert folder.thumbnails.get(*video) is None
    frame_program(folder, monkeypatch, f"cat {folder.home}/frame.png")
    assert folder.thumbnails.get(*video) is not None


@pytest.mark.parametrize("extension", [".mp3", ".flac", ".glb", ".latent"])
def test_ffmpeg_is_asked_of_videos_alone(extension: str, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    frame_program(folder, monkeypatch, f"cat {folder.home}/frame.png")
    assert folder.thumbnails.get(*folder.put(by_extension()[extension], f"clip{extension}")) is None
    drawn = Image.open(io.BytesIO(media_tiles.drawn(folder.home / f"clip{extension}")))
    assert drawn.size == (512, 512)


def test_tiles_of_different_files_look_different(tmp_path: Path) -> None:
    made = {}
    for extension in (".mp4", ".mp3", ".flac", ".glb", ".latent"):
        path = tmp_path / f"a clip with a long name of many words that goes on and on{extension}"
        path.write_bytes(by_extension()[extension])
        made[extension] = media_tiles.drawn(path)
    (tmp_path / "cut.mp4").write_bytes(b"not a video")
    made["cut"] = media_tiles.drawn(tmp_path / "cut.mp4")
    assert len(set(made.values())) == len(made)


@pytest.mark.parametrize(
    ("seconds", "spoken"), [(0.2, "0:01"), (4.4, "0:04"), (59.6, "1:00"), (750, "12:30"), (3723, "1:02:03")]
)
def test_a_length_is_spoken_as_players_do(seconds: float, spoken: str) -> None:
    assert media_tiles.spoken_length(seconds) == spoken


@pytest.mark.parametrize(
    ("extension", "seconds"),
    [(".mp4", 1.0), (".webm", 1.0), (".flac", 1.5), (".mp3", 1.5), (".opus", 1.5), (".wav", 0.5), (".glb", None)],
)
def test_the_length_of_each_kind(extension: str, seconds: float | None, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(by_extension()[extension])
    assert seconds_of(path) == (None if seconds is None else pytest.approx(seconds, abs=0.04))
    path.write_bytes(by_extension()[extension][:30])
    of_cut = seconds_of(path)
    assert of_cut is None or of_cut <= (seconds or 0), "of a cut one it is unknown or shorter, and never an error"


def test_what_makes_them_is_loaded_by_making_one() -> None:
    code = "import sys; from orchestrator.web import thumbnails; thumbnails.prepare(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {"PIL.PngImagePlugin", "PIL.WebPImagePlugin", "PIL.ImageOps"} <= set(loaded.split())
