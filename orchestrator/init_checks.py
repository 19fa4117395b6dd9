"""What `burst init` finds out before it names the next command: template, output directory and servers."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.clients import client_for
from orchestrator.clock import Clock
from orchestrator.doctor.diagnosis import command
from orchestrator.doctor.host import write_refusal
from orchestrator.doctor.workflows import load_workflows
from orchestrator.errors import (
    BurstError,
    ItemError,
    NotComfyUI,
    OutputRootUnusable,
    RecipeUnusable,
    ServerUnreachable,
    TemplateError,
    TransientError,
    UnexpectedAnswer,
)
from orchestrator.formatting import counted, first_of
from orchestrator.init_state import InitReport
from orchestrator.input_files import stand_ins
from orchestrator.known_servers import judged, note_comfyui
from orchestrator.node_classes import classes_of, kept_classes
from orchestrator.outputs.placement import placement_of
from orchestrator.preparation import Preparation
from orchestrator.recipes import Recipes
from orchestrator.servers import Server
from orchestrator.settings import Settings
from orchestrator.wording import named
from state.item import Status
from state.open_store import open_store
from state.store import Store
from templates import Graph
from templates.catalogue import Catalogue

PATIENCE_SECONDS = 2.0
_SHOWN = 3


@dataclass(frozen=True)
class _Finding:
    """What a run would meet, and the command to type before it; None where that is still `burst run`."""

    note: str
    next: str | None = None


class Answers:
    """What each server answered to one request. They are asked once, when it first matters."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self._met: list[tuple[Server, BurstError | None]] | None = None

    def of(self, settings: Settings) -> list[tuple[Server, BurstError | None]]:
        """None for the answer of a ComfyUI."""
        if self._met is None:
            self._met = _asked(settings, self.clock)
        return self._met

    def classes(self, graph: Graph, settings: Settings) -> Catalogue:
        """A workflow's node classes, from those that answer; as they were kept where none does."""
        well = tuple(server for server, error in self.of(settings) if error is None)
        return classes_of(graph, replace(settings, servers=well)) if well else kept_classes(graph, settings)


def looked_ahead(report: InitReport, again: Sequence[str], answers: Answers | None = None) -> InitReport:
    """The report with notes on what a run would meet, and with the right next command.

    Each server gets one request, unless `answers` has had them; the answers are waited for two seconds in all. That a
    server is a ComfyUI is kept in the state. `again`: the arguments of `init`, to repeat it with more.
    """
    answers = answers or Answers()
    repeated = _Repeated(report.state, again)
    with open_store(report.state, read_only=True) as store:
        findings = [
            *_template(store, report, repeated),
            *_output(store, report.settings, repeated),
            *_servers(store, report.settings, repeated, answers),
            *_edited(report, repeated),
        ]
    blocking = next((finding.next for finding in findings if finding.next is not None), None)
    return replace(
        report,
        notes=(*report.notes, *(finding.note for finding in findings)),
        next=blocking or _continuing(report),
    )


@dataclass(frozen=True)
class _Repeated:
    """The `init` that was run, to be run once more."""

    state: Path
    arguments: Sequence[str]

    def with_(self, *more: str) -> str:
        return command("init", self.state, *self.arguments, *more)


def _continuing(report: InitReport) -> str:
    if report.counts.remaining:
        return command("run", report.state)
    return command("retry" if report.counts.failed else "status", report.state)


def _template(store: Store, report: InitReport, repeated: _Repeated) -> Iterator[_Finding]:
    """Whether there is one, and whether what waits can be made with it."""
    settings, home = report.settings, store.location.home
    if settings.template is None:
        # Items may have workflows of their own.
        if any(item.recipe is None and item.template is None for item in store.items(Status.PENDING)):
            yield _Finding("no template is set, so nothing can be rendered", repeated.with_("--template", "NAME"))
        return
    preparation = Preparation(Recipes(store.recipes, home), settings, home, items=store)
    for loaded in load_workflows(preparation, settings, (), home=home):
        errors = [finding.message for finding in loaded.findings if finding.severity == "error"]
        if errors:
            more = f" (and {counted(len(errors) - 1, 'more finding')})" if len(errors) > 1 else ""
            look = command("template check", report.state, loaded.name)
            yield _Finding(f"{settings.template}: {errors[0]}{more}", look)
            return
    first = next(iter(store.due(1)), None)
    if first is not None:
        try:
            with contextlib.suppress(RecipeUnusable, ItemError):
                preparation.prepare(first, stand_ins(first.uploads))
        except TemplateError as error:
            yield _Finding(str(error), command("template show", report.state, settings.template))


def _output(store: Store, settings: Settings, repeated: _Repeated) -> Iterator[_Finding]:
    elsewhere = repeated.with_("--output", "DIR")
    try:
        placement_of(store, settings).refuse_unusable(settings.output_dir)
    except OutputRootUnusable as error:
        yield _Finding(str(error), elsewhere)
        return
    if isinstance(settings.output_dir, Path) and (refusal := write_refusal(settings.output_dir)):
        yield _Finding(f"{refusal}; make it writable or choose another output directory", elsewhere)


def _servers(store: Store, settings: Settings, repeated: _Repeated, answers: Answers) -> Iterator[_Finding]:
    """One that answers is enough: the others are only mentioned."""
    met = answers.of(settings)
    well = [server for server, error in met if error is None]
    if well:
        # That they are well shows again in every run.
        with contextlib.suppress(BurstError):
            note_comfyui(store.facts, well, at=answers.clock.now())
    for server, error in met:
        if error is not None:
            if isinstance(error, NotComfyUI):
                error = judged(error, store, server)
            yield _Finding(_told(server, error), None if well else _remedy(error, repeated))


def _told(server: Server, error: BurstError) -> str:
    if isinstance(error, ServerUnreachable):
        other = f"name another address with {named('servers', 'URL')}"
        return f"no response from {server.shown}: start ComfyUI there, or {other} ({error})"
    return str(error)


def _remedy(error: BurstError, repeated: _Repeated) -> str | None:
    if not (isinstance(error, TransientError) and error.needs_a_person):
        return None
    if isinstance(error, UnexpectedAnswer) and error.status in (401, 402, 403):
        return repeated.with_("--header", "NAME: env:VARIABLE")
    return repeated.with_("--server", (isinstance(error, NotComfyUI) and error.url_to_try) or "URL")


def _asked(settings: Settings, clock: Clock) -> list[tuple[Server, BurstError | None]]:
    """What each server's answer was; None for that of a ComfyUI. All at once."""
    looks = [_Look(server, settings) for server in settings.servers]
    for look in looks:
        # Not waited for at the end of the process: the look-up of a name takes as long as it likes.
        threading.Thread(target=look.take, daemon=True).start()
    until = clock.monotonic() + PATIENCE_SECONDS
    for look in looks:
        clock.wait(look.done, until - clock.monotonic())
    return [(look.server, look.error) for look in looks]


class _Look:
    """One request to one server, in a thread of its own."""

    def __init__(self, server: Server, settings: Settings) -> None:
        self.server = server
        self.done = threading.Event()
        self.error: BurstError | None = ServerUnreachable(
            f"no answer within {PATIENCE_SECONDS:g} s", may_have_arrived=True, timed_out=True
        )
        self._settings = settings

    def take(self) -> None:
        try:
            with client_for(
                self.server,
                self._settings,
                connect_timeout_seconds=PATIENCE_SECONDS,
                read_timeout_seconds=PATIENCE_SECONDS,
                retry_seconds=0.0,
            ) as client:
                client.queue_remaining()
            self.error = None
        except BurstError as error:
            self.error = error
        finally:
            self.done.set()


def _edited(report: InitReport, repeated: _Repeated) -> Iterator[_Finding]:
    if report.edited:
        named = first_of(report.edited, _SHOWN)
        again = repeated.with_("--rescan")
        verb = "was" if len(report.edited) == 1 else "were"
        what = f"{counted(len(report.edited), 'finished item')} {verb} edited since"
        note = f"{what} ({named}); `{again}` makes them due again"
        yield _Finding(note, None if report.counts.remaining else again)
