"""A frozen list of graphs by kind, each with the inputs that its names must set: never others, never fewer.

Written for this repository, in the shapes that people share. A case holds with a server's node classes and without,
unless it says what differs without.
"""

from support.graphs_by_kind import files, masks, pipes, settings, sides, sizes, strays, texts
from support.graphs_by_kind.case import Case

KINDS = (sides, masks, pipes, settings, strays, texts, sizes, files)
CASES: dict[str, Case] = {
    f"{kind.__name__.rpartition('.')[2]}: {name}": case for kind in KINDS for name, case in kind.CASES.items()
}

__all__ = ["CASES", "KINDS", "Case"]
