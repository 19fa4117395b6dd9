"""A project over a directory of images, and the images that a server has received."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from orchestrator.init_state import InitReport, init_state
from orchestrator.sandbox import Sandbox
from support.projects import Graph, Project

INVERT: Graph = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
    "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
    "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
}
MASKED: Graph = INVERT | {
    "4": {"class_type": "LoadImageMask", "inputs": {"image": "example.png", "channel": "red"}},
    "5": {"class_type": "MaskToImage", "inputs": {"mask": ["4", 0]}},
    "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "x"}},
}
"""An image and its mask; the first input of SetLatentNoiseMask and similar nodes is not needed to distinguish them."""


def draw(path: Path, number: int, *, side: int = 16) -> Path:
    """An image that is unique to this number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.frombytes("RGB", (side, side), random.Random(number).randbytes(side * side * 3))
    picture.save(path, format={".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP"}.get(path.suffix.lower(), "PNG"))
    return path


class PictureProject(Project):
    """`count` images below `photos/EP01`, added by `burst init --images`."""

    def __init__(
        self,
        home: Path,
        *,
        server: str,
        count: int = 3,
        template: Graph | None = None,
        masks: str | None = None,
        prepare: Callable[[Path], object] = lambda photos: None,
        side: int = 16,
    ) -> None:
        """`prepare` adds files to the directory of photos before `init`."""
        self.photos = home / "photos"
        self.photos.mkdir()
        self._masks = masks
        self._side = side
        prepare(self.photos)
        super().__init__(home, server=server, count=count, template=template or INVERT)

    @property
    def server_directory(self) -> Path:
        """The directory of the sandbox that the fixture started."""
        return self.home.parent / "server"

    def picture(self, number: int) -> Path:
        return self.photos / "EP01" / f"photo_{number:03d}.png"

    def add_prompts(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            draw(self.picture(number), number, side=self._side)
        self.init()

    def init(self, **asked: Any) -> InitReport:
        """Run `burst init --images`, at first or again."""
        told: dict[str, Any] = {"images": True, "masks": self._masks} | asked
        return init_state(self.state, [self.photos], overrides=self._overrides(), **told)


def wanted_name(path: Path) -> str:
    """The image name that LoadImage gets on a server."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"burst/{digest[:2]}/{digest}{path.suffix.lower()}"


def uploads(sandbox: Sandbox) -> int:
    """The number of uploads that the server received."""
    count: int = sandbox.counts()["requests"].get("POST /upload/image", 0)
    return count


def on_server(directory: Path) -> dict[str, bytes]:
    """The files in the input folder of the server in this directory."""
    root = directory / "input"
    found = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    del found["example.png"]
    return found


def check_given_once(
    project: PictureProject,
    sandbox: Sandbox,
    paths: Sequence[Path] | None = None,
    *,
    sent: int | None = None,
    cut_off: int = 0,
) -> None:
    """Check that all is done once and the server has these images (default: all of the project) and no others.

    Each was uploaded once, or `sent` times in total, plus at most `cut_off` uploads that kills interrupted: a
    server may still store these after the next burst has looked for them.
    """
    given = {wanted_name(path): path.read_bytes() for path in paths or project.photos.rglob("*.png")}
    assert on_server(project.server_directory) == given
    least = len(given) if sent is None else sent
    assert least <= uploads(sandbox) <= least + cut_off
    project.check_all_done(sandbox.counts())
