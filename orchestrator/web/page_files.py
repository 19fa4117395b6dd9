"""All modules of a page as one file, and all its style sheets: a page then costs a browser four requests, not sixty.

The files below `static/` stay as they are, each a module of its own for who edits, checks or tests it. Put together
here, each is a function that returns what it exports, after those that it imports; a source map tells a browser's tools
which line of which file each line is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from posixpath import dirname, normpath

_FOLDER = Path(__file__).parent / "static"
_IMPORT = re.compile(r'^import (\{[^{}]*\}) from "(\.[^"]+)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?function|class|const) (\w+)", re.MULTILINE)
_OTHER = re.compile(r"^(?:import|export|await)\b.*", re.MULTILINE)
_ADDRESS = "import.meta.url"
_KEPT = 24
"""Of a version and the one before it."""
FOLDER = "pages"
"""Where these files seem to be, below `static/`."""


@dataclass(frozen=True)
class Parts:
    """What a page is made of, by paths below `static/`: its modules but for what these import, and its style sheets."""

    scripts: tuple[str, ...]
    styles: tuple[str, ...]

    def __add__(self, other: Parts) -> Parts:
        return Parts((*self.scripts, *other.scripts), (*self.styles, *other.styles))


_FRAME = Parts(
    scripts=("queue/drawer.js", "tab.js", "away.js", "notify.js"), styles=("tokens.css", "style.css", "queue/queue.css")
)
PAGES: Mapping[str, Parts] = {
    "index": Parts(
        scripts=("main.js",),
        styles=(
            "stage/workspace.css",
            "stage/batch.css",
            "stage/feed.css",
            "viewer/viewer.css",
            "viewer/compare.css",
            "composer/composer.css",
        ),
    ),
    "gallery": Parts(
        scripts=("gallery/gallery.js",), styles=("gallery/gallery.css", "viewer/viewer.css", "viewer/compare.css")
    ),
    "grid": Parts(scripts=("viewer/grid.js",), styles=("viewer/viewer.css", "viewer/grid.css")),
    "state": Parts(scripts=("runs/state.js",), styles=("runs/state.css",)),
}
"""By the name of the page's HTML in `pages/`."""


def page_file(path: str, version: object) -> str | None:
    """The text of `pages/NAME.js`, `pages/NAME.css` or `pages/NAME.js.map`; None for any other path.

    `version`: made once for each. Errors: ValueError for a module that is written in a way that is not known here.
    """
    folder, _, name = path.partition("/")
    page, _, kind = name.partition(".")
    if folder != FOLDER or page not in PAGES or kind not in _KINDS:
        return None
    return _made(page, kind, version)


@lru_cache(_KEPT)
def _made(page: str, kind: str, _version: object) -> str:
    return _KINDS[kind](page, _FRAME + PAGES[page])


def _script(page: str, parts: Parts) -> str:
    modules = modules_of(parts.scripts)
    names = {path: f"$module{number}" for number, path in enumerate(modules)}
    return "".join(_as_function(path, names) for path in modules) + f"//# sourceMappingURL={page}.js.map\n"


def _style(_page: str, parts: Parts) -> str:
    return "".join(f"/* {path} */\n{_text(path)}" for path in parts.styles)


def _source_map(_page: str, parts: Parts) -> str:
    """An index map: of each line where it is from. `AACA`: the next line of the same file."""
    sections, line = [], 0
    for path in modules_of(parts.scripts):
        lines = _text(path).count("\n")
        mappings = "AAAA" + ";AACA" * (lines - 1)
        told = {"version": 3, "sources": [f"../{path}"], "names": [], "mappings": mappings}
        sections.append({"offset": {"line": line + 1, "column": 0}, "map": told})
        line += lines + 2
    return json.dumps({"version": 3, "sections": sections})


_KINDS: Mapping[str, Callable[[str, Parts], str]] = {"js": _script, "css": _style, "js.map": _source_map}


def modules_of(entries: tuple[str, ...]) -> tuple[str, ...]:
    """These and all that they import, directly or not, each after what it imports. Errors: ValueError for a circle."""
    done: dict[str, None] = {}
    for entry in entries:
        _add(entry, (), done)
    return tuple(done)


def _add(path: str, importing: tuple[str, ...], done: dict[str, None]) -> None:
    if path in importing:
        raise ValueError(f"modules import each other: {', '.join((*importing, path))}")
    if path in done:
        return
    for found in _IMPORT.finditer(_text(path)):
        _add(_beside(path, found[2]), (*importing, path), done)
    done[path] = None


def _as_function(path: str, names: Mapping[str, str]) -> str:
    """A module in one line more above and one below it, so that each line is where it was."""
    text = _text(path)
    exported = [found[2] for found in _EXPORT.finditer(text)]
    text = _IMPORT.sub(lambda found: _as_constants(found[1], names[_beside(path, found[2])]), text)
    text = _EXPORT.sub(r"\1 \2", text)
    if (other := _OTHER.search(text)) is not None:
        raise ValueError(f"{path}: a module has imports and exports by name alone, one a line: {other[0]}")
    text = text.replace(_ADDRESS, f'new URL("../{path}", {_ADDRESS})')
    return f"const {names[path]} = (() => {{\n{text}return {{ {', '.join(exported)} }}; }})();\n"


def _as_constants(named: str, module: str) -> str:
    return f"const {named.replace(' as ', ': ')} = {module};"


def _beside(path: str, address: str) -> str:
    return normpath(f"{dirname(path)}/{address}".lstrip("/"))


def _text(path: str) -> str:
    return (_FOLDER / path).read_text(encoding="utf-8")
