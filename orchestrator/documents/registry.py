"""Which documents there are, and what prints or writes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

import state.burst_record
import state.item
import state.recipe
from orchestrator.documents import (
    batches,
    commands,
    events,
    files,
    fleet,
    history,
    notifications,
    others,
    results,
    runs,
    servers,
    states,
)
from orchestrator.errors import UsageError


@dataclass(frozen=True)
class Schema:
    """One kind of document."""

    name: str
    """As in the document's `schema`; of the body of a webhook call, which has none, `batch event`."""
    type: Any
    """A TypedDict; of what a state keeps, a Struct."""
    source: str
    """The command that prints it, or what it is."""

    @property
    def commands(self) -> tuple[str, ...]:
        """The commands that print it, by their words: `node install`. Empty where it is no command's."""
        if not self.source.startswith("burst "):
            return ()
        *group, last = re.findall(r"^burst ([a-z| -]*[a-z])", self.source)[0].split(" --")[0].split()
        return tuple(" ".join((*group, name)) for name in last.split("|"))

    @property
    def short_name(self) -> str:
        """Without family and version: `status`, `batch-event`."""
        return self.name.removeprefix("burst.").partition("/")[0].replace(" ", "-")


def _schema(type: Any, source: str) -> Schema:
    hint = get_type_hints(type).get("schema")
    return Schema("batch event" if hint is None else get_args(hint)[0], type, source)


SCHEMAS: Mapping[str, Schema] = {
    schema.name: schema
    for schema in (
        _schema(states.InitDocument, "burst init"),
        _schema(runs.BurstReportDocument, "burst run"),
        _schema(runs.DryRunDocument, "burst run --dry-run"),
        _schema(batches.GenerateDocument, "burst generate"),
        _schema(batches.GenerateDryRunDocument, "burst generate --dry-run"),
        _schema(batches.StageDocument, "burst stage"),
        _schema(batches.SyncDocument, "burst sync"),
        _schema(states.StatusDocument, "burst status"),
        _schema(batches.BatchDocument, "burst status BATCH"),
        _schema(states.LogDocument, "burst log"),
        _schema(history.HistoryDocument, "burst history"),
        _schema(results.QueryDocument, "burst query"),
        _schema(results.ExportDocument, "burst export"),
        _schema(states.RetryDocument, "burst retry"),
        _schema(states.CancelDocument, "burst cancel"),
        _schema(states.StarDocument, "burst star"),
        _schema(states.TagDocument, "burst tag"),
        _schema(states.TrashDocument, "burst trash"),
        _schema(states.AdoptDocument, "burst adopt"),
        _schema(states.PauseDocument, "burst pause|resume"),
        _schema(states.StateCopyDocument, "burst state copy"),
        _schema(states.StateUpgradeDocument, "burst state upgrade"),
        _schema(servers.ServersDocument, "burst servers"),
        _schema(servers.ServersCleanDocument, "burst servers clean"),
        _schema(states.UpdateDocument, "burst update"),
        _schema(states.PriorityDocument, "burst priority"),
        _schema(states.EditDocument, "burst edit"),
        _schema(states.ForgetDocument, "burst forget"),
        _schema(batches.BatchesDocument, "burst batches list"),
        _schema(batches.CleanDocument, "burst batches clean"),
        _schema(batches.BatchReportDocument, "burst report"),
        _schema(states.DoctorDocument, "burst doctor"),
        _schema(states.VerifyDocument, "burst verify"),
        _schema(states.ResetDocument, "burst reset"),
        _schema(others.TemplateListDocument, "burst template list"),
        _schema(others.TemplateDocument, "burst template show"),
        _schema(others.TemplateCheckDocument, "burst template check"),
        _schema(others.TemplateExportDocument, "burst template export"),
        _schema(others.NodesDocument, "burst node install|uninstall|status"),
        _schema(others.ServeDocument, "burst serve"),
        _schema(others.ScheduleDocument, "burst schedule"),
        _schema(fleet.WorkerDocument, "burst worker"),
        _schema(fleet.FleetUpDocument, "burst fleet up"),
        _schema(fleet.FleetStatusDocument, "burst fleet status"),
        _schema(others.SandboxDocument, "burst sandbox"),
        _schema(others.DemoDocument, "burst demo"),
        _schema(commands.CommandsDocument, "burst commands"),
        _schema(commands.SchemasDocument, "burst schema"),
        _schema(others.McpDocument, "burst mcp --http"),
        _schema(others.SkillDocument, "burst skill install"),
        _schema(others.ErrorDocument, "every command that fails"),
        _schema(files.SidecarDocument, "a JSON file beside an image"),
        _schema(files.BatchInfoDocument, "`batch_info.json` of a batch"),
        _schema(events.EventDocument, "burst watch --json, one a line"),
        _schema(notifications.NotifyDocument, "burst notify"),
        _schema(notifications.NotificationDocument, "the body of a call to a receiver of `burst notify add`"),
        _schema(batches.BatchEventDocument, "the body of a call to `--notify URL`"),
    )
}
"""By name."""

KEPT: Mapping[str, Schema] = {
    schema.name: schema
    for schema in (
        Schema("state", dict[str, state.item.Record], "the state file: item key → record (docs/state.md)"),
        Schema("recipe", state.recipe.Recipe, "`recipe` in a line of recipes.jsonl (docs/state.md)"),
        Schema("burst-record", state.burst_record.BurstRecord, "a line of bursts.jsonl (docs/state.md)"),
    )
}
"""What a state keeps, by name. Fields that are not known are allowed in items, and refused in recipes."""

ALL: Mapping[str, Schema] = {**SCHEMAS, **KEPT}


def schema_named(name: str) -> Schema:
    """The schema of this name, in full or short: `burst.status/2`, `status`. Errors: UsageError with near matches."""
    for schema in ALL.values():
        if name in (schema.name, schema.short_name):
            return schema
    from orchestrator.batches.suggestions import advice

    known = [schema.short_name for schema in ALL.values()]
    raise UsageError(f"no schema {name!r}; {advice(name, known)}")
