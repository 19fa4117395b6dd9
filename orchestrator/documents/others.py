"""What the other commands print, and every command where it fails."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from orchestrator.documents.kinds import CommandErrorKind


class ErrorDetailsDocument(TypedDict):
    """What went wrong."""

    kind: CommandErrorKind
    """The class of the error in `orchestrator.errors`; `Interrupted`: by Ctrl-C; `Stopped`: by a signal."""
    message: str
    """What, where, and what to do next."""


class ErrorDocument(TypedDict):
    """Why a command failed."""

    schema: Literal["burst.error/1"]
    error: ErrorDetailsDocument
    exit_code: int
    """What the process returns."""


class ShippedTemplateDocument(TypedDict):
    """A workflow that comes with burst."""

    name: str
    purpose: str
    """What it is for."""


class TemplateListDocument(TypedDict):
    """The workflows that come with burst."""

    schema: Literal["burst.template-list/1"]
    templates: list[ShippedTemplateDocument]


# `class` is no name of a field in the other syntax.
NodeDocument = TypedDict("NodeDocument", {"id": str, "class": str, "title": str | None})
NodeDocument.__doc__ = "A node of a workflow."


class BindingDocument(TypedDict):
    """An input that a name sets."""

    name: str
    address: str
    """The input, such as `98:6.text`."""
    value: Any
    """What the workflow has there."""


class WayDocument(TypedDict):
    """A way through a workflow, as a line for people."""

    name: str
    """With a question mark where the name is not bound."""
    way: str
    """Nodes and arrows."""


SaveNodeDocument = TypedDict(
    "SaveNodeDocument",
    {
        "id": str,
        "class": str,
        "prefix_input": str | None,
        "extension": str | None,
        "files": int | None,
        "temporary": bool,
    },
)
SaveNodeDocument.__doc__ = "A node that saves files."


class TemplateDocument(TypedDict):
    """What is in a workflow."""

    schema: Literal["burst.template/1"]
    name: str
    path: str | None
    """Its file; null: it comes with burst."""
    purpose: str | None
    """What it is for, where it comes with burst."""
    nodes: list[NodeDocument]
    bindings: list[BindingDocument]
    ways: list[WayDocument]
    """From what a name sets to what is saved."""
    candidates: list[BindingDocument]
    """What a name may be meant to set, where that is not certain and nothing is bound."""
    save_nodes: list[SaveNodeDocument]


class FindingDocument(TypedDict):
    """Something that is wrong with a workflow."""

    severity: Literal["error", "warning"]
    """An error: the server would refuse the workflow."""
    node: str | None
    """The id of the node, where it is about one."""
    message: str


class TemplateCheckDocument(TypedDict):
    """What is wrong with a workflow."""

    schema: Literal["burst.template-check/1"]
    name: str
    server: str | None
    """The server that it was checked against; null: none."""
    ok: bool
    """Whether there are no errors."""
    bindings: list[str]
    """The names that set an input."""
    findings: list[FindingDocument]
    """Errors first."""


class TemplateExportDocument(TypedDict):
    """A workflow written in API format."""

    schema: Literal["burst.template-export/1"]
    name: str
    path: str
    """The file that was written."""
    nodes: int
    """How many nodes the graph has."""


class NodesDocument(TypedDict):
    """The nodes for directories of images inside a ComfyUI."""

    schema: Literal["burst.node/1"]
    path: str
    """Where they are, or would be."""
    state: Literal["absent", "copied", "linked", "foreign"]
    """`foreign`: burst did not put there what is there."""
    version: str
    """Empty where it is not known."""
    ready: bool
    """Whether they are as this burst installs them."""
    changed: list[str]
    """Files that were changed since."""
    outdated: list[str]
    """Files that are missing, or not as this burst has them."""
    others: list[str]
    """Files that burst did not put there."""


class ServeDocument(TypedDict):
    """The browser's pages are there."""

    schema: Literal["burst.serve/1"]
    url: str
    """The address to open."""


class ScheduleFileDocument(TypedDict):
    """A file of a schedule."""

    path: str
    """`crontab` for lines of the user's crontab; for Kubernetes the name of a file."""
    content: str


class ScheduleDocument(TypedDict):
    """What starts runs of a state again and again."""

    schema: Literal["burst.schedule/1"]
    state: str
    name: str
    """Of its units, manifest and markers; the same for a state each time."""
    format: Literal["cron", "systemd", "kubernetes"] | None
    """null: it was removed, wherever it was."""
    every_seconds: int | None
    """From start to start."""
    between: str | None
    """The hours of the day; null: all."""
    max_seconds: int | None
    """How long a run may take."""
    files: list[ScheduleFileDocument]
    log: str | None
    """The file, or the command that shows it."""
    installed: bool
    """Whether it is in place now; `burst schedule` without `--install` does not look."""
    changed: bool
    """Whether this call changed anything."""
    notes: list[str]


class SandboxDocument(TypedDict):
    """The imitation of ComfyUI listens."""

    schema: Literal["burst.sandbox/1"]
    url: str
    """Its address, for `--server`."""


class McpDocument(TypedDict):
    """The MCP server listens for HTTP."""

    schema: Literal["burst.mcp/1"]
    url: str
    """Where clients connect."""
    token: str
    """What they send, as `Authorization: Bearer TOKEN`."""


class SkillDocument(TypedDict):
    """The SKILL.md for agents."""

    schema: Literal["burst.skill/1"]
    path: str
    """The file."""
    state: Literal["installed", "updated", "up to date"]
    """What was done to it."""


class DemoDocument(TypedDict):
    """How the demo ended; the sandbox's own count."""

    schema: Literal["burst.demo/1"]
    passed: bool
    """Whether every prompt was rendered exactly once."""
    prompts: int
    rendered: int
    """Prompts that the sandbox rendered."""
    lost: int
    """Prompts that it never rendered, or whose image is not there."""
    rendered_twice: int
    damaged: list[str]
    """Images that do not decode."""
    killed_after: int
    """Prompts that were rendered when the burst was killed."""
    bursts: int
    """How many bursts it took, the killed one included."""
    seconds: float
    directory: str
    """Where everything is."""
    state: str
    """The state file."""
    contact_sheet: str
    """An HTML page with the images."""
