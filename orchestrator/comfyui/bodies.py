"""The bodies of responses, before anybody knows whose they are."""

from __future__ import annotations

import contextlib
import json
import re

from orchestrator.comfyui.transport import Answer
from orchestrator.shapes import WrongShape

_EVERY_COMFYUI_HAS = re.compile(r"/(prompt|queue|history/.*|object_info|system_stats)")


def is_from_comfyui(answer: Answer) -> bool:
    """ComfyUI's own 404 is empty or JSON; one with an HTML page comes from a proxy."""
    return not answer.body.strip() or parsed_or_none(answer.body) is not None


def is_foreign(answer: Answer) -> bool:
    """Not ComfyUI's, whatever state it is in: a page, a text, or 404 for what every ComfyUI has."""
    if answer.status in (404, 405):
        return _EVERY_COMFYUI_HAS.fullmatch(answer.path) is not None
    is_cut_short = answer.body.lstrip()[:1] in (b"{", b"[")
    return answer.status in (200, 400) and not is_cut_short and not _is_json(answer.body)


def is_refusal_v2(body: bytes) -> bool:
    """Whether this is a refusal of Comfy API v2 itself, and not that of something before it."""
    found = parsed_or_none(body)
    error = found.get("error") if isinstance(found, dict) else None
    return isinstance(error, dict) and isinstance(error.get("code"), str)


def parsed(body: bytes) -> object:
    """Parsed with Python's parser, because ComfyUI sends NaN and Infinity as Python writes them.

    Lone surrogates, as Python writes file names that are not UTF-8, become question marks: a journal cannot store them.
    """
    try:
        value: object = json.loads(body)
        if b"\\ud" in body.lower():
            return json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
        return value
    except (ValueError, RecursionError) as error:
        raise WrongShape("the body is not whole JSON") from error


def _is_json(body: bytes) -> bool:
    with contextlib.suppress(WrongShape):
        parsed(body)
        return True
    return False


def parsed_or_none(body: bytes) -> object:
    with contextlib.suppress(WrongShape):
        return parsed(body)
    return None
