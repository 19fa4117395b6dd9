"""The command line: which rows, how often, and where the results go."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks import (
    batch_rows,
    client_rows,
    exit_rows,
    fleet_rows,
    looking_rows,
    machine,
    page_rows,
    scroll_rows,
    server_rows,
    sql_rows,
    state_rows,
    table,
    web_rows,
)
from tests.benchmarks.figures import Figure
from tests.benchmarks.setting import SHORT, Scale, Setting

ROWS: dict[str, Callable[[Setting], list[Figure]]] = {
    "wall": client_rows.wall,
    "cpu": client_rows.cpu,
    "counted": client_rows.counted,
    "comfyui": client_rows.comfyui,
    "checkpoint": state_rows.checkpoint,
    "many": state_rows.many,
    "queueing": state_rows.queueing,
    "status": looking_rows.status,
    "idle": looking_rows.idle,
    "requests": client_rows.requests,
    "exits": exit_rows.exits,
    "busy": server_rows.busy,
    "killed": server_rows.killed,
    "plain": server_rows.plain,
    "generate": batch_rows.generate,
    "throughput": batch_rows.throughput,
    "latency": batch_rows.latency,
    "fleet": fleet_rows.fleet,
    "pages": web_rows.pages,
    "large": web_rows.large,
    "workspace": page_rows.workspace,
    "scrolling": scroll_rows.scrolling,
    "sql_loops": sql_rows.sql_loops,
    "sql_sizes": sql_rows.sql_sizes,
    "sql_commits": sql_rows.sql_commits,
}
_ROUNDS = 5
_EPILOG = """
The bare loop that burst is held against: one requests.Session, submit all, ask /history/{id} in order (again after
0.05 s where it has not finished), fetch /view, write the file; no state, no sync, no checks. Both are processes of
their own, measured from the start of the interpreter to its end, in turn and in changing order; the sandbox is a third
process. A ratio is worked out round by round; shown are the median and the range of the rounds.
"""


def main() -> int:
    options = _parser().parse_args()
    # So that SIGTERM, too, ends every process that was started.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="burst-benchmarks-", dir=options.directory) as place:
        setting = Setting(
            scale=SHORT if options.short else Scale(),
            rounds=options.rounds or (1 if options.short else _ROUNDS),
            directory=Path(place),
            seed=options.seed,
            comfyui=options.comfyui,
        )
        about = machine.describe(setting.directory)
        figures = [figure for row in _wanted(options) for figure in ROWS[row](setting)]
    _print(figures, options, about, seconds=time.monotonic() - began)
    missed = any(figure.reached is False for figure in figures)
    return 1 if options.strict and missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="The speed of burst against the bare wire. Takes about half an hour; leave the machine alone.",
        epilog=_EPILOG,
    )
    parser.add_argument("--only", nargs="+", choices=list(ROWS), metavar="ROW", help=f"some of: {', '.join(ROWS)}")
    parser.add_argument("--rounds", type=_rounds, help=f"how often each is measured (default and least {_ROUNDS})")
    parser.add_argument("--comfyui", metavar="URL", help="a real ComfyUI for the row of that name, left out without it")
    parser.add_argument("--directory", type=Path, help="the disk to measure on (default: the temporary directory)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments at which bursts are killed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every value of every round, and the machine")
    parser.add_argument("--markdown", action="store_true", help="print the table in Markdown")
    parser.add_argument("--strict", action="store_true", help="exit 1 where a target was missed")
    parser.add_argument("--short", action="store_true", help="small numbers, one round: only shows that every row runs")
    return parser


def _rounds(text: str) -> int:
    number = int(text)
    if number < _ROUNDS:
        raise argparse.ArgumentTypeError(f"at least {_ROUNDS}")
    return number


def _wanted(options: argparse.Namespace) -> list[str]:
    """The rows to run, in the table's order; says what is left out."""
    chosen: list[str] = [row for row in ROWS if options.only is None or row in options.only]
    if "comfyui" in chosen and options.comfyui is None:
        chosen.remove("comfyui")
        print("comfyui: left out; name a real server with --comfyui URL", file=sys.stderr)
    return chosen


def _print(figures: list[Figure], options: argparse.Namespace, about: dict[str, object], *, seconds: float) -> None:
    judged = not options.short
    print((table.as_markdown if options.markdown else table.as_text)(figures, judged=judged))
    print(f"\n{machine.as_text(about)}")
    print(f"python -m tests.benchmarks {' '.join(sys.argv[1:])}".rstrip())
    if options.json is not None:
        how = {"arguments": sys.argv[1:], "seconds": round(seconds, 1)}
        document = table.as_json(figures, machine=about, about=how, judged=judged)
        options.json.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    sys.exit(main())
