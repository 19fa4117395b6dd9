"""What may stand at the caret of the gallery's search field."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from orchestrator.results.search_text import IS, KEYS
from orchestrator.web.gallery_index import GalleryIndex
from orchestrator.web.gallery_schemas import Completion, Suggestion

MOST = 10
_WHOLE_TERM = re.compile(r'-?(?:[A-Za-z_][\w.]*(?::|>=|<=|=|>|<))?(?:"[^"]*"?|\S*)', re.ASCII)
_KEY_AND_VALUE = re.compile(r'(-?)([A-Za-z_][\w.]*)(:|=)("?)([^"]*)"?\Z', re.ASCII)
_KEY = re.compile(r"(-?)([A-Za-z_][\w.]*)?\Z", re.ASCII)


def completed(index: GalleryIndex, text: str, caret: int, *, states: Sequence[str]) -> Completion:
    """Errors: sqlite3.Error."""
    caret = min(caret, len(text))
    start, end = _term_at(text, caret)
    said = text[start:caret]
    if (found := _KEY_AND_VALUE.match(said)) is not None:
        minus, key, operator, _, value = found.groups()
        made = _values(index, key, value, states=states)
        shown = [_suggestion(f"{minus}{key}{operator}", one, hint) for one, hint in made]
        return Completion(start=start, end=end, suggestions=[one for one in shown if one.text != said])
    if (found := _KEY.match(said)) is not None:
        minus, key = found.group(1), found.group(2) or ""
        return Completion(start=start, end=end, suggestions=list(_keys(index, minus, key)))
    return Completion(start=start, end=end, suggestions=[])


def _term_at(text: str, caret: int) -> tuple[int, int]:
    """Where the term begins and ends that the caret is in or behind."""
    for found in _WHOLE_TERM.finditer(text):
        if found.start() <= caret <= found.end() and found.group():
            return found.span()
    return caret, caret


def _keys(index: GalleryIndex, minus: str, beginning: str) -> Iterable[Suggestion]:
    known = [(key, example) for key, example in KEYS.items() if key.startswith(beginning.lower())]
    if beginning:
        names = (name for name in index.names() if name.startswith(beginning) and name not in KEYS)
        known += [(name, f"{name}:…") for name in names]
    most = MOST if beginning else len(KEYS)
    return (Suggestion(text=f"{minus}{key}:", hint=example, complete=False) for key, example in known[:most])


def _values(index: GalleryIndex, key: str, value: str, *, states: Sequence[str]) -> list[tuple[str, str]]:
    match key.lower():
        case "is":
            return [(one, "") for one in IS if one.startswith(value.lower())]
        case "state":
            return [(str(number), name) for number, name in enumerate(states) if value in str(number) or value in name]
        case "before" | "after" | "seed":
            return []
    return [(one.value, "") for one in index.values(key, value, limit=MOST)]


def _suggestion(prefix: str, value: str, hint: str) -> Suggestion:
    quoted = f'"{value}"' if re.search(r"\s", value) or not value else value
    return Suggestion(text=f"{prefix}{quoted}", hint=hint, complete=True)
