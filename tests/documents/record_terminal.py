"""`python -m tests.documents.record_terminal`: `burst demo`, with its SIGKILL and resume, as docs/terminal.svg.

Every line appears after as much time as it took, but for long pauses; where nothing moves, the whole session is there.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

PLACE = Path(__file__).parents[2] / "docs" / "terminal.svg"
_FIRST = "$ burst run -n 8"
_COLUMN_COUNT = 100
_LONGEST_PAUSE_SECONDS = 1.0
"""In the image: a busy machine may have taken longer, and nobody wants to wait for that."""
_STYLES = {r"\$ .*": "bold", r"\*\*\* .*": "bold red", r".*lost 0, rendered twice 0": "bold green", r"  \[\d.*": "dim"}


def main() -> None:
    """Run the demo and write the image."""
    from rich.console import Console

    lines = list(_session())
    console = Console(record=True, width=_COLUMN_COUNT, file=io.StringIO(), force_terminal=True)
    for line, _ in lines:
        console.print(_styled(line))
    svg = console.export_svg(title="burst demo", clear=False)
    PLACE.write_text(_animated(svg, [seconds for _, seconds in lines]))
    print(PLACE)


def _session() -> list[tuple[str, float]]:
    """Each line from the first burst on, and when it came, in seconds."""
    found: list[tuple[str, float]] = []
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-u", "-m", "burst", "demo", "--directory", f"{place}/demo"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
            assert demo.stdout is not None
            for line in demo.stdout:
                found.append((_shown(line.rstrip("\n"), place), time.monotonic()))
        if demo.returncode:
            raise SystemExit(f"burst demo: exit {demo.returncode}")
    first = next(number for number, (line, _) in enumerate(found) if line == _FIRST)
    return [(line, at - found[first][1]) for line, at in found[first:] if "Contact sheet" not in line]


def _shown(line: str, place: str) -> str:
    """A line without what is this machine's alone: directory, host, date."""
    line = line.replace(f"{place}/demo", "/home/me/demo")
    return re.sub(r"burst (\w{8}) on \S+, started \S+ (\S+) UTC, last alive \S+ UTC", r"burst \1, started \2 UTC", line)


def _styled(line: str) -> Text:
    from rich.text import Text

    style = next((style for pattern, style in _STYLES.items() if re.fullmatch(pattern, line)), "")
    return Text(line, style=style)


def _animated(svg: str, seconds: Sequence[float]) -> str:
    """The image with every line hidden until its time. A viewer without animations shows all of them."""
    rules = ["@media (prefers-reduced-motion: no-preference) {", "@keyframes appear { from { opacity: 0 } }"]
    at = 0.0
    for number, (before, here) in enumerate(zip([0.0, *seconds], seconds, strict=False)):
        at += min(here - before, _LONGEST_PAUSE_SECONDS)
        rules.append(f'text[clip-path*="line-{number})"] {{ animation: appear 1ms {at:.2f}s backwards }}')
    without_fonts = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL).replace("Fira Code", "monospace")
    return without_fonts.replace("</style>", "\n".join([*rules, "}"]) + "\n</style>", 1)


if __name__ == "__main__":
    main()
