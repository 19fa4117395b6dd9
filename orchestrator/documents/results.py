"""What `burst export` prints."""

from __future__ import annotations

from typing import Literal, TypedDict


class ExportDocument(TypedDict):
    """What was exported."""

    schema: Literal["burst.export/1"]
    folder: str
    """The folder."""
    images: int
    """How many images are in it now."""
    written: int
    """How many of them were copied or linked now; the others were there."""
    kept: list[str]
    """Files in it that somebody changed since: left as they are. A caption changed so is the text of its image."""
    missing: list[str]
    """Images that are not exported, because their files are not where they were recorded."""
    left_out: int
    """Files that are no images."""
    removed: int
    """Files of an earlier export whose images are no longer selected."""
