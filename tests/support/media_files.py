"""Small real files of every kind that a server saves, and programs that stand for FFmpeg's."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

from PIL import Image

from orchestrator.sandbox import media


def frames(count: int = 4, size: tuple[int, int] = (64, 48)) -> list[Image.Image]:
    return [Image.new("RGB", size, (30 * number, 200 - 20 * number, 80)) for number in range(count)]


def wav(seconds: float = 0.5) -> bytes:
    data = bytes(2 * round(8000 * seconds))
    head = b"fmt " + (16).to_bytes(4, "little") + b"\1\0\1\0" + (8000).to_bytes(4, "little")
    head += (16000).to_bytes(4, "little") + b"\2\0\x10\0"
    body = b"WAVE" + head + b"data" + len(data).to_bytes(4, "little") + data
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def animated(form: str) -> bytes:
    first, *rest = frames()
    target = io.BytesIO()
    first.save(target, form, save_all=True, append_images=rest, duration=250)
    return target.getvalue()


@cache
def by_extension() -> dict[str, bytes]:
    """One file of each."""
    return {
        ".mp4": media.mp4(frames(), frames_per_second=4),
        ".webm": media.webm(frames(), frames_per_second=4),
        ".flac": media.flac(1.5),
        ".mp3": media.mp3(1.5),
        ".opus": media.opus(1.5),
        ".wav": wav(),
        ".glb": media.glb(),
        ".latent": media.latent(64, 64, graph={}),
        ".png": animated("PNG"),
        ".webp": animated("WEBP"),
        ".gif": animated("GIF"),
    }


def program(directory: Path, name: str, script: str) -> Path:
    """An executable shell script; `directory` is to be put on the PATH."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path
