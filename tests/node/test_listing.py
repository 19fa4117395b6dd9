"""Which images a directory holds, and in which order."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from orchestrator.comfyui_node import listing


def files(directory: Path, *names: str) -> Path:
    for name in names:
        (directory / name).write_bytes(b"")
    return directory


@pytest.mark.parametrize(
    ("preset", "custom", "expected"),
    [
        ("All Images", "", ["a.png", "B.PNG", "c.jpg", "d.JPEG", "e.webp", "f.tif"]),
        ("PNG Only", "*.jpg", ["a.png", "B.PNG"]),
        ("JPG Only", "", ["c.jpg", "d.JPEG"]),
        ("Custom", "*.WEBP , b*,", ["B.PNG", "e.webp"]),
        ("Custom", "*", ["a.png", "B.PNG", "c.jpg", "d.JPEG", "e.webp", "f.tif"]),
    ],
)
def test_filters(tmp_path: Path, preset: str, custom: str, expected: list[str]) -> None:
    """Case does not matter; hidden files, directories and what is no image never count."""
    files(tmp_path, "a.png", "B.PNG", "c.jpg", "d.JPEG", "e.webp", "f.tif", "notes.txt", "._a.png", "png", "Thumbs.db")
    (tmp_path / "sub.png").mkdir()

    assert listing.images(tmp_path, listing.patterns(preset, custom)) == expected


@pytest.mark.parametrize("custom", ["", " , "])
def test_custom_without_a_pattern_is_refused(custom: str) -> None:
    with pytest.raises(ValueError, match="custom_pattern is empty"):
        listing.patterns("Custom", custom)


def test_natural_order() -> None:
    ordered = [
        "1.png",
        "2.png",
        "010.png",
        "10.png",
        "A1.png",
        "a2.png",
        "b.png",
        "b1.png",
        "b1a.png",
        "b1a2.png",
        "ä.png",
    ]
    mixed = ordered.copy()
    random.Random(0).shuffle(mixed)

    assert sorted(mixed, key=listing.natural) == ordered


def test_a_broken_link_is_no_image(tmp_path: Path) -> None:
    files(tmp_path, "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "gone.png")

    assert listing.images(tmp_path, ("*",)) == ["a.png"]


def test_resolve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "in" / "shots").mkdir(parents=True)
    files(tmp_path, "file.png")

    for text in (
        "shots",
        "./shots/",
        "shots/../shots",
        f"{tmp_path}/in/shots/",
        "~/in/shots",
        f'"{tmp_path}/in/shots"',
    ):
        assert listing.resolve(text, relative_to=str(tmp_path / "in")) == tmp_path / "in" / "shots"
    with pytest.raises(ValueError, match="not there"):
        listing.resolve("nothing", relative_to=str(tmp_path))
    with pytest.raises(ValueError, match="not a directory"):
        listing.resolve("file.png", relative_to=str(tmp_path))
    with pytest.raises(ValueError, match="empty"):
        listing.resolve(" ", relative_to=str(tmp_path))
