"""The node *Batch Image Loader*: one image of a directory a run, and the run for the next one."""

from __future__ import annotations

import logging
import uuid
from pathlib import Path
from typing import Any, ClassVar

from . import chain, listing, pictures
from .position import Position
from .walk import Place, Walk

_RESET = "Reset"
_SKIP = "Skip on error"
_log = logging.getLogger("burst")


class ImageUnreadable(Exception):
    """The file is no picture, or a damaged one."""


class BatchImageLoader:
    """Errors reach ComfyUI as exceptions whose text is one message for the user."""

    CATEGORY = "image/batch"
    DESCRIPTION = (
        "Loads one image of a directory and, when the run has ended well, queues the next run on the server, until "
        "the directory is done. Continue goes on where it stopped, after a restart of ComfyUI too."
    )
    FUNCTION = "load"
    RETURN_TYPES: ClassVar[tuple[str, ...]] = (
        *("IMAGE", "MASK", "INT", "INT", "INT"),
        *("STRING", "STRING", "STRING", "BOOLEAN"),
    )
    RETURN_NAMES: ClassVar[tuple[str, ...]] = (
        *("IMAGE", "MASK", "TOTAL_COUNT", "INDEX", "CURRENT_INDEX"),
        *("FILENAME", "BASENAME", "STATUS", "BATCH_COMPLETE"),
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "directory": ("STRING", {"default": "", "tooltip": "Absolute, or below ComfyUI's input directory."}),
                "filter_preset": (list(listing.PRESETS), {"default": "All Images"}),
                "iteration_mode": (["Continue", _RESET], {"default": "Continue"}),
                "error_handling": (["Stop on error", _SKIP], {"default": "Stop on error"}),
            },
            "optional": {
                "custom_pattern": ("STRING", {"default": "*.png,*.jpg", "tooltip": "For the filter Custom."}),
                "start_index": ("INT", {"default": 0, "min": 0, "max": 999999}),
            },
        }

    @classmethod
    def VALIDATE_INPUTS(cls, directory: str | None) -> bool | str:
        """What is wrong is said when Queue is pressed. None: another node will say which directory."""
        try:
            if directory is not None:
                _resolve(directory)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def IS_CHANGED(cls, **_inputs: Any) -> str:
        """Another value for every run: the index alone would let an image that is due again, after an interruption,
        come from ComfyUI's cache, and the run would not be noted."""
        return uuid.uuid4().hex

    def load(
        self,
        directory: str,
        filter_preset: str,
        iteration_mode: str,
        error_handling: str,
        custom_pattern: str = "",
        start_index: int = 0,
    ) -> tuple[Any, ...]:
        """Errors: ValueError, ImageUnreadable, PositionUnreadable, OSError."""
        order = chain.Order(
            walk=_walk(directory, listing.patterns(filter_preset, custom_pattern)),
            reset=iteration_mode == _RESET,
            start_index=start_index,
            skips_errors=error_handling == _SKIP,
        )
        while (place := chain.take(order)) is not None:
            path = order.walk.directory / place.name
            try:
                picture = pictures.read(path)
            except pictures.UNREADABLE as error:
                if not order.skips_errors:
                    raise ImageUnreadable(f"{path} cannot be read: {error}") from error
                _log.warning("skipped %s: %s", path, error)
                chain.give_up(order, place, str(error))
                continue
            _log.info("%s", place.status)
            return _outputs(picture, place)
        _log.info("nothing is left in %s", order.walk.directory)
        return (_blocker(),) * len(self.RETURN_TYPES)


def _outputs(picture: pictures.Picture, place: Place) -> tuple[Any, ...]:
    images = pictures.tensor(picture.pixels), pictures.tensor(picture.mask)
    counts = place.total, place.index, place.index + 1
    return (*images, *counts, place.name, Path(place.name).stem, place.status, place.last)


def _walk(directory: str, patterns: tuple[str, ...]) -> Walk:
    import folder_paths

    path = _resolve(directory)
    results = [Path(each()).resolve() for each in (folder_paths.get_output_directory, folder_paths.get_temp_directory)]
    return Walk(
        Position(path, Path(folder_paths.get_user_directory())),
        patterns,
        takes_newcomers=not any(path.is_relative_to(root) for root in results),
    )


def _resolve(directory: str) -> Path:
    import folder_paths

    return listing.resolve(directory, relative_to=folder_paths.get_input_directory())


def _blocker() -> Any:
    """Ends this run quietly: nodes that need an image are not executed."""
    from comfy_execution.graph_utils import ExecutionBlocker

    return ExecutionBlocker(None)
