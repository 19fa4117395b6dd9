"""Files of other formats that are given as prompts: which they are, and what to give instead."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Sequence

from orchestrator.batches.prompt_entry import PromptEntry
from orchestrator.batches.vocabulary import spelled
from orchestrator.errors import UsageError
from orchestrator.wording import named
from templates import NAMES

PNG = b"\x89PNG\r\n\x1a\n"
SETTINGS = re.compile(r"\s*Steps: \d+\s*,\s*\w[\w \-/]+:")
"""Begins the last line of the `parameters` that AUTOMATIC1111's web UI writes."""
NEGATIVE = "Negative prompt:"
"""Begins the negative prompt in them."""
_PLAIN = "save it as plain text (.txt)"
_BINARY = (
    (b"{\\rtf", "rich text (RTF)", _PLAIN),
    (b"%PDF", "a PDF", _PLAIN),
    (b"\xff\xd8\xff", "a JPEG image", "take a PNG of it, or write its prompts into a text file"),
    (b"RIFF", "a WebP image or another RIFF file", "take a PNG of it, or write its prompts into a text file"),
    (b"GIF8", "a GIF image", "write its prompts into a text file"),
    (b"\x1f\x8b", "gzip", "unpack it"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it"),
    (b"\xd0\xcf\x11\xe0", "an old or encrypted Office file (.xls, .doc)", "save it anew as .xlsx, .csv or plain text"),
)
_MARKUP = re.compile(r"\s*<(\?xml|!doctype|html|svg)\b", re.IGNORECASE)
_COLUMNS = (*NAMES, "size", "name", "subfolder", "id", "count", "priority", "template", "output")
_CELL = re.compile(r"[\w .:=-]{1,60}")
_BLOCKS = re.compile(
    r"\s*(?:(-+|=+|\*{3,})|((?:positive|negative|prompt)(?: ?prompt)?(?: ?\d+)?):.*)\s*", re.IGNORECASE
)
_LISTED = re.compile(r"^[ \t]*- ", re.MULTILINE)
_OPTIONS = re.compile(r"\s*--(negative_)?prompt\b")
_BLOCK_STARTS = frozenset("-=*/pPnN")
_IMAGINE = re.compile(r"\s*/imagine\b", re.IGNORECASE)


def refuse_binary(data: bytes, shown: str) -> None:
    """Errors: UsageError for a file that is no text, which is named with what to do."""
    for start, what, advice in _BINARY:
        if data.startswith(start):
            raise UsageError(f"{shown}: this is {what}, not a list of prompts; {advice}")
    if data.startswith(b"PK\x03\x04"):
        what, advice = _archive(data)
        raise UsageError(f"{shown}: this is {what}, not a list of prompts; {advice}")


def looks_like_parameters(text: str) -> bool:
    """Whether a text holds what no prompt does: a line of settings, or a negative prompt with its heading."""
    if NEGATIVE not in text and "Steps: " not in text:
        return False
    return any(line.startswith(NEGATIVE) or SETTINGS.match(line) for line in text.split("\n"))


def refuse_list(data: bytes, shown: str, *, is_literal: bool) -> None:
    """Errors: UsageError for a file of prompts that is given as one prompt."""
    refuse_binary(data, shown)
    text = data.decode(errors="replace")
    if data.startswith(PNG):
        what = "this is an image"
    elif is_literal:
        return
    elif looks_like_parameters(text):
        what = "this is a prompt with its settings"
    elif _OPTIONS.match(text):
        what = "these are prompts with options"
    else:
        return
    advice = f"give it with {named('prompts_file', 'FILE')}"
    if not data.startswith(PNG):
        advice += f", or add {named('literal', True)} to send the text as it is"
    raise UsageError(f"{shown}: {what}, not one text; {advice}")


def refuse_foreign_text(text: str, shown: str, path: str) -> None:
    """Errors: UsageError for a text in a format of its own, which would be sent as prompts line by line."""
    found = _document(text) or _table(text, path) or _list(text, path)
    if found:
        what, advice = found
        raise UsageError(
            f"{shown}: this is {what}, not a list with one prompt per line; {advice}, or add "
            f"{named('literal', True)} to send its lines as they are"
        )


def refuse_blocks(entry: PromptEntry) -> None:
    """Errors: UsageError for a line that other tools part prompts by, or begin them with."""
    if entry.prompt[0] not in _BLOCK_STARTS:
        return
    if found := _BLOCKS.fullmatch(entry.prompt):
        what = f"{(found[1] or found[2] + ':')!r} parts or heads blocks of prompts, as for ComfyUI's Inspire Pack"
    elif _IMAGINE.match(entry.prompt):
        what = "/imagine is a command of Midjourney"
    else:
        return
    raise UsageError(
        f"{entry.where}, column {entry.column}: {what}; write one prompt per line, with "
        f"--prompt … --negative_prompt … where there are several texts, or add {named('literal', True)} to send the "
        "line as it is"
    )


def _archive(data: bytes) -> tuple[str, str]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, ValueError, OSError):
        names = set()
    if any(name.startswith("xl/") for name in names):
        return "an Excel workbook (.xlsx)", f"give it with {named('xlsx', 'FILE')}"
    if any(name.startswith("word/") for name in names):
        return "a Word document (.docx)", _PLAIN
    if "content.xml" in names:
        return "an OpenDocument file (.ods, .odt)", "save it as .xlsx, .csv or plain text"
    return "a ZIP archive", "unpack it"


def _document(text: str) -> tuple[str, str] | None:
    start = text.lstrip()[:1]
    if _MARKUP.match(text):
        return "XML or HTML", _PLAIN
    if start not in ("{", "["):
        return None
    lines = [line for line in text.split("\n") if line.strip()]
    documents = list(map(_json, lines))
    if all(isinstance(one, dict) and "prompt" in map(spelled, one) for one in documents):
        return "JSON Lines", f"give it with {named('jsonl', 'FILE')}"
    if len(lines) > 1 and all(isinstance(one, dict | list | str) for one in documents):
        return None  # prompts that are JSON, one per line
    whole = _json(text)
    if isinstance(whole, dict) and all(isinstance(node, dict) and "class_type" in node for node in whole.values()):
        return "a workflow", f"give it with {named('template', 'FILE')}"
    if isinstance(whole, list) or (isinstance(whole, dict) and len(lines) > 1):
        return "JSON", f'write one object per line, such as {{"prompt": …}}, and give it with {named("jsonl", "FILE")}'
    return None


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _table(text: str, path: str) -> tuple[str, str] | None:
    ending = path.rpartition(".")[2].casefold()
    advice = f"give it with {named('csv', 'FILE')}"
    if ending in ("csv", "tsv"):
        return f"a table by its name (.{ending})", f"{advice}, or rename it to .txt"
    first = next((line for line in text.split("\n") if line.strip()), "")
    for delimiter in ",;\t":
        cells = [cell.strip().strip('"') for cell in first.split(delimiter)]
        if len(cells) > 1 and _is_heading(cells):
            return "a table (CSV)", advice
    return None


def _is_heading(cells: Sequence[str]) -> bool:
    """One column is the prompt, and all others are such that a list may have."""
    names = [spelled(cell) for cell in cells]
    known = [name in _COLUMNS or ("." in name and _CELL.fullmatch(name) is not None) for name in names]
    return "prompt" in names and all(known)


def _list(text: str, path: str) -> tuple[str, str] | None:
    is_yaml = path.casefold().endswith((".yaml", ".yml"))
    if not (is_yaml or _LISTED.search(text)):
        return None
    lines = [line for line in text.split("\n") if line.strip() and not line.lstrip().startswith("#")]
    dashed = [line for line in lines if line.lstrip().startswith("- ")]
    if is_yaml or (len(lines) > 1 and len(dashed) == len(lines)):
        return "YAML" if is_yaml else "a YAML list", "write one prompt per line, without - before it"
    if len(lines) > 1 and re.fullmatch(r"prompts?:\s*", lines[0]) and dashed == lines[1:]:
        return "YAML", "write one prompt per line, without - before it"
    return None
