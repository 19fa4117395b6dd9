"""What commands share: options, and how a report is shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

import click

from orchestrator.commands import terminal
from orchestrator.commands.help import Options
from orchestrator.errors import UsageError, located
from orchestrator.formatting import one_line

if TYPE_CHECKING:
    from orchestrator.documents.others import ErrorDocument
    from orchestrator.places import Place
    from orchestrator.settings import Overrides


class Report(Protocol):
    """What every command ends with."""

    def as_json(self) -> Mapping[str, object]: ...

    def as_text(self) -> str: ...


class Listing(Protocol):
    """A report with lists that grow with the job: it holds their first entries, or everything."""

    def as_json(self, *, everything: bool = False) -> Mapping[str, object]: ...

    def as_text(self, *, everything: bool = False) -> str: ...


def print_json(document: Mapping[str, object]) -> None:
    import json

    # A terminal or a log of another encoding cannot show every name; escapes say the same.
    click.echo(json.dumps(document, ensure_ascii=not encodes_everything(sys.stdout)))


def encodes_everything(stream: TextIO) -> bool:
    """Whether every character can be written to this stream."""
    return (stream.encoding or "").lower() == "utf-8"


def print_json_error(kind: str, message: str, exit_code: int) -> None:
    """The one object on stdout of a command that ends with an error."""
    document: ErrorDocument = {
        "schema": "burst.error/1",
        "error": {"kind": kind, "message": message},
        "exit_code": exit_code,
    }
    print_json(document)


def print_error(message: str) -> None:
    """One line on stderr, with the time where that is a log."""
    from orchestrator.log_lines import for_stream

    click.echo(for_stream(f"burst: {one_line(message)}", sys.stderr), err=True)


def show(report: Report, as_json: bool) -> bool:
    """Print it; whether it has left this process on return."""
    if as_json:
        print_json(report.as_json())
    else:
        click.echo(report.as_text())
    return has_left()


def show_listing(report: Listing, as_json: bool, everything: bool) -> bool:
    """Print it, with all entries of its lists if `everything`; whether it has left this process on return."""
    if as_json:
        print_json(report.as_json(everything=everything))
    else:
        click.echo(report.as_text(everything=everything))
    return has_left()


def show_pieces(pieces: Iterable[str]) -> bool:
    """Print a text that comes in pieces; whether it has left this process. Ends early where nobody reads on."""
    return all(_is_written(piece) for piece in pieces)


def _is_written(piece: str) -> bool:
    click.echo(piece, nl=False)
    return has_left()


def has_left() -> bool:
    """Whether everything on stdout has left this process; a disk that refuses it is named on stderr."""
    refusal = terminal.refusal(sys.stdout)
    if refusal is not None and not terminal.is_closed(refusal):
        print_error(f"standard output: {refusal.strerror}; this report is lost")
    return refusal is None


def confirmed(question: str) -> bool:
    """The answer of a person at a terminal. Errors: UsageError where there is none."""
    if not sys.stdin.isatty():
        raise UsageError(f"{question} There is no terminal to answer at; add --yes")
    return click.confirm(question, err=True)


class Between:
    """A callback: the value of an option, refused outside `least` and `most`, as `nan` is."""

    def __init__(self, least: float, most: int, unit: str = "") -> None:
        self._least, self._most, self._unit = least, most, unit

    def __call__(self, _ctx: click.Context, _param: click.Parameter, value: Any) -> Any:
        if isinstance(value, int | float) and not self._least <= value <= self._most:
            raise click.BadParameter(f"{value} is not from {self._least} to {self._most}{self._unit}")
        return value


class NamedPath(click.Path):
    """A path that is not empty, as an unset variable of a shell leaves it: that would be the working directory.

    Whoever opens it says what is refused, and whose it is.
    """

    def __init__(self) -> None:
        super().__init__(path_type=Path, readable=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("the path is empty; name one, or leave the option out", param, ctx)
        return super().convert(value, param, ctx)


class OutputRoot(NamedPath):
    """A directory for images, or an address in object storage."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str) or value == "":
            return super().convert(value, param, ctx)
        from orchestrator.places import root_named

        with located("--output", UsageError):
            return root_named(value)


class StateAddress(NamedPath):
    """The path of a state file, or the address of a database."""

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        """Paths are separated by colons, which an address has too."""
        return rv.split() if "://" in rv else super().split_envvar_value(rv)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from state.location import state_path

        given = super().convert(value, param, ctx)
        if not isinstance(value, str) or "://" not in value:
            return given
        with located("--state", UsageError):
            return state_path(value)


state_option = Options.SERVER.option(
    "--state",
    type=StateAddress(),
    default=Path("re_render_state.json"),
    envvar="BURST_STATE",
    show_default=True,
    help="State: a file, sqlite:///FILE or postgresql://… (or BURST_STATE).",
)
json_option = Options.OUTPUT.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
all_option = Options.OUTPUT.option(
    "--all", "everything", is_flag=True, help="Print full lists, not only the first ten entries."
)


def parse_headers(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    # Before click tells of an argument too many, which may be the secret of a header that was not quoted.
    if not values:
        return ()
    from orchestrator.settings import parse_header

    with located("--header", UsageError):
        return tuple(parse_header(text) for text in values)


def tool_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What a run works with; `init` remembers it."""
    for option in reversed(
        (
            Options.SERVER.option(
                "--server", multiple=True, metavar="[NAME=]URL", help="ComfyUI server (or COMFYUI_URL). Repeatable."
            ),
            Options.SERVER.option(
                "--template",
                metavar="FILE|NAME",
                help="Workflow file, or an image or video that ComfyUI made; or the name of a shipped one.",
            ),
            Options.FILES.option(
                "--output",
                "output_dir",
                type=OutputRoot(),
                metavar="DIR|s3://BUCKET/PREFIX",
                help="Output directory: a path, s3://BUCKET/PREFIX, or root://NAME/DIR of this host's [roots].",
            ),
            Options.SERVER.option(
                "--bind",
                "bindings",
                multiple=True,
                metavar="NAME=ADDRESS",
                help="Bind a name to a node input, such as prompt=98:6.text; NAME= removes it. Repeatable.",
            ),
            Options.SERVER.option(
                "--header",
                "headers",
                multiple=True,
                callback=parse_headers,
                metavar="'NAME: VALUE'",
                help="HTTP header for every server; VALUE may be env:VARIABLE (or COMFYUI_HEADERS). Repeatable.",
            ),
        )
    ):
        command = option(command)
    return command


def given_or_none(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...] | None:
    """None where the option is not given; empty where it is given as `''`: none of them."""
    return tuple(dict.fromkeys(filter(None, values))) if values else None


needs_option = Options.SERVER.option(
    "--needs",
    multiple=True,
    metavar="LABEL",
    callback=given_or_none,
    help="Send the items only to registered servers with this label. Repeatable.",
)
outputs_option = Options.FILES.option(
    "--outputs",
    metavar="NODE[,...]|saved|all",
    help="Fetch only what these nodes save or show: ids, title=TITLE or class=CLASS; saved: what save nodes save "
    "(the default); all: previews and shown texts too.",
)


LARGEST_COUNT = 1_000_000_000
"""As `orchestrator.cycle.request`, which `--help` would take long to import."""
spend_option = Options.RUN.option(
    "--allow-spend",
    type=int,
    metavar="N",
    callback=Between(0, LARGEST_COUNT),
    help="Send servers that cost money at most N prompts in 24 hours (default: none).",
)


def listen_options(*, port: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Where a server listens; on this port where none is given."""

    def listening(command: Callable[..., Any]) -> Callable[..., Any]:
        command = click.option(
            "--port",
            default=port,
            show_default=True,
            type=click.IntRange(0, 65535),
            help="Port to listen on; 0 picks a free one.",
        )(command)
        return click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")(command)

    return listening


def overrides(
    server: tuple[str, ...] = (),
    template: str | None = None,
    output_dir: Place | None = None,
    bindings: tuple[str, ...] = (),
    headers: tuple[tuple[str, str], ...] = (),
    outputs: str | None = None,
    needs: tuple[str, ...] | None = None,
) -> Overrides:
    from orchestrator.settings import Overrides

    pairs = [text.partition("=") for text in bindings]
    for name, equals, address in pairs:
        if not (name and equals):
            raise UsageError(f"--bind {name}{equals}{address}: write NAME=ADDRESS, such as prompt=98:6.text")
    return Overrides(
        template=template,
        output_dir=output_dir,
        servers=server,
        bindings={name: address for name, _, address in pairs},
        headers=dict(headers),
        outputs=_nodes(outputs) if outputs is not None else None,
        needs=needs,
    )


def _nodes(text: str) -> tuple[str, ...]:
    """Errors: UsageError."""
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise UsageError(f"--outputs {text!r}: a name is empty; write nodes such as 9,title=Final, or saved, or all")
    return () if names == ("saved",) else names


def refuse_file(output_dir: Place | None) -> None:
    """Errors: UsageError where `--output` names a file. What cannot be looked at is left to the command."""
    if isinstance(output_dir, Path) and os.path.isfile(output_dir):
        raise UsageError(f"--output {output_dir}: a file stands there; name a directory")


def size_or_auto(_ctx: click.Context, _param: click.Parameter, value: str) -> int | str:
    if value == "auto":
        return value
    try:
        return int(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is neither a number nor 'auto'") from error
