"""The command line: parse, call, print, exit."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Protocol

import click

from orchestrator.errors import EXIT_SIGINT, EXIT_SIGTERM, BurstError, UsageError
from orchestrator.wording import one_line

if TYPE_CHECKING:
    from orchestrator.generating import Generation
    from orchestrator.run import Run
    from orchestrator.settings import Overrides

_REST_SECONDS = 0.5
_ABANDON_SECONDS = 0.3
_EXIT_CODES: dict[int, int] = {signal.SIGTERM: EXIT_SIGTERM, signal.SIGINT: EXIT_SIGINT}
_OVER = b"\0"
"""What wakes the main thread when the work has ended; a signal writes its number."""


class Report(Protocol):
    """What every command ends with."""

    def as_json(self) -> dict[str, Any]: ...

    def as_text(self) -> str: ...


class OneLine(logging.Formatter):
    """A warning stays one line, whatever names and messages it repeats."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return one_line(super().formatMessage(record))


class BurstGroup(click.Group):
    """Turns every BurstError into one message and its exit code; lists the commands in the order of their use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta["as_json"] = "--json" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BurstError as error:
            _fail(error, as_json=ctx.meta["as_json"])
        except click.UsageError as error:
            if ctx.meta["as_json"]:
                _print_error("UsageError", error.format_message(), error.exit_code)
            raise
        except KeyboardInterrupt:
            # Before a run has handlers of its own, and in every other command; click would make it a 1.
            sys.exit(EXIT_SIGINT)


def _fail(error: BurstError, *, as_json: bool) -> NoReturn:
    if as_json:
        _print_error(type(error).__name__, str(error), error.exit_code)
    click.echo(f"burst: {one_line(str(error))}", err=True)
    sys.exit(error.exit_code)


def _print_error(kind: str, message: str, exit_code: int) -> None:
    _print_json({"schema": "burst.error/1", "error": {"kind": kind, "message": message}, "exit_code": exit_code})


def _print_json(document: dict[str, Any]) -> None:
    import json

    # A terminal or a log of another encoding cannot show every name; escapes say the same.
    click.echo(json.dumps(document, ensure_ascii=(sys.stdout.encoding or "").lower() != "utf-8"))


def _show(report: Report, as_json: bool) -> None:
    if as_json:
        _print_json(report.as_json())
    else:
        click.echo(report.as_text())


state_option = click.option(
    "--state",
    type=click.Path(path_type=Path),
    default=Path("re_render_state.json"),
    envvar="BURST_STATE",
    show_default=True,
    help="The state file (or BURST_STATE).",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of words.")


def _headers(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    # Before click tells of an argument too many, which may be the secret of a header that was not quoted.
    if not values:
        return ()
    from orchestrator.settings import parse_header

    return tuple(parse_header(text) for text in values)


def tool_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What a run works with; `init` remembers it."""
    for option in reversed(
        (
            click.option("--server", multiple=True, metavar="URL", help="A ComfyUI (or COMFYUI_URL). Repeatable."),
            click.option("--template", metavar="FILE|NAME", help="API-format workflow, or a shipped one."),
            click.option("--output", "output_dir", type=click.Path(path_type=Path), help="Where pictures go."),
            click.option(
                "--bind",
                "bindings",
                multiple=True,
                metavar="NAME=ADDRESS",
                help="Such as prompt=98:6.text. Repeatable.",
            ),
            click.option(
                "--header",
                "headers",
                multiple=True,
                callback=_headers,
                metavar="'NAME: VALUE'",
                help="Sent to every server; VALUE may be env:VARIABLE (or COMFYUI_HEADERS). Repeatable.",
            ),
        )
    ):
        command = option(command)
    return command


def _overrides(
    server: tuple[str, ...] = (),
    template: str | None = None,
    output_dir: Path | None = None,
    bindings: tuple[str, ...] = (),
    headers: tuple[tuple[str, str], ...] = (),
) -> Overrides:
    from orchestrator.settings import Overrides

    pairs = [text.partition("=") for text in bindings]
    for name, equals, address in pairs:
        if not (name and equals and address):
            raise UsageError(f"--bind {name}{equals}{address}: write NAME=ADDRESS, such as prompt=98:6.text")
    return Overrides(
        template=template,
        output_dir=output_dir,
        servers=server,
        bindings={name: address for name, _, address in pairs},
        headers=dict(headers),
    )


def _pair(flag: str, text: str | None) -> tuple[str, str] | None:
    old, equals, new = (text or "").partition("=")
    if text is not None and not (old and equals and new):
        raise UsageError(f"{flag}: write OLD=NEW, such as {flag} http://gpu1:8188=http://10.0.0.7:8188")
    return (old, new) if text is not None else None


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if not value:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        click.echo(f"burst {version('comfyui-burst')}")
    except PackageNotFoundError:
        click.echo("burst, from a checkout that is not installed")
    ctx.exit()


@click.group(cls=BurstGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
def cli() -> None:
    """Work off large ComfyUI jobs in short, resumable bursts: nothing lost, nothing rendered twice."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine("burst: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


@cli.command(short_help="Make prompt files items of a state.")
@click.argument("directories", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="DIR...")
@state_option
@tool_options
@click.option("--pattern", default="*.txt", show_default=True, help="Which files are prompts.")
@click.option("--rescan", is_flag=True, help="Put back what was completed with another prompt, inputs or workflow.")
@json_option
def init(directories: tuple[Path, ...], state: Path, pattern: str, rescan: bool, as_json: bool, **tools: Any) -> None:
    """Make prompt files items of a state, and remember template, server and output directory. Safe to repeat."""
    from orchestrator.beginning import init_state

    _show(init_state(state, directories, overrides=_overrides(**tools), pattern=pattern, rescan=rescan), as_json)


def _size(_ctx: click.Context, _param: click.Parameter, value: str) -> int | str:
    if value == "auto":
        return value
    try:
        return int(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is neither a number nor 'auto'") from error


@cli.command(short_help="Run one burst of N items.")
@state_option
@tool_options
@click.option(
    "-n", "--size", default="15", show_default=True, callback=_size, metavar="N|auto", help="Items per burst."
)
@click.option("--poll-interval", default=5.0, show_default=True, help="Longest wait between two questions, in seconds.")
@click.option("--max-seconds", type=float, help="End by then; what is out is collected by the next burst. 0: no end.")
@click.option("--until-done", is_flag=True, help="Burst after burst until nothing is left.")
@click.option("--ahead", default=0, show_default=True, metavar="K", help="Keep K more prompts on the server's queue.")
@click.option("--wait-lock", default=0.0, metavar="SECONDS", help="Wait that long for another burst to end.")
@click.option("--max-attempts", default=3, show_default=True, help="Attempts before an item fails.")
@click.option(
    "--on-error",
    type=click.Choice(["stop", "continue"]),
    default="continue",
    show_default=True,
    help="What a failed item does to the burst.",
)
@click.option("--overwrite", is_flag=True, help="Replace files in the output directory that are not this state's.")
@click.option("--abandon-server", metavar="URL", help="Give up what is submitted there; it may render twice.")
@click.option("--server-moved", metavar="OLD=NEW", help="A server's address changed: what is out on OLD is on NEW.")
@click.option("--dry-run", is_flag=True, help="Show what would be submitted; change nothing.")
@json_option
def run(
    state: Path,
    size: int | Literal["auto"],
    poll_interval: float,
    max_seconds: float | None,
    until_done: bool,
    ahead: int,
    wait_lock: float,
    max_attempts: int,
    on_error: Literal["stop", "continue"],
    overwrite: bool,
    abandon_server: str | None,
    server_moved: str | None,
    dry_run: bool,
    as_json: bool,
    **tools: Any,
) -> None:
    """Run one burst: recover, submit N, watch, download, checkpoint, report, exit."""
    from orchestrator.request import Request

    request = Request(
        state=state,
        size=size,
        poll_seconds=poll_interval,
        max_seconds=max_seconds,
        until_done=until_done,
        ahead=ahead,
        wait_lock_seconds=wait_lock,
        max_attempts=max_attempts,
        on_error=on_error,
        overwrite=overwrite,
        abandon_server=abandon_server,
        server_moved=_pair("--server-moved", server_moved),
        overrides=_overrides(**tools),
    )
    if dry_run:
        from orchestrator.rehearsal import rehearse

        _show(rehearse(request), as_json)
        return
    from orchestrator.run import Run

    with _progress(as_json) as progress:
        report, signalled = _until_signalled(Run(request, progress=progress))
    _show(report, as_json)
    if as_json and report.reason is not None:
        click.echo(f"burst: {one_line(report.reason)}", err=True)
    sys.exit(signalled or report.exit_code)


def _batch_size(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | str | None:
    return None if value is None else _size(_ctx, _param, value)


@cli.command(short_help="Variations of prompts as one batch, rendered at once.")
@state_option
@tool_options
@click.option("--prompt", metavar="TEXT", help="One prompt.")
@click.option("--prompt-file", metavar="FILE", help="A file that is one prompt (- is standard input, here and below).")
@click.option("--prompts-file", metavar="FILE", help="A prompt a line.")
@click.option("--csv", metavar="FILE", help="A column `prompt`, and others named like bindings or NODE.INPUT.")
@click.option("--jsonl", metavar="FILE", help="Objects with these keys, or texts.")
@click.option("--from", "from_file", metavar="FILE", help="A sidecar or a ComfyUI PNG: make it again.")
@click.option("--notify", multiple=True, metavar="URL", help="Told when the batch has ended. Repeatable.")
@click.option("--notify-secret", metavar="VARIABLE", help="The environment variable with the key of the signature.")
@click.option("--negative", metavar="TEXT", help="What is not wanted.")
@click.option("--count", default=1, show_default=True, help="Variations of each prompt, 1 to 999.")
@click.option("--seed", type=int, help="Of each prompt's first variation, +1 each; random and recorded without it.")
@click.option("--seed-mode", type=click.Choice(["increment", "random", "fixed"]), default="increment")
@click.option("--model", metavar="NAME", help="The checkpoint.")
@click.option("--lora", "loras", multiple=True, metavar="NAME[:STRENGTH]", help="Repeatable.")
@click.option("--steps", type=int)
@click.option("--cfg-scale", "cfg", type=float)
@click.option("--sampler", metavar="NAME")
@click.option("--scheduler", metavar="NAME")
@click.option("--size", metavar="WxH", help="Of the pictures, such as 1024x768.")
@click.option("--batch-size", callback=_batch_size, metavar="N|auto", help="Pictures that one prompt makes.")
@click.option("--profile", metavar="NAME", help="speed, balanced, quality, animation, tileset, or of profiles.yaml.")
@click.option("--priority", type=click.Choice(["urgent", "high", "normal", "low"]), default="normal", show_default=True)
@click.option("--set", "sets", multiple=True, metavar="NODE.INPUT=VALUE", help="Any input of the workflow. Repeatable.")
@click.option("--sweep", "sweeps", multiple=True, metavar="KEY=A,B,C", help="Each value; several are crossed.")
@click.option("--layout", type=click.Choice(["numbered", "batch", "mirror"]), default="numbered", show_default=True)
@click.option("--stem", metavar="NAME", help="What the pictures are called, instead of image or sprite.")
@click.option("--on-error", type=click.Choice(["stop", "continue"]), default="stop", show_default=True)
@click.option("--queue-only", is_flag=True, help="Add it and leave it to the next burst, or to the one at work.")
@click.option("--wait", "--monitor", is_flag=True, help="What it does anyway: stay until the batch is done.")
@click.option("--dry-run", is_flag=True, help="Show items and first graph; change nothing.")
@json_option
def generate(
    state: Path,
    size: str | None,
    sets: tuple[str, ...],
    sweeps: tuple[str, ...],
    notify_secret: str | None,
    queue_only: bool,
    wait: bool,
    dry_run: bool,
    as_json: bool,
    server: tuple[str, ...],
    template: str | None,
    output_dir: Path | None,
    bindings: tuple[str, ...],
    headers: tuple[tuple[str, str], ...],
    **asked: Any,
) -> None:
    """Make variations of prompts: a batch of items with seeds, worked off at once by bursts.

    Killed at any time, the batch stays: `burst run` goes on with the same pictures, numbers and seeds.
    """
    from orchestrator.batches.asked import Asked
    from orchestrator.batches.flags import parse_sets, parse_size, parse_sweeps
    from orchestrator.generating import Generation
    from orchestrator.progress import Generating
    from orchestrator.request import Request

    if queue_only and wait:
        raise UsageError("--queue-only and --wait: say one of them")
    sized = parse_size(size) if size is not None else None
    wish = Asked(**asked, size=sized, template=template, sets=parse_sets(sets), sweeps=parse_sweeps(sweeps))
    stream = sys.stderr if as_json else sys.stdout
    work = Generation(
        wish,
        Request(state=state, overrides=_overrides(server, template, output_dir, bindings, headers)),
        queue_only=queue_only,
        dry_run=dry_run,
        secret_env=notify_secret,
        stdin=sys.stdin.buffer,
        progress=lambda record: Generating(stream, batch=record.batch, total=record.total),
    )
    outcome, signalled = _until_signalled(work)
    _show(outcome, as_json)
    sys.exit(signalled or outcome.exit_code)


def _progress(as_json: bool) -> Any:
    """A bar on a terminal, plain lines elsewhere; on stderr when stdout is for JSON."""
    from orchestrator.progress import Bar, Lines

    if sys.stderr.isatty() and sys.stdout.isatty():
        return Bar(sys.stderr)
    return Lines(sys.stderr if as_json else sys.stdout)


def _until_signalled(work: Run | Generation) -> tuple[Any, int | None]:
    """Let a run work in a thread, and end this process within a second of SIGTERM or SIGINT, whatever is in flight.

    The run is told to stop and given a moment to come to rest. If it does not (it waits for a server or a disk), its
    last append is let end, its temporary files are removed, and the process leaves without joining the thread.
    """
    # The kernel may give a signal to any thread. Python runs handlers in the main thread alone, which a lock or a queue
    # that it waits for lets sleep on: so it waits for what the signal itself writes.
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    outcome: list[Any] = []

    def execute() -> None:
        try:
            outcome.append(work.execute())
        except BaseException as error:  # noqa: BLE001 — raised again below, in the main thread
            outcome.append(error)
        finally:
            os.write(writer, _OVER)

    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in _EXIT_CODES:
        signal.signal(number, lambda number, frame: None)
    thread = threading.Thread(target=execute, name="burst", daemon=True)
    thread.start()
    woken_by = os.read(reader, 1)[0]
    signalled = _EXIT_CODES.get(woken_by)
    if signalled is not None:
        work.request_stop(signal.Signals(woken_by).name)
    thread.join(timeout=_REST_SECONDS if signalled is not None else None)
    if thread.is_alive():
        work.abandon(timeout_seconds=_ABANDON_SECONDS)
        click.echo("burst: stopped by a signal; the next burst picks up what is out", err=True)
        sys.stdout.flush()
        os._exit(signalled or EXIT_SIGTERM)
    signal.set_wakeup_fd(-1)
    os.close(reader)
    os.close(writer)
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0], signalled


@cli.command()
@click.argument("batch", required=False)
@state_option
@click.option("--check", is_flag=True, help="Exit 0 when nothing is left, 1 when work remains.")
@click.option("--watch", is_flag=True, help="Say it again whenever it changes, until nothing is left.")
@click.option("--stats", is_flag=True, help="Images a minute, seconds for one, queue length, totals.")
@click.option("--all", "ended", is_flag=True, help="List the batches that have ended too.")
@json_option
def status(batch: str | None, state: Path, check: bool, watch: bool, stats: bool, ended: bool, as_json: bool) -> None:
    """Say what is done and what is left, of everything or of one batch. Takes no lock.

    BATCH is a batch's id, or enough of its beginning.
    """
    from orchestrator.batches.looking import read_batch
    from orchestrator.status import read_status, watch_batch, watch_status

    if batch is not None and (stats or ended):
        raise UsageError("--stats and --all are of the whole state; leave the batch out")
    report: Any
    if watch:
        for report in watch_batch(state, batch) if batch else watch_status(state, stats=stats, ended=ended):
            if sys.stdout.isatty() and not as_json:
                click.clear()
            _show(report, as_json)
    else:
        report = read_batch(state, batch) if batch else read_status(state, stats=stats, ended=ended)
        _show(report, as_json)
    if check:
        sys.exit(report.check_code)


@cli.command(short_help="Make failed items due again.")
@click.argument("keys", nargs=-1, metavar="[ITEM...]")
@state_option
@click.option("--cancelled", is_flag=True, help="Cancelled items too.")
@json_option
def retry(keys: tuple[str, ...], state: Path, cancelled: bool, as_json: bool) -> None:
    """Make failed items due again, or the named ones. Works while a burst runs."""
    from orchestrator import redoing

    _show(redoing.retry(state, keys, cancelled=cancelled), as_json)


@cli.command(short_help="Forget all progress.")
@state_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def reset(state: Path, yes: bool, as_json: bool) -> None:
    """Forget all progress: every item is due again. Pictures stay until they are rendered anew."""
    from orchestrator import redoing

    if not yes:
        click.confirm(f"Forget all progress of {state}?", abort=True, err=True)
    _show(redoing.reset(state), as_json)


@cli.command(short_help="Take items and batches back.")
@click.argument("names", nargs=-1, metavar="[ITEM|BATCH...]")
@state_option
@click.option("--all", "everything", is_flag=True, help="Every pending and submitted item.")
@click.option("--all-queued", is_flag=True, help="As --all, and what is being rendered goes on.")
@tool_options
@json_option
def cancel(
    names: tuple[str, ...], state: Path, everything: bool, all_queued: bool, as_json: bool, **tools: Any
) -> None:
    """Take items and batches back: pending items at once, submitted ones as far as the server still can.

    Works while a burst runs. Finished pictures stay. A batch is named by its id, or enough of its beginning.
    """
    from orchestrator.cancelling import cancel as take_back

    if [bool(names), everything, all_queued].count(True) != 1:
        raise UsageError("name the items or batches to cancel, or say --all or --all-queued")
    _show(take_back(state, names, queued_only=all_queued, overrides=_overrides(**tools)), as_json)


@cli.group(short_help="List, show and clean batches.")
def batches() -> None:
    """List, show and clean batches: items that were asked for together."""


@batches.command("list")
@state_option
@json_option
def batches_list(state: Path, as_json: bool) -> None:
    """Every batch, how far it is and how long it will take."""
    from orchestrator.batches.looking import list_batches

    _show(list_batches(state), as_json)


@batches.command("show", short_help="What a batch was asked to be, and how far it is.")
@click.argument("batch")
@state_option
@json_option
def batches_show(batch: str, state: Path, as_json: bool) -> None:
    """What a batch was asked to be, and how far it is. BATCH is its id, or enough of its beginning."""
    from orchestrator.batches.looking import read_batch

    _show(read_batch(state, batch), as_json)


@batches.command("clean", short_help="Remove the files of old batches.")
@click.option("--older-than", required=True, metavar="30d", help="Batches that ended so long ago: 12h, 30d, 2w.")
@click.option("--dry-run", is_flag=True, help="Show what would be removed; change nothing.")
@click.option("--output", "output_dir", type=click.Path(path_type=Path), help="Where the pictures are.")
@state_option
@json_option
def batches_clean(older_than: str, dry_run: bool, output_dir: Path | None, state: Path, as_json: bool) -> None:
    """Remove pictures and sidecars of batches that ended so long ago, as far as they still are as recorded.

    Their items stay completed: nothing is rendered again, and `verify` misses nothing.
    """
    from orchestrator.batches.cleaning import clean_batches, parse_duration

    age, said = parse_duration(older_than), _overrides(output_dir=output_dir)
    _show(clean_batches(state, older_than=age, dry_run=dry_run, overrides=said), as_json)


@cli.command("report", short_help="Write a batch's page of pictures.")
@click.argument("batch")
@click.option(
    "--html",
    "target",
    is_flag=False,
    flag_value="",
    metavar="[FILE]",
    help="Where to (default: report_BATCH.html beside the state).",
)
@click.option("--embed", is_flag=True, help="Put the pictures into the page, large ones as smaller copies.")
@click.option("--output", "output_dir", type=click.Path(path_type=Path), help="Where the pictures are.")
@state_option
@json_option
def report_batch(
    batch: str, target: str | None, embed: bool, output_dir: Path | None, state: Path, as_json: bool
) -> None:
    """Write one HTML page with every picture of a batch, its seed and parameters; a sweep becomes a grid.

    BATCH is a batch's id, or enough of its beginning.
    """
    from orchestrator.batches.report_html import write_report

    path, said = Path(target) if target else None, _overrides(output_dir=output_dir)
    _show(write_report(state, batch, path, embed=embed, overrides=said), as_json)


@cli.command(short_help="Hold pictures against their records.")
@state_option
@click.option("--output", "output_dir", type=click.Path(path_type=Path), help="Where the pictures are.")
@click.option("--repair", is_flag=True, help="Make items due again whose files are missing, cut or changed.")
@click.option("--quick", is_flag=True, help="Compare sizes only, not contents.")
@json_option
def verify(state: Path, output_dir: Path | None, repair: bool, quick: bool, as_json: bool) -> None:
    """Hold the files of completed items against their records."""
    from orchestrator import redoing

    report = redoing.verify_outputs(state, repair=repair, quick=quick, overrides=_overrides(output_dir=output_dir))
    _show(report, as_json)
    sys.exit(report.exit_code)


@cli.command(short_help="Say what is wrong and what to type next.")
@state_option
@tool_options
@json_option
def doctor(state: Path, as_json: bool, **tools: Any) -> None:
    """Look at everything a burst needs, and say what to type next.

    State, settings, template, server, models, disk, lock, and what the last burst died of. Changes nothing.
    Exits 1 when something is in the way.
    """
    from orchestrator.doctor import examine

    report = examine(state, overrides=_overrides(**tools))
    _show(report, as_json)
    sys.exit(report.exit_code)


@cli.group(short_help="List, show and check workflows.")
def template() -> None:
    """List, show and check the workflows that prompts are made from."""


@template.command("list")
@json_option
def template_list(as_json: bool) -> None:
    """The workflows that come with burst."""
    from orchestrator.inspection import list_templates

    _show(list_templates(), as_json)


bind_option = click.option(
    "--bind", "bindings", multiple=True, metavar="NAME=ADDRESS", help="Such as prompt=98:6.text. Repeatable."
)


@template.command("show", short_help="What is in a workflow.")
@click.argument("name", required=False, metavar="[NAME|FILE]")
@bind_option
@state_option
@json_option
def template_show(name: str | None, bindings: tuple[str, ...], state: Path, as_json: bool) -> None:
    """Nodes, bindings and save nodes of a workflow; without a name, of the one that the state uses."""
    from orchestrator.inspection import show_template

    _show(show_template(name, state=state, overrides=_overrides(bindings=bindings)), as_json)


@template.command("check", short_help="What is wrong with a workflow.")
@click.argument("name", required=False, metavar="[NAME|FILE]")
@click.option(
    "--server",
    multiple=True,
    is_flag=False,
    flag_value="",
    metavar="[URL]",
    help="Ask this one server too; without URL, the usual one.",
)
@bind_option
@click.option(
    "--header",
    "headers",
    multiple=True,
    callback=_headers,
    metavar="'NAME: VALUE'",
    help="Sent to the server. Repeatable.",
)
@state_option
@json_option
def template_check(
    name: str | None,
    server: tuple[str, ...],
    bindings: tuple[str, ...],
    headers: tuple[tuple[str, str], ...],
    state: Path,
    as_json: bool,
) -> None:
    """What is wrong with a workflow: on its own, and with --server also missing nodes and models.

    Without a name, the workflow that the state uses. Exits 1 when there are errors.
    """
    from orchestrator.inspection import check_template

    said = _overrides(server=tuple(filter(None, server)), bindings=bindings, headers=headers)
    report = check_template(name, state=state, overrides=said, ask_server=bool(server))
    _show(report, as_json)
    sys.exit(report.exit_code)


_SANDBOX_OPTIONS: tuple[tuple[str, Any, str], ...] = (
    ("--seconds-per-prompt", float, "How long a prompt renders (default 0)."),
    ("--answer-delay-seconds", float, "Waited before every answer."),
    ("--failure-rate", float, "Share of prompts that end with an execution error."),
    ("--fail-next", int, "So many prompts fail, then it is over."),
    ("--out-of-memory-rate", float, "Share of prompts that end out of memory."),
    ("--out-of-memory-next", int, "So many prompts run out of memory."),
    ("--drop-before-queue-rate", float, "Share of POST /prompt cut off before the prompt is queued."),
    ("--drop-before-queue-next", int, "So many are cut off before."),
    ("--drop-after-queue-rate", float, "Share of POST /prompt queued, then cut off without an answer."),
    ("--drop-after-queue-next", int, "So many are cut off after."),
    ("--truncate-download-rate", float, "Share of downloads that end too early."),
    ("--truncate-next", int, "So many downloads end too early."),
    ("--unavailable-rate", float, "Share of requests answered 503, as by a proxy."),
    ("--unavailable-next", int, "So many requests are answered 503."),
    ("--history-limit", int, "History entries kept (default 10000)."),
    ("--random-seed", int, "Same seed and requests, same faults (default 0)."),
    ("--checkpoint", str, "A checkpoint's name; repeatable, replaces the built-in ones."),
    ("--lora", str, "A LoRA's name; repeatable."),
    ("--vae", str, "A VAE's name; repeatable."),
    ("--embedding", str, "An embedding's name; repeatable."),
    ("--missing-node", str, "A node class that it lacks; repeatable."),
    ("--accept-any-model", bool, "Take every model name: to rehearse another server's template."),
    ("--jobs-api", bool, "Have /api/jobs, as newer servers do."),
    ("--rename-prompts", bool, "Choose every prompt_id itself, as some hosts do."),
)


def sandbox_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """One option for each field of SandboxSettings; what is not said stays at its default."""
    for flag, kind, text in reversed(_SANDBOX_OPTIONS):
        name = flag.removeprefix("--").replace("-", "_")
        if kind is bool:
            option = click.option(flag, name, is_flag=True, help=text)
        elif kind is str:
            option = click.option(flag, f"{name}s", multiple=True, metavar="NAME", help=text)
        else:
            option = click.option(flag, name, type=kind, metavar="N", help=text)
        command = option(command)
    return command


@cli.command(short_help="Run a server that draws placeholders.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", default=8188, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--directory", type=click.Path(path_type=Path), help="Keep its files there (default: temporary).")
@sandbox_options
@json_option
def sandbox(host: str, port: int, directory: Path | None, as_json: bool, **settings: Any) -> None:
    """Run a ComfyUI-compatible server that draws placeholders: for demo, rehearsal and tests.

    Listens until SIGTERM or Ctrl-C. GET /sandbox/counts tells what it rendered, POST /sandbox/settings changes it.
    """
    from orchestrator.sandbox import SandboxSettings, serve

    def announce(url: str) -> None:
        if as_json:
            _print_json({"schema": "burst.sandbox/1", "url": url})
        else:
            click.echo(f"Sandbox, drawing placeholders: {url}\nCtrl-C ends it. Try: burst init DIR --server {url}")
        sys.stdout.flush()

    said = {name: value for name, value in settings.items() if value not in (None, False, ())}
    try:
        serve(SandboxSettings(**said), host=host, port=port, directory=directory, announce=announce)
    except OSError as error:
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror or error}; try --port 0") from error


@cli.command(short_help="See a burst killed and resumed.")
@click.option("--directory", type=click.Path(path_type=Path), help="An empty or new one (default: temporary, kept).")
@json_option
def demo(directory: Path | None, as_json: bool) -> None:
    """A burst is killed with SIGKILL and resumed, on a sandbox; the sandbox counts what was rendered.

    Takes a few seconds and needs no ComfyUI. Ends with a contact sheet. Exits 1 unless every prompt was
    rendered exactly once.
    """
    from orchestrator.demo import run_demo

    report = run_demo(directory, say=lambda line: click.echo(line, err=as_json))
    _show(report, as_json)
    sys.exit(report.exit_code)


def main() -> None:
    """The `burst` command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    cli(prog_name="burst")


if __name__ == "__main__":
    main()
