"""`burst init`: prompt directories become items, and what a run needs is remembered beside the state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import ItemError
from orchestrator.prompts import Prompts
from orchestrator.settings import Overrides, Settings, load_settings, refuse_secrets, save_settings
from orchestrator.sources import DEFAULT_PATTERN, prompt_items, refuse_collisions
from orchestrator.wording import in_lines
from state.item import Item, Status
from state.json_store import JsonStore
from state.store import change_all

SCHEMA = "burst.init/1"


@dataclass(frozen=True)
class InitReport:
    """What `init` found and did."""

    state: Path
    settings: Settings
    found: int
    added: int
    put_back: tuple[str, ...]
    counts: dict[Status, int]

    def as_json(self) -> dict[str, Any]:
        """Stable keys under the schema name `burst.init/1`."""
        return {
            "schema": SCHEMA,
            "state": str(self.state),
            "found": self.found,
            "added": self.added,
            "put_back": list(self.put_back),
            "counts": {str(status): count for status, count in self.counts.items()},
            "template": self.settings.template,
            "output_dir": str(self.settings.output_dir),
            "servers": list(self.settings.servers),
        }

    def as_text(self) -> str:
        """A few lines for a person, with what to type next."""
        lines = [
            f"{self.state}: {sum(self.counts.values())} items, {self.added} added now, {self.found} prompt files found"
        ]
        if self.put_back:
            lines.append(f"Put back, because prompt, inputs or workflow changed: {', '.join(self.put_back[:5])}")
        lines.append(f"Template: {self.settings.template or 'none yet; name one with --template'}")
        lines.append(f"Server: {', '.join(self.settings.servers)}; pictures go to {self.settings.output_dir}")
        lines.append("Next: burst run")
        return in_lines(lines)


def init_state(
    state: Path,
    directories: Sequence[Path],
    *,
    overrides: Overrides,
    pattern: str = DEFAULT_PATTERN,
    rescan: bool = False,
) -> InitReport:
    """Add the prompt files below `directories` to a state, begun where there is none. Safe to repeat.

    What is done stays done; `rescan` puts completed items back whose prompt text, inputs or workflow changed since.
    Errors: UsageError, TemplateError, SettingsError, StateError, DiskFull; nothing was written then.
    """
    settings = load_settings(state, overrides)
    home = state.resolve().parent
    prompts = Prompts(template=settings.template, bindings=settings.bindings, home=home)
    prompts.check()
    items = prompt_items(directories, home=home, pattern=pattern)
    refuse_collisions(items)
    refuse_secrets(settings)
    store = JsonStore.open(state, create=True)
    try:
        refuse_collisions((item for item in items if item.key not in store), beside=store.items())
        save_settings(state, settings)
        added = store.add(items)
        put_back = _rescan(store, prompts) if rescan else ()
        store.settle(at_end=True)
        return InitReport(
            state=state, settings=settings, found=len(items), added=len(added), put_back=put_back, counts=store.counts()
        )
    finally:
        store.close()


def _rescan(store: JsonStore, prompts: Prompts) -> tuple[str, ...]:
    """Completed items whose picture would come out otherwise today."""
    outdated = [item for item in store.items(Status.COMPLETED) if not _still_valid(item, prompts)]
    return tuple(item.key for item in change_all(store, outdated, lambda now: now.start_over()))


def _still_valid(item: Item, prompts: Prompts) -> bool:
    """Items that were completed without a fingerprint, or whose prompt file is gone, are left as they are."""
    if item.fingerprint is None:
        return True
    try:
        return prompts.prepare(item).fingerprint == item.fingerprint
    except ItemError:
        return True
