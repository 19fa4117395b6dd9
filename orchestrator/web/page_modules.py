"""The modules that a page needs, so that a browser fetches them at once and not as it finds out about each."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from posixpath import dirname, normpath

_HERE = Path(__file__).parent
_SCRIPT = re.compile(r'<script type="module" src="{{ static }}/([^"]+)">')
_IMPORT = re.compile(r'^(?:import|export)\b[^;"]*"(\.[^"]+)"', re.MULTILINE)


@cache
def modules_of(page: str) -> tuple[str, ...]:
    """The paths below `static/` of all modules that this page of `pages/` and its frame import, directly or not."""
    found: dict[str, None] = {}
    left = [path for name in ("base.html", page) for path in _SCRIPT.findall(_text(f"pages/{name}"))]
    while left:
        path = left.pop(0)
        if path not in found:
            found[path] = None
            imports = _IMPORT.findall(_text(f"static/{path}"))
            left += [normpath(f"{dirname(path)}/{one}".lstrip("/")) for one in imports]
    return tuple(found)


def _text(path: str) -> str:
    return (_HERE / path).read_text(encoding="utf-8")
