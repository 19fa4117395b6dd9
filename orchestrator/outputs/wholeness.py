"""Is a file whole, as far as it can be seen here: images decode, other media have their structure to its end.

Of video and audio ffprobe is asked too, where it is on the PATH.
"""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.outputs import containers, ffmpeg, pictures
from orchestrator.outputs.containers import Kind
from orchestrator.places import ObjectPath, Place

CHECKED = pictures.EXTENSIONS | containers.ENDS_SHOW
"""Files of these extensions are never taken for whole while their end is missing."""


def fault_of(served: str, path: Place, *, check: Callable[[], None] = lambda: None) -> str | None:
    """What is wrong with a file, in words that follow "the output"; None where nothing is seen.

    `served`: the extension that its name has. `check` is called while another program looks; what it raises ends that.
    Errors: OSError, and those of `check`.
    """
    if not containers.promises(served):
        return None
    if containers.is_image(path):
        return None if pictures.decodes(path) else "does not decode"
    fault = containers.fault_of(served, path)
    if fault is not None:
        return "does not decode" if served in pictures.EXTENSIONS and "web page" not in fault else fault
    if isinstance(path, ObjectPath):
        return None
    if containers.KIND_OF.get(containers.extension_of(served, path)) in (Kind.VIDEO, Kind.AUDIO):
        return ffmpeg.fault_of(path, check=check)
    return None
