"""How `--help` is laid out: options and commands under headings, near matches, and options that were renamed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

import click

_NOTES = "burst.notes"
_COLUMN_COUNT = 30
"""Widest first column; what is longer stands on a line of its own."""


class Options(Enum):
    """The headings of options, in the order of `--help`."""

    PROMPTS = "Prompts (choose one)"
    VARIATIONS = "Variations"
    IMAGE = "Image settings"
    BATCH = "The batch"
    RUN = "How it runs"
    FILES = "Where images go"
    SERVER = "State, server and workflow"
    OUTPUT = "Output"

    def option(self, *declarations: str, **attributes: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """`click.option` under this heading, in commands of the class `Command`."""
        return click.option(*declarations, cls=_Option, heading=self, **attributes)


class _Option(click.Option):
    def __init__(self, *arguments: Any, heading: Options, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.heading = heading


class OldName(click.Option):
    """The former name of the option `new`, with its callback: hidden; `log_options` prints a note when it is used."""

    def __init__(self, *arguments: Any, new: str, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.hidden = True
        self.new = new


class Command(click.Command):
    """A command whose options have headings; those without one come first."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        shown: dict[str, list[tuple[str, str]]] = {name: [] for name in ("Options", *(one.value for one in Options))}
        for parameter in self.get_params(ctx):
            row = parameter.get_help_record(ctx)
            if row is not None:
                shown[self._heading(ctx, parameter)].append(row)
        _write(formatter, shown)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            rest = super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            hidden = {name for option in self.params if getattr(option, "hidden", False) for name in option.opts}
            raise click.NoSuchOption(
                error.option_name, error.message, set(error.possibilities or ()) - hidden, ctx
            ) from error
        for option in self.params:
            if isinstance(option, OldName):
                self._rename(ctx, option)
        return rest

    def _heading(self, ctx: click.Context, parameter: click.Parameter) -> str:
        if isinstance(parameter, _Option):
            return parameter.heading.value
        return Options.OUTPUT.value if parameter is self.get_help_option(ctx) else "Options"

    def _rename(self, ctx: click.Context, old: OldName) -> None:
        """Give the value of an old name to the new one."""
        value = ctx.params.pop(str(old.name))
        if not _is_given(ctx, old):
            return
        new = next(option for option in self.params if old.new in option.opts)
        if _is_given(ctx, new):
            raise click.UsageError(f"{old.opts[0]} is the old name of {old.new}; give only {old.new}", ctx)
        ctx.params[str(new.name)] = value
        ctx.meta.setdefault(_NOTES, []).append(
            f"{old.opts[0]} is now {old.new}; the old name goes away with the next release"
        )


class Group(click.Group):
    """A group of commands; a name that is none of them gets near matches."""

    headings: Mapping[str, tuple[str, ...]] = {}
    """Heading -> its commands, in the order of `--help`; empty: one list."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None and not ctx.resilient_parsing and name[:1] != "-":
            from orchestrator.batches.suggestions import advice

            known = (known for known in self.list_commands(ctx) if not self._command(ctx, known).hidden)
            raise click.UsageError(f"no command {name!r}; {advice(name, known)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        headings = self.headings or {"Commands": tuple(self.list_commands(ctx))}
        shown: dict[str, list[tuple[str, str]]] = {}
        for heading, names in headings.items():
            commands = ((name, self._command(ctx, name)) for name in names)
            shown[heading] = [
                (name, command.get_short_help_str(formatter.width)) for name, command in commands if not command.hidden
            ]
        _write(formatter, shown)

    def _command(self, ctx: click.Context, name: str) -> click.Command:
        command = self.get_command(ctx, name)
        assert command is not None
        return command


def notes(ctx: click.Context) -> list[str]:
    """What to tell of old names that were used in this call."""
    found: list[str] = ctx.meta.get(_NOTES, [])
    return found


def _is_given(ctx: click.Context, option: click.Parameter) -> bool:
    return ctx.get_parameter_source(str(option.name)) is click.core.ParameterSource.COMMANDLINE


def _write(formatter: click.HelpFormatter, shown: Mapping[str, list[tuple[str, str]]]) -> None:
    """Write sections whose second columns begin at the same place."""
    width = min(max(len(first) for rows in shown.values() for first, _ in rows), _COLUMN_COUNT)
    for heading, rows in shown.items():
        if rows:
            with formatter.section(heading):
                formatter.write_dl([(first.ljust(width), second) for first, second in rows], col_max=_COLUMN_COUNT)
