"""Lists that grow with a job: JSON holds the first entries, and says how many there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

FIRST = 10
"""How many entries of a list are printed, unless all are requested (`--all`)."""

_Document = TypeVar("_Document", bound=Mapping[str, object])


def shortened(document: _Document, *names: str, everything: bool = False) -> _Document:
    """The document with at most the first ten entries of these lists; of each that is cut, `NAME_total` is its length.

    `everything`: as it is.
    """
    if everything:
        return document
    cut: dict[str, Any] = dict(document)
    for name in names:
        if len(cut[name]) > FIRST:
            cut[f"{name}_total"] = len(cut[name])
            cut[name] = cut[name][:FIRST]
    return cast(_Document, cut)
