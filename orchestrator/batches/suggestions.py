"""What to say of a name that is not among those that there are."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

_SAID_COUNT = 3
_LISTED_COUNT = 8


def near_matches(wanted: str, known: Iterable[str]) -> list[str]:
    """The few that were probably meant, the likeliest first: spelled alike, or with the same letters and digits within.

    Neither capitals nor folders count: `sdxl` is near to `SDXL/sd_xl_base_1.0.safetensors`.
    """
    names = sorted(known)
    plain = {name: _plain(name) for name in names}
    whole = re.sub(r"[\W_]", "", wanted).casefold()
    alike = get_close_matches(_plain(wanted), list(plain.values()), n=_SAID_COUNT)
    spelled_alike = [name for spelling in dict.fromkeys(alike) for name in names if plain[name] == spelling]
    holding = [name for name in names if whole and whole in re.sub(r"[\W_]", "", name).casefold()]
    return list(dict.fromkeys([*spelled_alike, *holding]))[:_SAID_COUNT]


def advice(wanted: str, known: Iterable[str]) -> str:
    """`did you mean 'a' or 'b'?`, or the first of those that there are."""
    names = sorted(known)
    if near := near_matches(wanted, names):
        return f"did you mean {' or '.join(map(repr, near))}?"
    more = len(names) - _LISTED_COUNT
    listed = ", ".join(names[:_LISTED_COUNT]) or "none"
    return f"there are: {listed}" + (f", and {more} more" if more > 0 else "")


def _plain(name: str) -> str:
    """Without folders, whichever way their slashes lean."""
    return re.split(r"[/\\]", name)[-1].casefold()
