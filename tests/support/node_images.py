"""A directory of images for the nodes, graphs that load them, and their results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from support.fake_comfyui import ComfyUI, Graph


class Album:
    """A directory of small images, each of a different colour, and the results made from them."""

    def __init__(self, directory: Path, comfy: ComfyUI) -> None:
        self.directory = directory
        self.comfy = comfy
        directory.mkdir(parents=True, exist_ok=True)

    def add(self, *names: str) -> None:
        for name in names:
            number = sum(map(ord, name)) % 256
            Image.new("RGB", (4, 3), (number, 255 - number, 7)).save(self.directory / name)

    def graph(
        self, *, saver: str = "BatchImageSaver", saver_inputs: dict[str, Any] | None = None, **inputs: Any
    ) -> Graph:
        """Loader → Invert → a save node."""
        if saver == "BatchImageSaver":
            last = {"image": ["2", 0], "filename": ["1", 5], "subfolder": "", "format": "same as original"}
            last |= {"quality": 95, "if_exists": "overwrite", **(saver_inputs or {})}
        else:
            last = {"images": ["2", 0], "name": ["1", 5]}
        return {
            "1": {"class_type": "BatchImageLoader", "inputs": self.inputs(**inputs)},
            "2": {"class_type": "Invert", "inputs": {"image": ["1", 0]}},
            "3": {"class_type": saver, "inputs": last},
        }

    def inputs(self, **given: Any) -> dict[str, Any]:
        usual = {"filter_preset": "All Images", "iteration_mode": "Continue", "error_handling": "Stop on error"}
        return {"directory": str(self.directory), **usual, **given}

    @property
    def state(self) -> Path:
        [path] = (self.comfy.directory / "user" / "__burst").glob("*.json")
        return path

    def records(self) -> dict[str, dict[str, Any]]:
        return {Path(key).name: record for key, record in json.loads(self.state.read_text()).items()}

    def statuses(self) -> dict[str, str]:
        return {name: record["status"] for name, record in self.records().items()}

    def saved(self) -> list[str]:
        output = self.comfy.directory / "output"
        return sorted(path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file())
