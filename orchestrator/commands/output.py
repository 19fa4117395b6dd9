"""Where the lines of a run go: progress and report to stdout, warnings to stderr, and all of them to `--log-file`.

With `--json` stdout gets one object and stderr only what it does not hold: no progress (unless `-v`), no notes.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

from orchestrator.commands.common import Listing, NamedPath, has_left, print_error, print_json
from orchestrator.commands.help import Options, notes
from orchestrator.errors import BurstError, UsageError
from orchestrator.formatting import one_line

if TYPE_CHECKING:
    from orchestrator.cycle.progress import Silent

_LOGGERS = ("burst", "orchestrator", "state")


def _is_no_note(record: logging.LogRecord) -> bool:
    """A filter: everything but what the report repeats."""
    from orchestrator.cycle.tally import NOTES_LOGGER

    return record.name != NOTES_LOGGER


def log_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What goes to terminal and log; the command gets a `RunOutput` as `output`."""

    @Options.OUTPUT.option("-q", "--quiet", is_flag=True, help="Print only warnings and the report.")
    @Options.OUTPUT.option("-v", "--verbose", is_flag=True, help="Also log each submission, look-up and wait.")
    @Options.OUTPUT.option("--log-file", type=NamedPath(), metavar="FILE", help="Append all lines to FILE.")
    @functools.wraps(command)
    def with_output(*, quiet: bool, verbose: bool, log_file: Path | None, as_json: bool, **options: Any) -> Any:
        with RunOutput(as_json=as_json, quiet=quiet, verbose=verbose, log_file=log_file) as output:
            return command(output=output, as_json=as_json, **options)

    return with_output


class RunOutput:
    """The output of one command; a context manager. With `as_json`, stdout gets one JSON object and nothing else.

    `quiet`: no progress, except in the log file. `verbose`: what is done for each item too, as log lines.
    """

    def __init__(self, *, as_json: bool, quiet: bool, verbose: bool, log_file: Path | None) -> None:
        if quiet and verbose:
            raise UsageError("choose one: --quiet or --verbose")
        from orchestrator.log_lines import LogFile

        self._as_json = as_json
        self._quiet = quiet
        self._verbose = verbose
        self._file = LogFile(log_file) if log_file is not None else None
        self._levels = {name: logging.getLogger(name).level for name in _LOGGERS}

    def __enter__(self) -> Self:
        if self._verbose:
            for name in _LOGGERS:
                logging.getLogger(name).setLevel(logging.INFO)
        if self._as_json and not self._verbose:
            for handler in logging.getLogger().handlers:
                handler.addFilter(_is_no_note)
        if self._file is not None:
            logging.getLogger().addHandler(self._file)
        for note in notes(click.get_current_context()):
            print_error(note)
            if self._file is not None:
                self._file.add(f"burst: {note}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)
        for handler in logging.getLogger().handlers:
            handler.removeFilter(_is_no_note)
        if self._file is not None:
            if isinstance(error, Exception) and not isinstance(error, click.exceptions.Exit):
                is_ours = isinstance(error, BurstError | click.ClickException)
                self._file.add(f"burst: {one_line(str(error) if is_ours else repr(error))}")
            logging.getLogger().removeHandler(self._file)
            self._file.close()

    def progress(self) -> Silent:
        """The display of a run: a bar on a terminal of known size, plain lines elsewhere."""
        from orchestrator.cycle.progress import Bar, Both, Lines

        if not self._has_bar:
            return Lines(self._line)
        return Bar(sys.stderr) if self._file is None else Both(Bar(sys.stderr), Lines(self._file.add))

    def generating(self, *, batch: str, total: int) -> Silent:
        """The display of `generate`."""
        from orchestrator.cycle.progress import Generating

        return Generating(self._line, batch=batch, total=total)

    def show(self, report: Listing, *, everything: bool) -> bool:
        """Print it, with all entries of its lists if `everything`; whether it has left this process on return."""
        from orchestrator.log_lines import for_stream

        text = report.as_text(everything=everything)
        if self._file is not None:
            self._file.add(text)
        if self._as_json:
            print_json(report.as_json(everything=everything))
        else:
            click.echo(for_stream(text, sys.stdout))
        return has_left()

    @property
    def _has_bar(self) -> bool:
        from orchestrator.log_lines import has_size, is_terminal

        return (
            is_terminal(sys.stderr)
            and is_terminal(sys.stdout)
            and has_size(sys.stderr)
            and not (self._quiet or self._verbose or self._as_json)
        )

    def _line(self, text: str) -> None:
        """A line of progress."""
        from orchestrator.log_lines import for_stream

        if self._file is not None:
            self._file.add(text)
        if not self._quiet and (self._verbose or not self._as_json):
            stream = sys.stderr if self._as_json else sys.stdout
            click.echo(for_stream(text, stream), file=stream)
