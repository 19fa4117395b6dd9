"""Is a file whole, as far as it can be seen here: images decode, other media have their structure to its end.

Of video and audio ffprobe is asked too, where it is on the PATH.
"""

from __future__ import annotations

import io
from collections.abc import Callable

from orchestrator.outputs import containers, ffmpeg, pictures
from orchestrator.outputs.containers import Kind
from orchestrator.places import ObjectPath, Place

CHECKED = pictures.EXTENSIONS | containers.ENDS_SHOW
"""Files of these extensions are never taken for whole while their end is missing."""


def fault_of(
    served: str, path: Place, *, content: bytes | None = None, check: Callable[[], None] = lambda: None
) -> str | None:
    """What is wrong with a file, in words that follow "the output"; None where nothing is seen.

    `served`: the extension that its name has. `content`: all that is in it, where that is in memory already. `check` is
    called while another program looks; what it raises ends that. Errors: OSError, and those of `check`.
    """
    if not containers.promises(served):
        return None
    start = start_of(path) if content is None else content[: containers.START_BYTES]
    if containers.is_image(start):
        return None if pictures.decodes(path if content is None else content) else "does not decode"
    size = path.stat().st_size if content is None else len(content)
    fault = containers.fault_of(
        served, start, lambda: path.open("rb") if content is None else io.BytesIO(content), size
    )
    if fault is not None:
        return "does not decode" if served in pictures.EXTENSIONS and "web page" not in fault else fault
    if isinstance(path, ObjectPath):
        return None
    if containers.KIND_OF.get(containers.extension_of(served, start)) in (Kind.VIDEO, Kind.AUDIO):
        return ffmpeg.fault_of(path, check=check)
    return None


def start_of(path: Place) -> bytes:
    """Its first `containers.START_BYTES`. Errors: OSError."""
    with path.open("rb") as stream:
        return stream.read(containers.START_BYTES)
