"""What an agent may do: each tool is a call of the library, safe to repeat."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import anyio
from mcp_types import CallToolResult, ImageContent
from pydantic import Field

from orchestrator.batches.batch_status import list_batches, read_batch, view_of
from orchestrator.batches.generate_report import Generated
from orchestrator.batches.report_html import write_report
from orchestrator.batches.sources import STANDARD_INPUT
from orchestrator.batches.spec import BatchSpec
from orchestrator.cancellation import cancel
from orchestrator.clock import Clock
from orchestrator.cycle.request import Request
from orchestrator.doctor import examine
from orchestrator.errors import UsageError
from orchestrator.generation import generate
from orchestrator.init_state import init_state
from orchestrator.mcp_server.bursts import Bursts
from orchestrator.mcp_server.files import AllowedFiles
from orchestrator.mcp_server.pages import MOST_SHOWN, item_called, items_page, page_of
from orchestrator.mcp_server.picture import shown
from orchestrator.mcp_server.responses import answer
from orchestrator.retries import retry
from orchestrator.settings import Overrides, load_settings
from orchestrator.status import read_status
from orchestrator.template_inspection import list_templates
from state.open_store import open_store, parts_of

MOST_PROMPTS = 1_000
_END_SECONDS = 5.0
"""What a burst may take beyond its own seconds, within the limit of a call."""
_LOOK_SECONDS = 1.0
_T = TypeVar("_T")

Name = Annotated[
    str, Field(description="What the batch is called: letters, digits, - _ ., beginning with a letter. Unique.")
]
Template = Annotated[
    str | None,
    Field(description="Workflow: the name of a shipped one, or a file below the allowed directories. Default: as kept"),
]
Sets = Annotated[
    dict[str, str | int | float | bool] | None,
    Field(description="Values for all images, by binding or NODE.INPUT, such as {'steps': 20, '3.cfg': 7}"),
]
Sweeps = Annotated[
    dict[str, list[str | int | float]] | None,
    Field(description="Values to cross, such as {'cfg': [5, 7], 'sampler': ['euler', 'dpmpp_2m']}"),
]
Count = Annotated[int, Field(ge=1, le=999, description="Variations of each prompt")]
Names = Annotated[list[str], Field(description="Keys of items, or batches by name or id")]
Batch = Annotated[str, Field(description="A batch by its name, its id, or the beginning of the id")]


@dataclass(frozen=True)
class Served:
    """What the agent works on, as the one who started the server says."""

    state: Path
    overrides: Overrides = field(default_factory=Overrides)
    roots: Sequence[Path] = ()
    """Directories whose files an agent may name."""
    call_seconds: float = 45.0
    """No call takes longer."""


class Tools:
    """One method a tool; its docstring is what the agent reads."""

    def __init__(self, served: Served, *, clock: Clock | None = None) -> None:
        """Errors: UsageError for a root that is no directory."""
        self._state = served.state
        self._overrides = served.overrides
        self._files = AllowedFiles(served.roots)
        self._call_seconds = served.call_seconds
        self._clock = clock or Clock()
        self.bursts = Bursts(served.state, served.overrides, clock=self._clock)

    async def add_prompts(
        self,
        name: Name,
        prompts: Annotated[list[str], Field(min_length=1, max_length=MOST_PROMPTS, description="An image each")],
        count: Count = 1,
        seed: int | None = None,
        negative: str | None = None,
        template: Template = None,
        sets: Sets = None,
        sweeps: Sweeps = None,
        dynamic: Annotated[bool, Field(description="Expand {a|b} and ${variables}")] = False,
    ) -> CallToolResult:
        """Add prompts as one batch; run_burst renders them. The same call again adds nothing; the same name with other
        prompts is refused."""
        spec = self._spec(name, count, seed, negative, template, sets, sweeps, dynamic)
        return answer(await self._in_thread(lambda: self._add(spec, prompts=prompts)))

    async def add_table(
        self,
        name: Name,
        file: Annotated[str | None, Field(description="CSV, JSON Lines or XLSX below the allowed directories")] = None,
        csv: Annotated[str | None, Field(description="The table itself, as CSV with a heading")] = None,
        count: Count = 1,
        seed: int | None = None,
        template: Template = None,
        sets: Sets = None,
        ignore_columns: bool = False,
    ) -> CallToolResult:
        """Add a table as one batch, a row an image: columns are called prompt, negative, seed, steps, or NODE.INPUT.
        Give file or csv. The same call again adds nothing."""
        if (file is None) == (csv is None):
            raise UsageError("give one of file and csv")
        spec = self._spec(name, count, seed, None, template, sets, None, False)
        kind, data = ("csv", (csv or "").encode()) if file is None else self._table(file)
        fields: dict[str, Any] = {kind: STANDARD_INPUT, "ignore_columns": ignore_columns}
        return answer(await self._in_thread(lambda: self._add(spec, data=data, **fields)))

    async def add_images(
        self,
        directory: Annotated[str, Field(description="Below the allowed directories")],
        pattern: Annotated[str | None, Field(description="Which files, such as EP0*/*.png")] = None,
    ) -> CallToolResult:
        """Add the images of a directory, an item each, for the kept workflow, whose binding `image` takes them. Safe to
        repeat: new images are added, what is done stays done."""

        def added() -> Mapping[str, object]:
            patterns = () if pattern is None else (pattern,)
            where = self._files.directory(directory)
            return init_state(self._state, [where], overrides=self._overrides, images=True, patterns=patterns).as_json()

        return answer(await self._in_thread(added))

    async def run_burst(
        self,
        items: Annotated[int | Literal["auto"], Field(description="At most so many; auto: fewer after a kill")] = 15,
        max_seconds: Annotated[float, Field(gt=0, description="Ends by itself after so long")] = 30.0,
    ) -> CallToolResult:
        """Run one burst: recover what earlier ones left, submit, watch, download, report. Call it again until
        `remaining` is 0. While one runs, this says so and starts none. Killed at any time, nothing is lost."""
        if isinstance(items, int) and items < 1:
            raise UsageError(f"items={items}: take 1 or more, or auto")
        if self.bursts.running is None:
            longest = max(1.0, self._call_seconds - _END_SECONDS)
            self.bursts.start(items=items, max_seconds=min(max_seconds, longest))
            report = await self._ended(within_seconds=self._call_seconds - 1)
            if report is not None:
                return answer(report)
        return answer(
            {"running": self.bursts.running, "next": "a burst is at work; call wait, then run_burst for the next one"}
        )

    async def wait(self, seconds: Annotated[float, Field(gt=0)] = 30.0) -> CallToolResult:
        """Wait until the burst at work ends, or so long; then the status. Returns at once where none is at work."""
        limit = min(seconds, max(1.0, self._call_seconds - _END_SECONDS))
        with anyio.move_on_after(limit):
            while self.bursts.running is not None or await self._in_thread(parts_of(self._state).is_leased):
                await anyio.sleep(_LOOK_SECONDS)
        return await self.status()

    async def status(self, batch: Batch | None = None) -> CallToolResult:
        """What is done and what remains, of everything or of one batch; what failed, and how the last burst ended."""
        if batch is not None:
            return answer(await self._in_thread(lambda: read_batch(self._state, batch).as_json()))
        if not await self._in_thread(parts_of(self._state).exists):
            begin = "there is no state yet; add_prompts, add_table or add_images begins one"
            return answer({"state": str(self._state), "total": 0, "remaining": 0, "next": begin})
        found: dict[str, object] = {**await self._in_thread(lambda: read_status(self._state).as_json())}
        return answer(found | {"running_here": self.bursts.running})

    async def list_items(
        self,
        status: Literal["pending", "submitted", "completed", "failed", "cancelled"] | None = None,
        batch: Batch | None = None,
        offset: Annotated[int, Field(ge=0)] = 0,
        limit: Annotated[int, Field(ge=1, le=MOST_SHOWN)] = 20,
    ) -> CallToolResult:
        """Items by pages, with their prompts, images and errors; `next_offset` is null on the last page."""
        return answer(await self._in_thread(lambda: items_page(self._state, status, batch, offset, limit)))

    async def list_batches(
        self,
        offset: Annotated[int, Field(ge=0)] = 0,
        limit: Annotated[int, Field(ge=1, le=MOST_SHOWN)] = 10,
    ) -> CallToolResult:
        """Batches by pages, the newest first."""

        def page() -> Mapping[str, object]:
            batches = list_batches(self._state).as_json(everything=True)["batches"]
            return page_of("batches", batches[offset : offset + limit], offset, len(batches))

        return answer(await self._in_thread(page))

    async def list_workflows(self) -> CallToolResult:
        """Workflows that come with burst, for `template`."""
        return answer(await self._in_thread(lambda: list_templates().as_json()))

    async def cancel(self, names: Annotated[Names, Field(min_length=1)]) -> CallToolResult:
        """Take back items or batches, from the server too. Finished images stay. Works while a burst runs."""
        patience = max(1.0, self._call_seconds / 4)
        return answer(
            await self._in_thread(
                lambda: cancel(self._state, names, overrides=self._overrides, patience_seconds=patience).as_json()
            )
        )

    async def retry(self, names: Names | None = None, cancelled: bool = False) -> CallToolResult:
        """Make failed items due again: all, or those of the named batches, or the named items. With cancelled, those
        too. Change what made them fail first."""
        return answer(await self._in_thread(lambda: retry(self._state, names or (), cancelled=cancelled).as_json()))

    async def look(
        self,
        item: Annotated[str, Field(description="The key of an item, as list_items has it")],
        image: Annotated[int, Field(ge=1, description="Which of its images")] = 1,
    ) -> CallToolResult:
        """Look at an image of a completed item: a JPEG of at most 1024 pixels a side."""

        def looked() -> tuple[Mapping[str, object], bytes]:
            settings = load_settings(self._state, self._overrides)
            with open_store(self._state, read_only=True) as store:
                found = shown(store, item_called(store, item), number=image, settings=settings)
            return {"path": found.path, "width": found.width, "height": found.height}, found.jpeg

        facts, jpeg = await self._in_thread(looked)
        content = ImageContent(type="image", data=base64.b64encode(jpeg).decode(), mime_type="image/jpeg")
        return answer(facts, content)

    async def report(self, batch: Batch) -> CallToolResult:
        """Write the HTML page of a batch, with its images and parameters, beside the state; and tell how it stands."""

        def written() -> Mapping[str, object]:
            page = write_report(self._state, batch, overrides=self._overrides)
            with open_store(self._state, read_only=True) as store:
                return {**page.as_json(), "standing": view_of(store, batch).as_json()}

        return answer(await self._in_thread(written))

    async def doctor(self) -> CallToolResult:
        """Find out what is wrong with state, server, workflow or disk, and what to do."""
        return answer(await self._in_thread(lambda: examine(self._state, overrides=self._overrides).as_json()))

    def _spec(
        self,
        name: str,
        count: int,
        seed: int | None,
        negative: str | None,
        template: str | None,
        sets: Mapping[str, Any] | None,
        sweeps: Mapping[str, Sequence[Any]] | None,
        dynamic: bool,
    ) -> BatchSpec:
        return BatchSpec(
            name=name,
            count=count,
            seed=seed,
            negative=negative,
            template=self._template(template),
            sets=sets or {},
            sweeps={axis: tuple(values) for axis, values in (sweeps or {}).items()},
            dynamic=dynamic,
            literal=not dynamic,
        )

    def _template(self, name: str | None) -> str | None:
        if name is None or name in list_templates().names:
            return name
        return str(self._files.file(name))

    def _table(self, name: str) -> tuple[str, bytes]:
        kinds = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".xlsx": "xlsx"}
        path = self._files.file(name)
        if path.suffix.lower() not in kinds:
            raise UsageError(f"{name}: a table is called .csv, .jsonl or .xlsx")
        return kinds[path.suffix.lower()], path.read_bytes()

    def _add(
        self, spec: BatchSpec, *, prompts: Sequence[str] | None = None, data: bytes = b"", **source: Any
    ) -> Mapping[str, object]:
        generated = generate(
            replace(spec, **source),
            prompts=prompts,
            request=Request(state=self._state, overrides=self._overrides),
            queue_only=True,
            takes_paths=False,
            **({"stdin": io.BytesIO(data)} if prompts is None else {}),
        )
        assert isinstance(generated, Generated)
        return generated.as_json()

    async def _ended(self, *, within_seconds: float) -> Mapping[str, Any] | None:
        with anyio.move_on_after(within_seconds):
            return await self.bursts.end()
        return None

    async def _in_thread(self, call: Callable[[], _T]) -> _T:
        """Its result; given up when the call's time is over, and it goes on by itself."""
        return await anyio.to_thread.run_sync(call, abandon_on_cancel=True)
