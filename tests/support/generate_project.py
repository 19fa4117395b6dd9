"""An empty directory in which `burst generate` runs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from state.batch import Batch
from state.item import Item, Status
from state.open_store import open_store, parts_of
from support.launch import __file__ as LAUNCHER
from support.projects import ROOT, Ended, Process, called

Studio = Callable[..., "Place"]
_GENERATE = (*("generate", "--prompt", "a lighthouse", "--template", "txt2img-sd15", "--size", "64x64", "--json"),)


class Place:
    """The directory; at first without state and settings."""

    def __init__(self, home: Path, server: str) -> None:
        self.home, self.server = home, server
        self.state = home / "re_render_state.json"
        self.folder = home / "re_render_state.burst"
        self.output = home / "output"

    def start(self, *arguments: str, launch: Sequence[str] = (), cwd: Path | None = None, **variables: str) -> Process:
        module = [LAUNCHER, *launch, "--"] if launch else ["-m", "burst"]
        return Process([sys.executable, *module, *arguments], cwd=cwd or self.home, env=self._env(variables))

    def _env(self, variables: Mapping[str, str]) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("BURST_", "COMFYUI_"))}
        return {**clean, "PYTHONPATH": str(ROOT), "COMFYUI_URL": self.server, **variables}

    def burst(self, *arguments: str, launch: Sequence[str] = (), **variables: str) -> Ended:
        """`burst ARGUMENTS`, called in this process; or started, through launch.py."""
        if not launch:
            return called(arguments, cwd=self.home, env=self._env(variables))
        with self.start(*arguments, launch=launch, **variables) as process:
            return process.end()

    def start_generate(self, *arguments: str, launch: Sequence[str] = (), **variables: str) -> Process:
        """Start `burst generate` with a prompt, a template and `--json`."""
        return self.start(*_GENERATE, *arguments, launch=launch, **variables)

    def generate(self, *arguments: str, launch: Sequence[str] = (), **variables: str) -> Ended:
        return self.burst(*_GENERATE, *arguments, launch=launch, **variables)

    def files(self) -> list[str]:
        """Paths of all files and directories."""
        return sorted(path.relative_to(self.home).as_posix() for path in self.home.rglob("*"))

    def batches(self) -> list[Batch]:
        return list(parts_of(self.state).batches.read().values())

    def items(self, batch: str | None = None) -> list[Item]:
        """All items, or those of a batch."""
        if not self.state.exists():
            return []
        store = open_store(self.state, read_only=True)
        try:
            return [item for item in store.items() if batch in (None, item.batch)]
        finally:
            store.close()

    def accepted(self) -> int:
        return sum(item.accepted for item in self.items())

    def pictures(self) -> list[str]:
        """Paths of the images, relative to the output directory."""
        return sorted(path.relative_to(self.output).as_posix() for path in self.output.rglob("*.png"))

    def check_done_once(self, counts: dict[str, Any], *, total: int) -> None:
        """Check that every item is completed, rendered once by the server's count, with image and sidecar."""
        items = self.items()
        assert [item.status for item in items] == [Status.COMPLETED] * total
        assert counts["rendered_by_item"] == {item.key: 1 for item in items}
        recorded = [output.path for item in items for output in item.outputs]
        assert len(set(recorded)) == len(recorded) >= 2 * total
        assert all((self.output / path).is_file() for path in recorded)


def said_error(ended: Ended) -> str:
    """The message on stderr, which must also be on stdout as JSON."""
    assert "Traceback" not in ended.err, ended.err
    document = json.loads(ended.out)
    assert (document["schema"], document["exit_code"]) == ("burst.error/1", ended.code)
    message: str = document["error"]["message"]
    return message
